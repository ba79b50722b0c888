"""A candidate policy beside the one in force: it tells differences and changes no answer."""

import json
import logging
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.app.promotion import Candidate
from sidecar.config import Config
from sidecar.config.policy_file import digest_of
from sidecar.core.decision import DecisionRecord
from sidecar.core.routes.table import Route, compile_policy
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens import verify as tokens
from sidecar.extauthz import shadow as shadow_module
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.service import CheckService
from sidecar.extauthz.shadow import Shadow
from sidecar.ops.exposition import render
from sidecar.ops.metrics import MAX_CHECK_SERIES, OTHER_ROUTES, Metrics
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.edge.config_files import ISSUERS, Files
from tests.edge.sidecar_rig import ROUTES, Sidecar, running, token, with_admin
from tests.support.checks import NoKeys, check_request
from tests.support.policies import BEARER, OWNED, PROTECTED, PUBLIC, live_bearer, policy, snapshot

OPENED = (PUBLIC, Route(1, "protected", "/closed/*", public=True), OWNED)
CLOSED = (Route(0, "public", "/open/*"), PROTECTED, OWNED)
NOTHING = (Route(0, "elsewhere", "/elsewhere"),)

Difference = tuple[str, str, str]


class Rig:
    """A Check service with a candidate, and the differences that were counted."""

    def __init__(
        self, candidate: tuple[Route, ...] | None, percent: int = 100, **settings: Any
    ) -> None:
        self.counted: list[Difference] = []
        self.records: list[DecisionRecord] = []
        self.shadow = Shadow(percent, lambda *difference: self.counted.append(difference))
        self.shadow.take(None if candidate is None else policy(candidate))
        self.snapshot: Snapshot = snapshot(**settings)
        self.deferred: list[Callable[[], None]] = []
        answers = AnswerSettings(self.snapshot.identity_headers, (), True, (BEARER,))
        self.service = CheckService(
            self.snapshot,
            Responder(answers),
            NoKeys(),
            self.records.extend,
            self.deferred.append,
            ServiceSettings(),
            self.shadow,
        )

    def ask(self, message: bytes) -> bytes:
        answer = self.service.check(message)
        assert isinstance(answer, bytes)
        return answer

    def settle(self) -> None:
        """Do what waits for the answers to be handed over."""
        while self.deferred:
            self.deferred.pop(0)()


def ask(rig: Rig, target: bytes = b"/closed/1", **claims: Any) -> None:
    headers = live_bearer(**claims) if claims else {}
    rig.ask(check_request(target, headers=headers))
    rig.settle()


def test_differences_are_counted_by_route_and_both_reasons() -> None:
    rig = Rig(OPENED)
    ask(rig)
    ask(rig, permissions=["closed:read"])
    ask(rig, permissions=[])
    ask(rig, b"/open/1")
    assert rig.counted == [
        ("protected", "token_missing", "public"),
        ("protected", "ok", "public"),
        ("protected", "permission_denied", "public"),
    ]
    assert (rig.shadow.compared, rig.shadow.different) == (4, 3)


def test_another_route_with_the_same_reason_is_a_difference() -> None:
    renamed = Route(1, "renamed", "/closed/*", permissions=("closed:read",))
    rig = Rig((PUBLIC, renamed, OWNED))
    ask(rig)
    assert rig.counted == [("protected", "token_missing", "token_missing")]


def test_the_first_of_each_kind_is_logged_and_nothing_of_the_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(OPENED)
    with caplog.at_level(logging.INFO):
        for number in range(3):
            headers = {"x-request-id": [f"id-{number}".encode()], "authorization": [b"Bearer s3"]}
            rig.ask(check_request(b"/closed/me?key=s3", headers=headers))
            rig.settle()
    (record,) = caplog.records
    assert record.getMessage() == (
        "shadow: route protected says token_malformed where the candidate's route protected says"
        " public; first: decision id-0"
    )
    assert len(rig.counted) == 3


def test_the_kinds_that_are_remembered_are_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(shadow_module, "MAX_KINDS", 1)
    rig = Rig(OPENED)
    with caplog.at_level(logging.INFO):
        ask(rig)
        ask(rig, permissions=["closed:read"])
    assert len(caplog.records) == 1
    assert len(rig.counted) == 2


