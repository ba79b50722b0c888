"""What a denied client reads, where it is put together from parts."""

import ast
import inspect
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core import methods, query
from sidecar.core.decision import Deny, decide
from sidecar.core.paths import canonical as paths
from sidecar.core.paths import escapes, readings
from sidecar.core.paths.canonical import ALLOWABLE, PathError, canonicalise
from sidecar.core.reasons import Reason
from sidecar.extauthz.messages import MALFORMED_CHINESE, sentence
from tests.support.policies import NOW, request, snapshot

# What makes a path ambiguous, and what makes it harmless.
PIECES = (
    "/ // . .. ; # ? \\ % %2 %2f %5c %2e %25 %3f %23 %3b %00 %c2%80 %ff ! a b/c /../ /; \x01 \x7f"
)


RAISED = {"PathError", "QueryError"}


def _patterns() -> Iterator[str]:
    """Yield what each PathError and QueryError in the source can say, holes as ``.+``."""
    for module in (escapes, methods, paths, query, readings):
        tree = ast.parse(inspect.getsource(module))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in RAISED:
                (said,) = node.args
                parts = said.values if isinstance(said, ast.JoinedStr) else [said]
                yield "".join(
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+"
                    for part in parts
                )


def _filled_in() -> Iterator[str]:
    """Yield what stands in the holes, as whole sentences."""
    for _, what in (*paths._REFUSED, *escapes._NEVER):
        yield f"the path holds {what}"
    for special in escapes._SPECIALS:
        yield f"the path holds an encoded {special.plain}"


def test_every_complaint_about_a_path_has_its_chinese() -> None:
    patterns = list(_patterns())
    assert len(patterns) > 15
    for pattern in patterns:
        assert [said for said in MALFORMED_CHINESE if re.fullmatch(pattern, said)], pattern
    for said in _filled_in():
        assert said in MALFORMED_CHINESE, said


@given(
    st.lists(st.sampled_from(PIECES.split())).map("".join),
    st.booleans(),
    st.sets(st.sampled_from(sorted(ALLOWABLE))).map(frozenset),
)
def test_whatever_path_is_refused_a_chinese_client_reads_no_english(
    target: str, faithful: bool, allow: frozenset[str]
) -> None:
    try:
        canonicalise(b"/" + target.encode("latin-1"), faithful=faithful, allow=allow)
    except PathError as error:
        denial = Deny(Reason.MALFORMED_REQUEST, needs=(str(error),))
        assert re.search("[A-Za-z]{4}", sentence(denial, chinese=True)) is None


def test_a_method_that_is_none_is_told_in_chinese_too() -> None:
    denial = decide(request(method="GE T"), snapshot(), {}, NOW)
    assert isinstance(denial, Deny)
    assert sentence(denial, chinese=True) == "请求格式有误：请求方法无效"


@pytest.mark.parametrize(
    ("needs", "english", "chinese"),
    [
        (("Bearer",), "the authorization scheme must be Bearer", "认证方案必须是 Bearer"),
        ((), "the token is malformed", "令牌格式有误"),
    ],
)
def test_another_scheme_is_not_called_a_malformed_token(
    needs: tuple[str, ...], english: str, chinese: str
) -> None:
    denial = Deny(Reason.TOKEN_MALFORMED, needs=needs)
    assert sentence(denial, chinese=False) == english
    assert sentence(denial, chinese=True) == chinese
