"""The Check service and its look-ups together, over real HTTP."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from demo import minting
from sidecar.core.decision import DecisionRecord
from sidecar.core.routes.route import Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.lookups import Ended, Introspection, NeedsPermissions, PermissionRule
from sidecar.extauthz import asking
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.service import CheckService
from sidecar.zervi.look_up import PermissionsSource, VerdictSource
from sidecar.zervi.look_ups import LookUps
from tests.edge import key_server
from tests.edge.key_server import Exchange, KeyServer, document, serving
from tests.support.checks import allowed, answer, check_request, reason_of, service
from tests.support.policies import HS256, SECRET, TABLE, live_bearer, policy, snapshot
from tests.support.waiting import eventually

ASKED = HS256._replace(introspection=Introspection(always=True))
OPAQUE = {"authorization": (b"Bearer opaque",)}


class Zervi:
    """Answers both kinds of look-ups, for user 7; those of permissions wait for ``gate``."""

    def __init__(self) -> None:
        self.permissions: object = ["closed:read"]
        self.verdict: object = {"active": True, "sub": "7"}
        self.gate = asyncio.Event()
        self.gate.set()
        self.fault: key_server.Answer | None = None

    async def __call__(self, exchange: Exchange) -> None:
        if "/users/" in exchange.target:
            await self.gate.wait()
        if self.fault is not None:
            await self.fault(exchange)
            return
        asked = self.permissions if "/users/" in exchange.target else self.verdict
        await document(json.dumps(asked).encode())(exchange)


class Rig:
    """A service, its look-ups and their Zervi."""

    def __init__(self, server: KeyServer, zervi: Zervi, *, ttl: float, wait: float) -> None:
        self.server = server
        self.zervi = zervi
        self.results: list[tuple[str, str, str]] = []
        self.lookups = LookUps(on_look_up=lambda *result: self.results.append(result))
        base = server.url.removesuffix("/jwks.json")
        self.users = PermissionsSource(f"{base}/users/{{subject}}", ttl, 600.0, wait)
        self.tokens = VerdictSource(HS256.name, "rfc7662", f"{base}/introspect", ttl, 600.0, wait)
        self.lookups.take(self.users, (self.tokens,))
        self.records: list[DecisionRecord] = []
        self.rules = snapshot()._replace(permissions=PermissionRule())
        self.checks: CheckService = service(self.rules, records=self.records, lookups=self.lookups)

    def ask_about_tokens(self, issuer: Issuer = ASKED) -> None:
        self.rules = self.rules._replace(issuers=(issuer,), opaque_issuer=0)
        self.checks.swap(self.rules)

    async def reason(
        self, headers: Any = None, deadline: float | None = None, target: bytes = b"/closed/1"
    ) -> str:
        sent = headers or live_bearer()
        told = await answer(self.checks, check_request(target, headers=sent), deadline)
        assert allowed(told) == (reason_of(told) in {"ok", "public"})
        return reason_of(told)

    @property
    def asked(self) -> list[str]:
        return [exchange.target for exchange in self.server.exchanges]


@contextlib.asynccontextmanager
async def running(ttl: float = 60.0, wait: float = 5.0) -> AsyncIterator[Rig]:
    zervi = Zervi()
    async with serving(zervi) as server:
        rig = Rig(server, zervi, ttl=ttl, wait=wait)
        try:
            yield rig
        finally:
            zervi.gate.set()
            await rig.lookups.close()


async def test_missing_permissions_are_asked_for_once_and_then_known() -> None:
    async with running() as rig:
        many = [rig.reason() for _ in range(50)]
        assert set(await asyncio.gather(*many)) == {"ok"}
        assert await rig.reason() == "ok"
        assert rig.asked == ["/users/7"]
        assert rig.results == [("permissions", "answered", "")]
        assert rig.lookups.sizes()["permissions"][0] == 1


async def test_a_token_and_its_users_permissions_are_asked_for_one_after_the_other() -> None:
    async with running() as rig:
        rig.ask_about_tokens()
        assert await rig.reason(OPAQUE) == "ok"
        assert rig.asked == ["/introspect", "/users/7"]
        rig.zervi.verdict = {"active": False}
        assert await rig.reason(live_bearer(jti="another")) == "token_revoked"


async def test_all_waits_of_one_check_together_end_before_its_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second look-up gets only what the first has left."""
    async with running() as rig:
        rig.ask_about_tokens()
        waits: list[float] = []
        bounded = asyncio.timeout

        def noted(delay: float) -> asyncio.Timeout:
            waits.append(time.monotonic() + delay)
            return bounded(delay)

        rig.zervi.gate.clear()
        deadline = time.monotonic() + 0.5
        monkeypatch.setattr(asking, "asyncio", SimpleNamespace(timeout=noted))
        assert await rig.reason(OPAQUE, deadline) == "not_ready"
        assert rig.asked == ["/introspect", "/users/7"]
        assert waits == pytest.approx([deadline - asking.ANSWER_MARGIN_SECONDS] * 2, abs=0.02)
        assert await rig.reason(OPAQUE, time.monotonic() + asking.ANSWER_MARGIN_SECONDS) == (
            "not_ready"
        )


