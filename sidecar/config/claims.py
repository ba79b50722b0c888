"""Claims in a configuration: a name, a path into objects, or a text to be split."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from sidecar.config.headers import identity_header
from sidecar.core.tokens.claims import EVERY_KEY, MAX_STEPS, Claim, Path, Split
from sidecar.documents.findings import Place
from sidecar.documents.kinds import Choice, List, Mapped, Notes, Optional, Text
from sidecar.documents.schema import read_section

MAX_CLAIMS: Final = 32  # for one part of a principal: each costs time for each new token
MAX_HEADERS: Final = 16  # from claims

SEPARATORS: Final[Mapping[str, str]] = {"space": " ", "comma": ","}

_FORMS = "a name or a path such as [realm_access, roles]"
_FORMS_OF_MANY = f"{_FORMS} or {{claim: scope, split: space}}"


@dataclass(frozen=True, slots=True)
class OneClaim:
    """A claim with one value: a name, or a path without ``*``."""

    def read(self, value: object, place: Place, notes: Notes) -> str | Path:
        """Read a claim."""
        if isinstance(value, str):
            return str(Text().read(value, place, notes))
        if not isinstance(value, list):
            raise notes.wrong_type(value, place, _FORMS)
        path = _path(value, place, notes)
        if isinstance(path, Path) and EVERY_KEY in path.steps:
            hint = "`*` is for claims with several values"
            raise notes.refuse(place, "bad-value", "must not have the step `*`", hint)
        return path


@dataclass(frozen=True, slots=True)
class ManyClaim:
    """A claim with any number of values: a name, a path, or a text to be split."""

    def read(self, value: object, place: Place, notes: Notes) -> Claim:
        """Read a claim."""
        if isinstance(value, dict):
            read = read_section(SplitSection, value, place, notes)
            return Split(read.claim, SEPARATORS[read.split])
        if isinstance(value, list):
            return _path(value, place, notes)
        if not isinstance(value, str):
            raise notes.wrong_type(value, place, _FORMS_OF_MANY)
        return str(Text().read(value, place, notes))


@dataclass(frozen=True, kw_only=True)
class SplitSection:
    """``{claim: scope, split: space}``."""

    claim: Annotated[str | Path, OneClaim()]
    split: Annotated[str, Choice(tuple(SEPARATORS))]


def _path(value: list[Any], place: Place, notes: Notes) -> str | Path:
    """Read a path; one step is a name."""
    steps = List(Text(), min_items=1, max_items=MAX_STEPS).read(value, place, notes)
    if steps[0] == EVERY_KEY:
        hint = "such as [resource_access, '*', roles]"
        raise notes.refuse(place, "bad-value", "must not begin with `*`", hint)
    return Path(steps) if len(steps) > 1 else str(steps[0])


_ONE = List(OneClaim(), min_items=1, max_items=MAX_CLAIMS)
_MANY = List(ManyClaim(), min_items=1, max_items=MAX_CLAIMS)
_HEADERS = Mapped(_MANY, Text(identity_header), max_items=MAX_HEADERS)


@dataclass(frozen=True, kw_only=True)
class ClaimsSection:
    """``zervi.claims``: which claims to read, in order of preference."""

    subject: Annotated[tuple[Claim, ...], _ONE] = ("user_id", "sub")
    username: Annotated[tuple[Claim, ...], _ONE] = ("username",)
    email: Annotated[tuple[Claim, ...], _ONE] = ("email",)
    roles: Annotated[tuple[Claim, ...], _MANY] = ("role", "roles")
    permissions: Annotated[tuple[Claim, ...], _MANY] = ("permissions",)
    headers: Annotated[Mapping[str, tuple[Claim, ...]], _HEADERS] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class IssuerClaims:
    """An issuer's own ``claims``; None: as for every issuer."""

    subject: Annotated[tuple[Claim, ...] | None, Optional(_ONE)] = None
    username: Annotated[tuple[Claim, ...] | None, Optional(_ONE)] = None
    email: Annotated[tuple[Claim, ...] | None, Optional(_ONE)] = None
    roles: Annotated[tuple[Claim, ...] | None, Optional(_MANY)] = None
    permissions: Annotated[tuple[Claim, ...] | None, Optional(_MANY)] = None
    headers: Annotated[Mapping[str, tuple[Claim, ...]] | None, Optional(_HEADERS)] = None
