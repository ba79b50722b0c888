"""`explain` and the server agree, the server asked by grpcio's client over a socket."""

import asyncio
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sidecar.app import wiring
from sidecar.config import Config, load
from sidecar.core.decision import Allow
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.extauthz.envoy_client import check_message, read_answer
from sidecar.transport import h2
from sidecar.transport.interface import Methods
from sidecar.workbench.engine import PolicyEngine
from sidecar.workbench.explain import Explainer, Explanation
from sidecar.workbench.principals import Caller, GivenClaims, present
from tests.edge.transport_rig import call, talking
from tests.support import signing
from tests.support.case_tokens import CASES, KEY, SECRET, literal_tokens
from tests.support.checks import service

CHECK = "/envoy.service.auth.v3.Authorization/Check"
IN_FLIGHT = 50

REQUESTS = 10_000

CONFIGS = [CASES / "config" / "sidecar.yaml", CASES / "config" / "elsewhere.yaml"]
SEGMENTS = [
    "open", "closed", "reads", "hosted", "both", "either", "by-role", "users", "7", "orders",
    "for-services", "for-all", "today", "far-away", "secret", "Open", "%2e", "%2f", "..", "", "a;b",
    "%E5%BC%A0", "%zz", "*", "a b",
]  # fmt: skip
PATHS = [
    "/open/1", "/closed/1", "/reads", "/hosted", "/both", "/either", "/by-role", "/for-all",
    "/users/7/orders", "/users/8/orders", "/for-services", "/today", "/far-away", "/open/secret/1",
    "/open/secret", "/open/secret/", "/open/%73ecret.json/",
]  # fmt: skip
METHODS = ["GET"] * 6 + ["POST", "HEAD", "OPTIONS", "get", "G T", ""]
HEADERS: list[dict[str, tuple[bytes, ...]]] = [
    {}, {}, {},
    {"origin": (b"https://a",), "access-control-request-method": (b"GET",)},
    {"authorization": (b"Bearer x",)}, {"authorization": (b"Basic eA",)}, {"cookie": (b"token=x",)},
    {"accept-language": (b"zh",)}, {"x_user_id": (b"1",), "x-user-id": (b"2",)},
    {"content-type": (b"application/grpc",)},
]  # fmt: skip
TOKENS = [text.encode() for text in literal_tokens().values()]


def claims(dice: random.Random) -> dict[str, object]:
    """Return claims with some of what routes ask for."""
    found: dict[str, object] = {"user_id": dice.choice([7, 8, "", None, [], "张伟"])}
    found["iss"] = dice.choice(["zervi", "jobfirst-auth", "zervigo-service-auth"])
    some: dict[str, list[object]] = {
        "role": ["user", "admin", "super_admin", "auditor"],
        "permissions": [["orders:write"], ["*"], ["secrets:read"], None, "x", ["%" * 3000]],
        "service_id": ["7", ""],
        "nbf": [time.time() - 100, time.time() + 1000],
        "exp": [time.time() + 1000, time.time() - 1000, "never", True],
    }
    for name, values in some.items():
        if dice.random() < 0.4:
            found[name] = dice.choice(values)
    return found


def requests(dice: random.Random) -> Iterator[tuple[Request, Caller]]:
    """Yield requests of every shape, by people of every kind."""
    for number in range(REQUESTS // len(CONFIGS)):
        path = dice.choice(PATHS)
        if dice.random() < 0.3:
            path = "/" + "/".join(dice.choices(SEGMENTS, k=dice.randint(0, 4)))
        if dice.random() < 0.1:
            path += dice.choice(
                ["?", "?token=x", "?_method=PUT", "?%5Fmethod=get&a", "?a=b#c", "/", "//", "#"]
            )
        host = dice.choice(["localhost", "api.jobfirst.local:8443", "API.jobfirst.local", ""])
        headers = {**dice.choice(HEADERS), "x-request-id": (str(number).encode(),)}
        request = Request(dice.choice(METHODS), host, path.encode(), headers, raw_headers=True)
        caller: Caller = None
        kind = dice.random()
        if kind < 0.2:
            caller = dice.choice(TOKENS)
        elif kind < 0.85:
            caller = GivenClaims(claims(dice))
        yield request, caller


def explainer(config: Config) -> Explainer:
    return Explainer(PolicyEngine(config, time.time()), "routes.yaml", config.route_lines)


@pytest.mark.timeout(240)  # 10,000 requests, on a machine that is busy with others
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
async def test_explain_and_the_server_agree(path: Path) -> None:
    """On 10,000 generated requests, many in flight on one connection, claims really signed."""
    config = load(path, {})
    explaining = explainer(config)
    snapshot = explaining.engine.snapshot
    checks = service(snapshot, answers=wiring.answers(config), keys=FreshKeys())
    known = {issuer.name for issuer in config.issuers}
    reasons: set[Reason] = set()
    asking = iter(requests(random.Random(path.stem)))

    async def ask() -> None:
        for request, caller in asking:
            token = caller
            if isinstance(caller, GivenClaims):
                if caller.claims["iss"] not in known:
                    caller = GivenClaims({**caller.claims, "iss": "zervi"})
                token = signed(caller.claims)
            explanation = explaining.explain(request, caller)
            asked = request
            if isinstance(token, bytes):
                asked = present(token, request, snapshot.token_sources[0])
            answer = await call(channel, CHECK, check_message(asked), within=30.0)
            assert explanation.judged.answer == read_answer(answer), (request, caller)
            agrees(explanation)
            reasons.add(explanation.judged.decision.reason)

    served = Methods({CHECK: checks.check}, {})
    async with talking(h2.Server, served) as channel, asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(ask())
    assert len(reasons) >= 12


def signed(claims: Mapping[str, object]) -> bytes:
    """Return a token that says the same, and names the audience too."""
    whole = {"exp": time.time() + 600, "aud": "jobfirst", **claims}
    if claims["iss"] == "zervi":
        return signing.token(whole, KEY, "EdDSA", kid="k1")
    return signing.token(whole, SECRET, "HS256")


class FreshKeys:
    """A key source that fetched a good set just now."""

    def refresh_for(self, issuer: int, kid: str | None) -> bool:
        """Say so."""
        return True


def agrees(explanation: Explanation) -> None:
    """Assert that the steps lead to the decision: the first that fails names its reason."""
    failed = [step for step in explanation.steps if step.held is False]
    decision = explanation.judged.decision
    assert bool(failed) is not isinstance(decision, Allow)
    if failed and decision.reason.startswith("token_"):
        assert failed[0].text.startswith(decision.reason)
