"""A user's token and a service's together, through the Check service."""

import json
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace

import pytest

from demo import minting
from sidecar.core.decision import Allow, DecisionRecord
from sidecar.core.routes.route import BOTH, Route
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.core.validity import UNKNOWN
from sidecar.extauthz.respond import AnswerSettings
from sidecar.extauthz.service import CheckService
from sidecar.extauthz.shadow import Shadow
from sidecar.net.clock import steady
from sidecar.ops.decision_log import render
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.support.checks import allowed, answer, ask, check_request, reason_of, service
from tests.support.policies import BEARER, HS256, live_bearer, policy, snapshot

SECRET = b"another secret, made up for these tests"
SERVICES = Issuer("services", frozenset({"HS256"}), secrets=(SECRET,))
HEADER = TokenSource("header", "x-service-token")
ROUTES = (Route(0, "both", "/both/*", "inner", principals=BOTH),)
ANSWERS = AnswerSettings(token_sources=(BEARER, HEADER))
ID = {"x-request-id": (b"5b1d2f3e-6f1c-4a55-9a0a-1c8a3f1c9d10",)}
USER = live_bearer()


def seen() -> Snapshot:
    return snapshot(ROUTES, (HS256, SERVICES))._replace(service_token_sources=(HEADER,))


def of_service(name: str, seconds: float = 600) -> Mapping[str, Sequence[bytes]]:
    claims = {"iss": "services", "service_id": name, "exp": int(time.time() + seconds)}
    return {"x-service-token": (minting.sign(claims, SECRET).encode(),)}


def headers_of(response: CheckResponse) -> dict[str, str]:
    assert allowed(response)
    return {option.header.key: option.header.value for option in response.ok_response.headers}


def ask_as(checks: CheckService, *headers: Mapping[str, Sequence[bytes]]) -> CheckResponse:
    sent = {name: values for each in (USER, *headers, ID) for name, values in each.items()}
    return ask(checks, check_request(b"/both/1", headers=sent))


def test_the_upstream_gets_the_user_and_the_service_s_id() -> None:
    """The client's own x-service-id is overwritten, and each token's answer is its own."""
    checks = service(seen(), answers=ANSWERS)
    for name in ("gateway", "other", "gateway"):
        told = ask_as(checks, of_service(name), {"x-service-id": (b"spoofed",)})
        assert headers_of(told) == {
            "x-user-id": "7",
            "x-user-issuer": HS256.name,
            "x-service-id": name,
        }
        assert "x-service-id" not in told.ok_response.headers_to_remove
        metadata = told.dynamic_metadata.fields
        assert metadata["service"].string_value == name
        assert metadata["subject"].string_value == "7"


def test_the_service_s_id_can_be_switched_off() -> None:
    """Then a client's own is removed all the same."""
    names = IdentityHeaders(service=None)
    known = seen()._replace(identity_headers=names)
    told = ask_as(service(known, answers=ANSWERS._replace(identity_headers=names)), of_service("a"))
    assert "x-service-id" not in headers_of(told)
    assert "x-service-id" in told.ok_response.headers_to_remove


def test_a_repeated_request_with_another_service_s_token_is_another_request() -> None:
    """What is remembered includes the header: a third request without it is denied."""
    checks = service(seen(), answers=ANSWERS)
    for _ in range(3):
        assert headers_of(ask_as(checks, of_service("gateway")))["x-service-id"] == "gateway"
    assert headers_of(ask_as(checks, of_service("other")))["x-service-id"] == "other"
    told = ask_as(checks)
    assert reason_of(told) == "token_missing"
    assert json.loads(told.denied_response.body)["message"] == "a service token is required too"


def test_a_remembered_request_is_denied_when_the_service_s_token_has_expired() -> None:
    """Though the user's is still good."""
    records: list[DecisionRecord] = []
    checks = service(seen(), answers=ANSWERS, records=records)
    sent = of_service("gateway")
    for _ in range(3):
        assert allowed(ask_as(checks, sent))
    (key,) = checks._repeats._young
    repeat = checks._repeats._young[key]
    assert repeat.decision.service is not None
    expired = repeat.decision.service._replace(valid_until=time.time() - 1)
    checks._verified[expired.digest] = expired
    old = repeat.decision._replace(service=expired, others=(expired,))
    checks._repeats._young[key] = replace(repeat, decision=old, validity=UNKNOWN)
    assert headers_of(ask_as(checks, sent))["x-service-id"] == "gateway"  # verified again
    assert isinstance(records[-1].decision, Allow)
    assert records[-1].decision.service is not None
    assert records[-1].decision.service.valid_until > time.time()