async def test_a_wait_ends_after_its_own_time_too() -> None:
    """The look-up goes on without its request, and its answer is there for the next one."""
    async with running(wait=0.05) as rig:
        rig.zervi.gate.clear()
        assert await rig.reason() == "not_ready"
        assert rig.records[-1].decision.verified is not None
        rig.zervi.gate.set()
        await eventually(lambda: rig.results, "the look-up ends")
        rig.zervi.fault = key_server.reset
        assert await rig.reason() == "ok"


async def test_a_reload_of_policy_and_keys_keeps_the_answers() -> None:
    """Another source has answers of its own; the former one's look-ups end."""
    async with running() as rig:
        assert await rig.reason() == "ok"
        rig.checks.swap(rig.rules._replace(policy=policy(TABLE)))
        rig.lookups.take(rig.users, (rig.tokens,))
        reload(rig, rig.rules)
        assert await rig.reason() == "ok"
        assert rig.asked == ["/users/7"]
        rig.lookups.take(rig.users._replace(ttl=61.0), (None,))
        reload(rig, rig.rules)
        assert await rig.reason() == "ok"
        assert rig.asked == ["/users/7", "/users/7"]


def reload(rig: Rig, rules: Snapshot) -> None:
    responder = Responder(AnswerSettings())
    rig.checks.reload(rules, responder, ServiceSettings(), None, rig.lookups)


async def test_a_reload_while_a_request_waits_asks_the_new_source() -> None:
    async with running() as rig:
        rig.zervi.gate.clear()
        waiting = asyncio.ensure_future(rig.reason())
        await eventually(lambda: len(rig.asked) == 1, "the first source is asked")
        rig.lookups.take(rig.users._replace(ttl=61.0), (None,))
        reload(rig, rig.rules)
        rig.zervi.gate.set()
        assert await waiting == "ok"
        assert len(rig.asked) == 2


async def test_a_repeated_request_is_answered_from_memory_while_the_answer_is_fresh() -> None:
    async with running() as rig:
        headers = live_bearer()
        for _ in range(4):
            rig_headers = {**headers, "x-request-id": (str(uuid4()).encode(),)}
            assert await rig.reason(rig_headers) == "ok"
        rig.zervi.permissions = []
        rig.lookups.take(rig.users._replace(ttl=61.0), (rig.tokens,))
        later = {**headers, "x-request-id": (str(uuid4()).encode(),)}
        assert await rig.reason(later) == "permission_denied"


async def test_a_repeated_request_is_decided_again_as_soon_as_an_answer_changes() -> None:
    async with running() as rig:
        headers = live_bearer()

        async def repeated() -> str:
            return await rig.reason({**headers, "x-request-id": (str(uuid4()).encode(),)})

        for permissions, reason in ((["closed:read"], "ok"), ([], "permission_denied")) * 2:
            rig.zervi.permissions = permissions
            ended = rig.lookups.ask(NeedsPermissions("7"), b"")
            assert (ended if isinstance(ended, Ended) else await ended) is Ended.ANSWERED
            assert {await repeated() for _ in range(4)} == {reason}


async def test_after_zervi_died_known_answers_serve_and_unknown_users_get_503() -> None:
    """Never an allow that was not known, and never a wait for each request."""
    async with running(ttl=0.01) as rig:
        assert await rig.reason() == "ok"
        rig.zervi.fault = key_server.reset
        for _ in range(30):
            assert await rig.reason() == "ok"
        assert await rig.reason(live_bearer(user_id=8)) == "not_ready"
        assert len(rig.asked) < 15, "failures pause the look-ups"
        assert rig.lookups.failing()["permissions"] in (True, False)


PLAIN = b"/users/7/orders"  # a route without permissions


async def test_after_zervi_died_a_token_that_was_active_works_until_max_stale() -> None:
    """With ``max_stale: 0s`` until ``ttl``."""
    async with running() as rig:
        rig.lookups.take(None, (rig.tokens._replace(ttl=0.01),))
        rig.ask_about_tokens()
        assert await rig.reason(OPAQUE, target=PLAIN) == "ok"
        rig.zervi.fault = key_server.reset
        for _ in range(30):
            assert await rig.reason(OPAQUE, target=PLAIN) == "ok"
        unknown = {"authorization": (b"Bearer unknown",)}
        assert await rig.reason(unknown, target=PLAIN) == "not_ready"
        rig.zervi.fault = None
        rig.lookups.take(None, (rig.tokens._replace(ttl=0.01, max_stale=0.0),))
        reload(rig, rig.rules)
        assert await rig.reason(OPAQUE, target=PLAIN) == "ok"
        rig.zervi.fault = key_server.reset
        seen = set()
        while "not_ready" not in seen:
            seen.add(await rig.reason(OPAQUE, target=PLAIN))
        assert seen <= {"ok", "not_ready"}


