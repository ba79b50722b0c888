"""The schema of case files and of fixtures: policy tests as data.

Each key is described in docs/testing-policies.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from sidecar.core.reasons import Reason
from sidecar.documents.findings import BadValueError, Place, quoted
from sidecar.documents.kinds import Choice, File, Integer, Kind, List, Mapped, Notes, Optional, Text
from sidecar.documents.schema import Section

ANONYMOUS = "nobody"  # the principal without a token, which always exists
ANYONE = "anyone"  # in an expectation: every principal that it does not name

PINNED = "2026-01-01T00:00:00Z"


def instant(text: str) -> float:
    """Return the epoch seconds of ``2026-11-21T12:00:00Z``. Raises BadValueError."""
    try:
        moment = datetime.fromisoformat(text)
        seconds = moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise _no_instant(text) from None
    if moment.tzinfo is None:
        raise _no_instant(text)
    return seconds


def _no_instant(text: str) -> BadValueError:
    return BadValueError(f"must be a time with its zone, not {quoted(text)}", f"such as {PINNED}")


def _any_text(text: str) -> str:
    return text


@dataclass(frozen=True, slots=True)
class Anything:
    """A value that is used unchanged."""

    def read(self, value: object, place: Place, notes: Notes) -> Any:  # noqa: ARG002 -- as every kind's
        """Read it."""
        return value


@dataclass(frozen=True, slots=True)
class Objects:
    """A mapping whose values are used unchanged."""

    def read(self, value: object, place: Place, notes: Notes) -> dict[str, Any]:
        """Read a mapping."""
        if not isinstance(value, dict):
            raise notes.wrong_type(value, place, "a mapping of keys")
        return value


@dataclass(frozen=True, slots=True)
class Like:
    """A mapping, with an example for the error message."""

    example: str
    of: Kind

    def read(self, value: object, place: Place, notes: Notes) -> Any:
        """Read a mapping."""
        if not isinstance(value, dict):
            raise notes.wrong_type(value, place, "a mapping of keys", f"such as {self.example}")
        return self.of.read(value, place, notes)


@dataclass(frozen=True, slots=True)
class Short:
    """A mapping, or a text that ``long_form`` expands to a mapping."""

    of: Kind
    long_form: Callable[[str], dict[str, object]]

    def read(self, value: object, place: Place, notes: Notes) -> Any:
        """Read either."""
        if not isinstance(value, str):
            return self.of.read(value, place, notes)
        try:
            return self.of.read(self.long_form(value), place, notes)
        except BadValueError as error:
            raise notes.refuse(place, "bad-value", str(error), error.help) from None


@dataclass(frozen=True, kw_only=True)
class PrincipalEntry:
    """A principal: claims that count as verified, or a complete token."""

    claims: Annotated[Mapping[str, Any] | None, Optional(Objects())] = None
    issuer: Annotated[str | None, Optional(Text())] = None
    token: Annotated[str | None, Optional(Text(_any_text, shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class RequestEntry:
    """A request; each header has one value or several. ``peer`` is the caller's mesh identity."""

    path: Annotated[str, Text(_any_text)]
    method: Annotated[str, Text(_any_text)] = "GET"
    host: Annotated[str, Text(_any_text)] = "localhost"
    headers: Annotated[
        Mapping[str, tuple[str, ...]], Mapped(List(Text(_any_text), or_one=True))
    ] = field(default_factory=dict)
    peer: Annotated[str, Text(_any_text)] = ""


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """What is expected of one request by one principal; None is not compared.

    ``headers`` maps a name to the expected value, or to None if the header must not be set.
    ``body`` is the complete text, or the members that the JSON object must have.
    """

    decision: Annotated[str | None, Optional(Choice(("allow", "deny")))] = None
    reason: Annotated[str | None, Optional(Choice(tuple(Reason)))] = None
    status: Annotated[int | None, Optional(Integer(100, 599))] = None
    route: Annotated[str | None, Optional(Text())] = None
    message: Annotated[str | None, Optional(Text())] = None
    headers: Annotated[Mapping[str, str | None], Mapped(Optional(Text(_any_text)))] = field(
        default_factory=dict
    )
    body: Annotated[Any, Anything()] = None


def _request_line(text: str) -> dict[str, object]:
    method, space, path = text.partition(" ")
    if not space or not path:
        raise BadValueError(f"must be a method and a path, not {quoted(text)}", "such as GET /x")
    return {"method": method, "path": path}


def _word(text: str) -> dict[str, object]:
    return {"decision": text} if text in {"allow", "deny"} else {"reason": text}


REQUEST: Kind = Short(Like("GET /x, or {path: /x}", Section(RequestEntry)), _request_line)
EXPECTATION: Kind = Short(Like("allow, or {status: 403}", Section(Expectation)), _word)
_PRINCIPALS = Like(
    "alice: {claims: {user_id: 7}}",
    Mapped(Like("{claims: {user_id: 7}}", Section(PrincipalEntry))),
)
_REQUESTS = Like("read it: GET /x", Mapped(REQUEST))
_EXPECT = Like(
    "read it: {alice: allow}, with the names of a request and of a principal",
    Mapped(Like("{alice: allow}, with the name of a principal", Mapped(EXPECTATION))),
)


@dataclass(frozen=True, kw_only=True)
class Fixtures:
    """A file of principals for several case files, and for ``explain --as``."""

    principals: Annotated[Mapping[str, PrincipalEntry], _PRINCIPALS]


@dataclass(frozen=True, kw_only=True)
class CaseEntries:
    """A whole case file. ``now`` is the clock, in epoch seconds."""

    now: Annotated[float, Text(instant)] = instant(PINNED)
    config: Annotated[Path | None, Optional(File())] = None
    policy: Annotated[Path | None, Optional(File())] = None
    api_gateway: Annotated[Any, Anything()] = None  # a route table, read like any other
    fixtures: Annotated[Path | None, Optional(File())] = None
    revocations: Annotated[tuple[Any, ...], List(Anything())] = ()  # as the feed has them
    principals: Annotated[Mapping[str, PrincipalEntry], _PRINCIPALS] = field(default_factory=dict)
    requests: Annotated[Mapping[str, RequestEntry], _REQUESTS]
    expect: Annotated[Mapping[str, Mapping[str, Expectation]], _EXPECT] = field(
        default_factory=dict
    )
