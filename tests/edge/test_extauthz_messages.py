"""What a denied client reads."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Deny, decide
from sidecar.core.paths.canonical import ALLOWABLE, PathError, canonicalise
from sidecar.core.paths.problems import PathProblem
from sidecar.core.reasons import Reason
from sidecar.core.request import RequestProblem
from sidecar.extauthz.bounds import CheckProblem
from sidecar.extauthz.messages import MALFORMED, sentence
from tests.support.policies import NOW, request, snapshot

# What makes a path ambiguous, and what makes it harmless.
PIECES = (
    "/ // . .. ; # ? \\ % %2 %2f %5c %2e %25 %3f %23 %3b %00 %c2%80 %ff ! a b/c /../ /; \x01 \x7f"
)


@pytest.mark.parametrize(
    ("raw", "english", "chinese"),
    [
        (
            b"x.y" * 3000,
            "the token is too long; the maximum is 8192 bytes",
            "令牌过长，最多 8192 字节",
        ),
        (b"ya29.a0AfH6SMB", "the token is not a JWT", "令牌不是 JWT"),
        (
            b"e30.a.b.c.d",
            "the token is encrypted (JWE); a signed token (JWT) is required",
            "令牌已加密（JWE），需要已签名的令牌（JWT）",
        ),
        (b"e30.e30.AA", "the token is malformed", "令牌格式有误"),
    ],
)
def test_what_is_not_a_jwt_is_called_what_it_is(raw: bytes, english: str, chinese: str) -> None:
    headers = {"authorization": [b"Bearer " + raw]}
    decision = decide(request(headers=headers), snapshot(), {}, NOW)
    assert isinstance(decision, Deny)
    assert decision.reason is Reason.TOKEN_MALFORMED
    assert (sentence(decision, chinese=False), sentence(decision, chinese=True)) == (
        english,
        chinese,
    )


def test_every_problem_of_a_request_has_a_sentence_in_both_languages() -> None:
    """And no two problems have the same value, which is what the table is indexed by."""
    problems = [*PathProblem, *RequestProblem, *CheckProblem]
    assert sorted(MALFORMED) == sorted(problems)
    assert all(english.isascii() for english, _ in MALFORMED.values())
    for problem in (*PathProblem, *RequestProblem):
        assert re.search("[\u4e00-\u9fff]", MALFORMED[problem][True])
        assert re.search("[a-z]{4}", MALFORMED[problem][True]) is None


@given(
    st.lists(st.sampled_from(PIECES.split())).map("".join),
    st.booleans(),
    st.sets(st.sampled_from(sorted(ALLOWABLE))).map(frozenset),
)
def test_whatever_path_is_refused_a_chinese_client_reads_no_english(
    target: str, raw_headers: bool, allow: frozenset[str]
) -> None:
    try:
        canonicalise(b"/" + target.encode("latin-1"), raw_headers=raw_headers, allow=allow)
    except PathError as error:
        denial = Deny(Reason.MALFORMED_REQUEST, needs=(error.problem,))
        assert re.search("[a-z]{4}", sentence(denial, chinese=True)) is None


def test_an_invalid_method_is_named_in_both_languages() -> None:
    denial = decide(request(method="GE T"), snapshot(), {}, NOW)
    assert isinstance(denial, Deny)
    assert sentence(denial, chinese=True) == "请求格式有误：请求方法无效"
    assert sentence(denial, chinese=False) == "the request is malformed: invalid HTTP method"


@pytest.mark.parametrize(
    ("reason", "needs", "any_of", "chinese"),
    [
        (Reason.PERMISSION_DENIED, ("a",), False, "需要权限 a"),
        (Reason.PERMISSION_DENIED, ("a", "b"), False, "需要同时具备权限 a、b"),
        (Reason.PERMISSION_DENIED, ("a", "b"), True, "需要以下权限之一：a、b"),
        (Reason.ROLE_DENIED, ("a",), True, "需要角色 a"),
        (Reason.ROLE_DENIED, ("a", "b"), True, "需要以下角色之一：a、b"),
        (Reason.WRONG_PRINCIPAL_KIND, ("service", "user"), True, "仅接受服务/用户令牌"),
        (Reason.WRONG_ISSUER, ("a", "b"), True, "仅限由 a 或 b 签发的令牌"),
        (Reason.CLAIM_DENIED, ("tenant",), True, "令牌中的声明 tenant 不满足访问要求"),
        (Reason.WRONG_CALLER, (), False, "调用方服务无权访问该路径"),
        (Reason.METHOD_NOT_ALLOWED, ("GET", "PUT"), False, "该路径只允许 GET、PUT 方法"),
    ],
)
def test_what_is_missing_is_joined_as_it_is_needed_in_chinese(
    reason: Reason, needs: tuple[str, ...], any_of: bool, chinese: str
) -> None:
    assert sentence(Deny(reason, needs=needs, any_of=any_of), chinese=True) == chinese


@pytest.mark.parametrize(
    ("needs", "english", "chinese"),
    [
        (("Bearer",), "the authorization scheme must be Bearer", "认证方案必须是 Bearer"),
        ((), "a token is required", "需要提供令牌"),
    ],
)
def test_a_client_that_uses_another_scheme_is_told_the_right_one(
    needs: tuple[str, ...], english: str, chinese: str
) -> None:
    denial = Deny(Reason.TOKEN_MISSING, needs=needs)
    assert sentence(denial, chinese=False) == english
    assert sentence(denial, chinese=True) == chinese