@pytest.mark.parametrize("percent", [1, 50, 100])
def test_the_sample_is_the_same_in_every_sidecar(percent: int) -> None:
    """By decision id: about as many as were asked for, and always the same ones."""

    def sampled() -> list[bool]:
        rig = Rig(OPENED, percent)
        found = []
        for number in range(1000):
            before = len(rig.counted)
            rig.ask(check_request(headers={"x-request-id": [f"request-{number}".encode()]}))
            rig.settle()
            found.append(len(rig.counted) > before)
        return found

    first = sampled()
    assert first == sampled()
    assert abs(sum(first) - 10 * percent) < 50


def test_no_signature_is_verified_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a valid nor an invalid one; a token that was looked up before neither."""
    signed: list[bool] = []
    genuine = tokens._signed  # the one place where signatures are verified

    def counting(token: Any, key: object) -> bool:
        signed.append(genuine(token, key))
        return signed[-1]

    monkeypatch.setattr(tokens, "_signed", counting)
    rig = Rig(CLOSED)
    good = live_bearer(permissions=["closed:read"])
    bad = {"authorization": (good["authorization"][0][:-4] + b"AAAA",)}
    for headers in (good, bad):
        rig.ask(check_request(headers=headers))
        rig.settle()
    assert signed == [True, False]
    rig.ask(check_request(b"/open/1", headers=good))
    rig.settle()
    assert signed == [True, False]
    assert rig.counted == [("public", "public", "ok")]


def test_what_a_candidate_verifies_is_not_remembered() -> None:
    """And a token's lookups by a candidate are not among those that are counted."""
    rig = Rig(CLOSED)
    ask(rig, b"/open/1", permissions=[])
    assert rig.counted == [("public", "public", "ok")]
    assert rig.service.cached_tokens == 0
    assert [record.cached for record in rig.records] == [None]


def test_no_request_of_a_policy_that_was_replaced_is_compared() -> None:
    rig = Rig(OPENED)
    rig.ask(check_request())
    another = compile_policy(NOTHING, digest="another")
    rig.service.swap(rig.snapshot._replace(policy=another))
    rig.settle()
    assert rig.counted == []


def in_order(answer: bytes) -> bytes:
    """Return an answer's bytes with its maps in order: protobuf writes them in any."""
    return CheckResponse.FromString(answer).SerializeToString(deterministic=True)


TARGETS = st.sampled_from([b"/open/1", b"/closed/1", b"/users/7/orders", b"/x", b"/a/../b", b"%"])
HEADERS = st.sampled_from(
    [
        {},
        live_bearer(permissions=["closed:read"]),
        live_bearer(permissions=[]),
        {"authorization": (b"Bearer x",)},
    ]
)


@pytest.mark.parametrize("fault", [None, RuntimeError, RecursionError, MemoryError])
@given(
    candidate=st.sampled_from([OPENED, CLOSED, NOTHING]),
    percent=st.integers(1, 100),
    requests=st.lists(st.tuples(TARGETS, HEADERS), max_size=5),
)
def test_answers_are_the_same_bytes_with_any_candidate(
    fault: type[Exception] | None,
    candidate: tuple[Route, ...],
    percent: int,
    requests: list[tuple[bytes, dict[str, Any]]],
) -> None:
    """And without one; also where it fails inside."""

    def faulty(*_: object) -> NoReturn:
        assert fault is not None
        raise fault("the secret is 42")

    with pytest.MonkeyPatch.context() as patch:
        if fault is not None:
            patch.setattr(shadow_module, "decide", faulty)
        without, beside = Rig(None), Rig(candidate, percent)
        for number, (target, headers) in enumerate(requests):
            named = {**headers, "x-request-id": (f"id-{number}".encode(),)}
            message = check_request(target, headers=named)
            assert in_order(beside.ask(message)) == in_order(without.ask(message))
            for rig in (without, beside):
                rig.settle()
        kept = [[(r.decision.reason, r.cached) for r in rig.records] for rig in (beside, without)]
        assert kept[0] == kept[1]
        assert beside.service.cached_tokens == without.service.cached_tokens