def test_a_service_that_may_not_call_the_path_is_named_in_the_log() -> None:
    records: list[DecisionRecord] = []
    checks = service(seen(), answers=ANSWERS, records=records)
    claims = {"iss": "services", "service_id": "gateway", "exp": int(time.time() + 600)}
    limited = minting.sign({**claims, "allowed_apis": ["/other/*"]}, SECRET).encode()
    told = ask_as(checks, {"x-service-token": (limited,)})
    assert reason_of(told) == "permission_denied"
    message = "the service token does not allow this path"
    assert json.loads(told.denied_response.body)["message"] == message
    line = json.loads(render(records[-1]))
    assert (line["subject"], line["service"], line["service_issuer"]) == (
        "7",
        "gateway",
        "services",
    )


def test_a_candidate_policy_is_compared_by_both_tokens() -> None:
    """Each of them is the one that was verified."""
    counted: list[tuple[str, str, str]] = []
    checks = service(seen(), answers=ANSWERS)
    checks._shadow = Shadow(100, lambda *each: counted.append(each))
    checks._shadow.take(policy(ROUTES))
    assert allowed(ask_as(checks, of_service("gateway")))
    assert reason_of(ask_as(checks)) == "token_missing"
    assert counted == []
    narrow = Route(1, "narrow", "/both/1", principals=frozenset({"service"}))
    checks._shadow.take(policy((*ROUTES, narrow)))
    assert allowed(ask_as(checks, of_service("gateway")))
    assert counted == [("both", "ok", "ok")]  # by another route, with the service as the caller
    checks._shadow.take(policy((Route(0, "users", "/both/*"),)))
    assert reason_of(ask_as(checks)) == "token_missing"
    assert counted[1:] == [("both", "token_missing", "ok")]


@pytest.mark.parametrize("at_once", [False, True])
async def test_two_keys_that_rotate_at_the_same_time_deny_no_request(at_once: bool) -> None:
    """Of the user's issuer and of the services'; each is asked for after the other."""
    fresh = [minting.new_key(name, "ES256") for name in ("user", "service")]
    names = (HS256.name, SERVICES.name)
    asked: list[tuple[int, str | None]] = []

    def known(*published: bool) -> Snapshot:
        issuers = []
        for name, key, there in zip(names, fresh, published, strict=True):
            keys = (minting.new_key("old", "ES256"), *((key,) if there else ()))
            algorithms = frozenset({"ES256"})
            found = parse_key_set(minting.jwks(*keys), algorithms=algorithms, fetched_at=steady())
            issuers.append(Issuer(name, algorithms, keys=found))
        return snapshot(ROUTES, tuple(issuers))._replace(service_token_sources=(HEADER,))

    class Rotating:
        def refresh_for(self, index: int, kid: str | None) -> Awaitable[bool] | bool:
            asked.append((index, kid))
            if at_once and index == 1:  # fetched between the two decisions
                checks.swap(known(True, True))
                return True
            return self._fetch(index)

        async def _fetch(self, index: int) -> bool:
            checks.swap(known(True, index == 1))
            return True

    checks = service(known(False, False), Rotating(), answers=ANSWERS)
    expires = int(time.time() + 600)
    user = minting.sign({"iss": names[0], "user_id": 7, "exp": expires}, fresh[0])
    caller = minting.sign({"iss": names[1], "service_id": "gateway", "exp": expires}, fresh[1])
    headers = {"authorization": [b"Bearer " + user.encode()], "x-service-token": [caller.encode()]}
    told = await answer(checks, check_request(b"/both/1", headers=headers))
    assert headers_of(told)["x-service-id"] == "gateway"
    assert asked == [(0, "user"), (1, "service")]