async def test_after_zervi_died_no_token_outlives_its_exp_or_a_revocation() -> None:
    async with running() as rig:
        rig.lookups.take(None, (rig.tokens._replace(ttl=0.01),))
        rig.ask_about_tokens()
        assert await rig.reason(OPAQUE, target=PLAIN) == "ok"
        rig.zervi.verdict = {"active": False}
        while (reason := await rig.reason(OPAQUE, target=PLAIN)) == "ok":
            pass  # until the former answer is not fresh any more
        assert reason == "token_revoked"
        rig.zervi.verdict = {"active": True, "sub": "7", "exp": time.time() + 0.5}
        expiring = {"authorization": (b"Bearer expiring",)}
        assert await rig.reason(expiring, target=PLAIN) == "ok"
        rig.zervi.fault = key_server.reset
        assert await rig.reason(OPAQUE, target=PLAIN) in {"token_revoked", "not_ready"}
        while (reason := await rig.reason(expiring, target=PLAIN)) == "ok":
            pass
        assert reason == "not_ready"


@pytest.mark.parametrize(
    "fault",
    [
        document(b"<html>"),
        document(b'{"permissions": ["closed:read"], "user_id": 8}'),
        document(b'["closed:read"]', status="500 X"),
        document(b"", status="302 Found", headers={"Location": "/x"}),
        key_server.endless_body,
        key_server.reset_in_body,
    ],
)
async def test_a_fault_is_a_denial_with_503(fault: key_server.Answer) -> None:
    async with running() as rig:
        rig.zervi.fault = fault
        assert await rig.reason() == "not_ready"
        assert rig.results[0][:2] == ("permissions", "failed")


@pytest.mark.parametrize(
    "none", [document(b"", status="404 Not Found"), document(b'{"success": false}')]
)
async def test_an_unknown_user_has_no_permissions_and_no_former_ones(
    none: key_server.Answer,
) -> None:
    async with running(ttl=0.01) as rig:
        assert await rig.reason() == "ok"
        rig.zervi.fault = none
        while (reason := await rig.reason()) == "ok":
            pass  # until the former answer is not fresh any more
        assert reason == "permission_denied"
        rig.zervi.fault = key_server.reset
        assert await rig.reason() in {"permission_denied", "not_ready"}


async def test_a_flood_of_invented_tokens_does_not_stop_a_token_in_use() -> None:
    async with running() as rig:
        rig.ask_about_tokens()
        assert await rig.reason(OPAQUE, target=PLAIN) == "ok"
        rig.zervi.verdict = {"active": False}
        invented = [
            rig.reason({"authorization": (f"Bearer {number}".encode(),)}) for number in range(200)
        ]
        reasons = await asyncio.gather(*invented)
        assert set(reasons) == {"token_revoked", "overloaded"}
        rig.zervi.verdict = {"active": True, "sub": "7"}
        assert await rig.reason(OPAQUE, target=PLAIN) == "ok"


async def test_another_issuers_jwt_is_not_sent_anywhere() -> None:
    async with running() as rig:
        other = Issuer("another", HS256.algorithms, secrets=(b"another secret of the tests here!",))
        rig.rules = rig.rules._replace(issuers=(ASKED, other), opaque_issuer=0, permissions=None)
        rig.lookups.take(None, (rig.tokens, None))
        rig.checks.swap(rig.rules)
        claims = {"iss": "another", "user_id": 7, "exp": int(time.time()) + 60}
        token = minting.sign({**claims, "permissions": ["closed:read"]}, other.secrets[0])
        assert await rig.reason({"authorization": (f"Bearer {token}".encode(),)}) == "ok"
        forged = minting.sign(claims, SECRET)
        assert await rig.reason({"authorization": (f"Bearer {forged}".encode(),)}) == (
            "token_signature"
        )
        assert rig.asked == []


def test_a_route_is_never_open_because_nothing_is_wired() -> None:
    """Without look-ups in the service, a rule that needs them denies."""
    rules = snapshot((Route(0, "a", "/closed/1", permissions=("x",)),))
    checks = service(rules._replace(permissions=PermissionRule()))
    told = asyncio.run(answer(checks, check_request(headers=live_bearer())))
    assert reason_of(told) == "not_ready"