def test_a_fault_of_the_candidate_is_counted_and_told_without_its_text(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(*_: object) -> NoReturn:
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr(shadow_module, "decide", faulty)
    rig = Rig(OPENED)
    ask(rig)
    assert rig.counted == [("protected", "token_missing", "internal")]
    assert "the shadow failed inside: RuntimeError in faulty" in caplog.text
    assert "secret" not in caplog.text


def test_the_series_of_differences_are_bounded() -> None:
    metrics = Metrics("1.0")
    for number in range(MAX_CHECK_SERIES + 5):
        metrics.shadow_decision(f"route-{number}", "ok", "public")
    assert len(metrics.values().shadow_decisions) == MAX_CHECK_SERIES + 1
    text = render(metrics.values()).decode()
    name = "zervi_sidecar_shadow_decisions_total"
    assert f'{name}{{active="ok",route="{OTHER_ROUTES}",shadow="public"}} 5.0' in text


def candidates(directory: Path, promotable: str = "true") -> Files:
    """Return files with a candidate that differs."""
    files = Files(directory)
    section = f"shadow: {{file: next.yaml, promotable: {promotable}}}"
    files.write(
        sidecar=f"{ISSUERS}policy: {{file: routes.yaml, {section}}}\n",
        next='api_gateway: {routes: [{path: "/y"}]}\n',
    )
    return files


def test_an_error_in_the_candidate_has_its_place(tmp_path: Path) -> None:
    files = candidates(tmp_path)
    files.write(next='api_gateway:\n  routes:\n    - {pth: "/y"}\n')
    assert files.lines() == ["next.yaml:3:8: error: unknown key `pth`, did you mean `path`?"]
    (tmp_path / "next.yaml").unlink()
    (line,) = files.lines()
    assert line.startswith("sidecar.yaml:2:")
    assert "the policy cannot be read: No such file or directory" in line


def test_a_promotion_holds_until_either_file_changes(tmp_path: Path) -> None:
    files = candidates(tmp_path)
    config: Config = files.load()
    candidate = Candidate(config, lambda *_: None)
    promoted = candidate.promote()
    assert promoted is not None
    assert promoted.policy is config.shadow
    assert candidate.promote() is None
    again = files.load()
    assert candidate.take(again) is again.shadow
    assert candidate.promote() is None
    for name in ("next", "routes"):
        files.write(**{name: 'api_gateway: {routes: [{path: "/z"}]}\n'})
        fresh = files.load()
        assert candidate.take(fresh) is fresh.policy
        assert candidate.promote() is not None


def test_a_candidate_is_not_promoted_unless_that_is_switched_on(tmp_path: Path) -> None:
    candidate = Candidate(candidates(tmp_path, "false").load(), lambda *_: None)
    assert not candidate.promotable
    assert candidate.promote() is None


NEXT = ROUTES.replace("permissions: [closed:read]", "auth_required: false")
COUNTED = (
    "zervi_sidecar_shadow_decisions_total"
    '{active="token_missing",route="closed-all",shadow="public"}'
)


def with_candidate(*, promotable: bool) -> Callable[[Sidecar], None]:
    def prepare(sidecar: Sidecar) -> None:
        sidecar.write("next.yaml", NEXT)
        shadow = {"file": "next.yaml", "promotable": promotable}
        with_admin(sidecar, policy={"file": "routes.yaml", "shadow": shadow})

    return prepare


async def test_a_candidate_is_watched_promoted_and_reloaded(tmp_path: Path) -> None:
    """The whole sidecar, over gRPC and HTTP."""
    old, new = digest_of(ROUTES.encode()), digest_of(NEXT.encode())
    async with running(tmp_path, with_candidate(promotable=True)) as sidecar:
        assert await sidecar.reason() == "token_missing"
        await sidecar.says("says token_missing where the candidate's route")
        assert await sidecar.metric(COUNTED) == 1
        assert (await sidecar.admin("/policy/promote", "GET"))[0] == 405
        status, body = await sidecar.admin("/policy/promote")
        assert status == 200
        assert json.loads(body) == {"policy": new, "was": old, "compared": 1, "different": 1}
        assert await sidecar.reason() == "public"
        assert await sidecar.metric(f'zervi_sidecar_policy_info{{digest="{new}"}}') == 1
        status, body = await sidecar.admin("/policy/promote")
        assert status == 409
        assert json.loads(body) == {"error": "there is no candidate that is not in force"}
        sidecar.signal(signal.SIGHUP)
        await sidecar.says(f"policy {new} is in force (unchanged)")
        assert await sidecar.reason() == "public"
        sidecar.write("next.yaml", NEXT + "# a change\n")
        await sidecar.says(f"policy {old} is in force (was {new})")
        assert await sidecar.reason() == "token_missing"
        assert await sidecar.reason(bearer=token()) == "ok"


async def test_without_the_switch_there_is_nothing_to_promote_by(tmp_path: Path) -> None:
    async with running(tmp_path, with_candidate(promotable=False)) as sidecar:
        status, body = await sidecar.admin("/policy/promote")
        assert status == 409
        assert "policy.shadow.promotable" in json.loads(body)["error"]
        assert await sidecar.reason() == "token_missing"
