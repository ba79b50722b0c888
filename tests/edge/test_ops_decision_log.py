"""The decision log: what a line holds, and that no Check waits for its reader."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.decision import Allow, DecisionRecord, Deny, PeerInfo
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.table import Route
from sidecar.core.tokens.errors import TokenFacts
from sidecar.core.tokens.principal import Kind, Principal
from sidecar.core.tokens.verify import Verified
from sidecar.ops.decision_log import MAX_CLAIM, DecisionLog, LogSettings, Mode, render

ROUTE = Route(0, "user-orders", "/api/users/{user_id}/orders/*")
ALICE = Verified(
    digest=b"",
    principal=Principal(Kind.USER, "7", "jobfirst-auth", "alice"),
    issuer=0,
    thumbprint=None,
    valid_from=0.0,
    valid_until=0.0,
    cached_until=0.0,
    identity=(),
)
SIGNATURE = "dGhlIHNpZ25hdHVyZSB0aGF0IG5vIGxvZyBtYXkgc2hvdyB0byBhbnlib2R5"
TOKEN = f"eyJhbGciOiJIUzI1NiJ9.eyJ1c2VyX2lkIjo3fQ.{SIGNATURE}"


def record(
    source: str = "10.0.0.7:51234",
    destination: str = "10.0.0.9:10000",
    context: tuple[tuple[str, str], ...] = (("listener", "public"),),
    **changes: Any,
) -> DecisionRecord:
    """Return a denial with everything that a record may hold, changed as told."""
    full = DecisionRecord(
        time=1795298400.0625,
        seconds=0.0000334,
        decision_id="4b0cdd3e-5f0a-4d5c-8f1e-0c9f3a0d9a11",
        decision=Deny(
            Reason.PERMISSION_DENIED, ROUTE, ALICE, ("orders:read",), detail="for operators"
        ),
        request=Request("GET", "api.jobfirst.local", b"/api/users/7/orders/1?token=x", {}, True),
        policy_digest="sha256:0123",
        cached=True,
        peer_info=lambda: PeerInfo(source, destination, context),
    )
    return full._replace(**changes)


def line(shown: DecisionRecord) -> dict[str, Any]:
    """Render a record and read it as a log shipper does."""
    rendered = render(shown)
    assert rendered.endswith(b"\n")
    assert rendered.count(b"\n") == 1
    parsed: dict[str, Any] = json.loads(rendered)
    return parsed


def test_a_denial_says_who_asked_for_what_and_what_was_missing() -> None:
    assert line(record()) == {
        "time": "2026-11-21T22:00:00.062Z",
        "decision_id": "4b0cdd3e-5f0a-4d5c-8f1e-0c9f3a0d9a11",
        "decision": "deny",
        "reason": "permission_denied",
        "route": "user-orders",
        "host": "api.jobfirst.local",
        "method": "GET",
        "path": "/api/users/7/orders/1",
        "subject": "7",
        "principal_kind": "user",
        "issuer": "jobfirst-auth",
        "policy_digest": "sha256:0123",
        "source": "10.0.0.7:51234",
        "microseconds": 33,
        "destination": "10.0.0.9:10000",
        "context": {"listener": "public"},
        "needs": ["orders:read"],
        "detail": "for operators",
    }


def test_an_allowed_request_of_nobody_has_the_same_fields_but_the_optional_ones() -> None:
    allowed = record(decision=Allow(Reason.PUBLIC, ROUTE), destination="", context=())
    shown = line(allowed)
    assert list(shown) == list(line(record()))[:14]
    assert shown["decision"] == "allow"
    assert (shown["subject"], shown["principal_kind"], shown["issuer"]) == (None, None, None)


@pytest.mark.parametrize(("mode", "lines"), [("all", 1), ("denied", 0)])
def test_an_answered_preflight_is_no_denial(
    mode: Mode, lines: int, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    log = DecisionLog(LogSettings(mode))
    log.records([record(decision=Deny(Reason.PREFLIGHT_ANSWERED, ROUTE))])
    log.close()
    assert capfdbinary.readouterr().out.count(b'"decision":"answer"') == lines


def test_a_message_that_could_not_be_read_is_logged_too() -> None:
    shown = line(record(request=None, decision=Deny(Reason.MALFORMED_REQUEST), decision_id=""))
    assert (shown["route"], shown["host"], shown["method"], shown["path"]) == (None,) * 4
    assert shown["reason"] == "malformed_request"


@pytest.mark.parametrize("place", ["path", "host", "method", "source", "id", "context", "detail"])
def test_no_field_shows_a_token(place: str) -> None:
    target = f"/files/{TOKEN}".encode() if place == "path" else b"/"
    host = TOKEN if place == "host" else "host"
    method = TOKEN if place == "method" else "GET"
    shown = record(
        request=Request(method, host, target, {"authorization": [TOKEN.encode()]}, True),
        source=TOKEN if place == "source" else "",
        decision_id=TOKEN if place == "id" else "",
        context=((TOKEN, TOKEN),) if place == "context" else (),
        decision=Deny(Reason.TOKEN_SIGNATURE, detail=f"of {TOKEN}" if place == "detail" else ""),
    )
    rendered = render(shown).decode()
    assert SIGNATURE not in rendered
    assert "eyJ" not in rendered
    assert "[redacted]" in rendered


@given(
    st.text(max_size=400),
    st.text(max_size=400),
    st.binary(max_size=400),
    st.text(max_size=400),
    st.text(max_size=400),
)
def test_any_text_of_a_client_makes_one_line_of_ascii(
    method: str, host: str, target: bytes, subject: str, source: str
) -> None:
    verified = ALICE._replace(principal=ALICE.principal._replace(subject=subject))
    shown = record(
        request=Request(method, host, target, {}, False),
        decision=Deny(Reason.NOT_OWNER, ROUTE, verified),
        source=source,
        context=((host, source),),
    )
    rendered = render(shown)
    assert rendered[:-1].isascii()
    assert not any(byte < 0x20 for byte in rendered[:-1])
    assert line(shown)["reason"] == "not_owner"


def test_a_line_stays_short_whatever_a_client_sends() -> None:
    huge = "\x00" * 1_000_000
    shown = record(
        request=Request(huge, huge, huge.encode(), {}, False),
        decision=Deny(Reason.INTERNAL, needs=(huge,) * 100, detail=huge),
        decision_id=huge,
        source=huge,
        destination=huge,
        context=tuple((f"{number}{huge}", huge) for number in range(20)),
    )
    assert len(render(shown)) < 64 * 1024


@pytest.mark.parametrize(
    ("replayable", "role", "shown"),
    [(True, "user", True), (False, "user", False), (True, TOKEN, False), (True, "x" * 5000, False)],
)
def test_what_a_principal_holds_is_logged_whole_or_not_at_all(
    replayable: bool, role: str, shown: bool
) -> None:
    """And only where it was asked for: replaying from a part would decide otherwise."""
    principal = ALICE.principal._replace(roles=(role, "b"), permissions=("a:read",))
    verified = ALICE._replace(principal=principal)
    told = json.loads(
        render(record(decision=Allow(Reason.OK, ROUTE, verified)), replayable=replayable)
    )
    assert told.get("roles") == ([role, "b"] if shown else None)
    assert told.get("permissions") == (["a:read"] if shown else None)


def test_a_refused_token_is_logged_with_its_own_words_and_the_issuer_that_it_names() -> None:
    facts = TokenFacts("k1", "https://pay", ["pay-api", 7, ["x"]], None, issuer="https://pay")
    shown = line(record(decision=Deny(Reason.TOKEN_AUDIENCE, ROUTE, facts=facts)))
    assert shown["issuer"] == "https://pay"
    assert shown["claimed"] == {
        "kid": "k1",
        "iss": "https://pay",
        "aud": ["pay-api", "(int)", "(list)"],
    }


HOSTILE = ("\x00" * 8192, "\n" * 8192, "\u202e" * 8192, "\ud800" * 8192, "\U0001f600" * 8192, TOKEN)


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_words_of_a_token_make_one_short_line_of_ascii(value: str) -> None:
    facts = TokenFacts(value, value, [value] * 1000, value, issuer=None)
    rendered = render(record(decision=Deny(Reason.TOKEN_ISSUER, ROUTE, facts=facts)))
    assert rendered[:-1].isascii()
    assert not any(byte < 0x20 for byte in rendered[:-1])
    assert SIGNATURE.encode() not in rendered
    assert len(rendered) < 24 * 1024
    claimed = json.loads(rendered)["claimed"]
    assert claimed["aud"][8:] == ["and 992 more"]
    assert all(len(text) <= MAX_CLAIM + 3 for text in (claimed["kid"], *claimed["aud"]))


def written(mode: Mode, tmp_path: Path) -> list[str]:
    """Log an allowed and a denied request; return the reasons that were written."""
    path = tmp_path / "log"
    with path.open("wb") as file:
        log = DecisionLog(LogSettings(mode), fd=file.fileno())
        log.records([record(decision=Allow(Reason.OK, ROUTE, ALICE)), record()])
        log.close()
    assert log.dropped == 0
    return [json.loads(one)["reason"] for one in path.read_text().splitlines()]


@pytest.mark.parametrize(
    ("mode", "reasons"),
    [("all", ["ok", "permission_denied"]), ("denied", ["permission_denied"]), ("none", [])],
)
def test_the_mode_chooses_what_is_written(mode: Mode, reasons: list[str], tmp_path: Path) -> None:
    assert written(mode, tmp_path) == reasons


def test_a_reader_that_stands_still_costs_lines_which_are_counted_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reading, writing = os.pipe()
    try:
        log = DecisionLog(LogSettings("denied"), fd=writing)
        with caplog.at_level(logging.WARNING):
            for _ in range(200):
                log.records([record()] * 100)
        assert 0 < log.dropped < 20_000
        assert "dropped from the log" in caplog.records[0].getMessage()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            log.close(timeout=0.05)
        assert "the end of the decision log is lost" in caplog.records[0].getMessage()
    finally:
        os.close(reading)  # and so its thread ends
        log.close(timeout=10)
        os.close(writing)
