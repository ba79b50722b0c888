"""Keys of a route whose values have several forms: auth_required, owner, claims, callers."""

import re
from dataclasses import dataclass
from typing import Annotated, Final, Literal, NamedTuple

from sidecar.core.routes.conditions import MAX_KEPT_TEXT, Steps
from sidecar.core.tokens.claims import MAX_STEPS
from sidecar.documents.findings import BadValueError, Place, quoted
from sidecar.documents.kinds import Flag, Notes, Text
from sidecar.documents.schema import read_section

MAX_CONDITIONS: Final = 16  # claims of one route: each costs time for each request
MAX_VALUES: Final = 64  # of one claim
MAX_CALLERS: Final = 256  # of one route

_NAME = re.compile(r"\{([^{}]*)\}")
_FORMS = "text, true, false, an integer, {name} of the path, or a list of these"


def caller(text: str) -> str:
    """Check an identity in a client certificate, such as a SPIFFE ID."""
    if "*" in text:
        raise BadValueError(
            f"must be a complete identity, not {quoted(text)}",
            "list each: spiffe://domain/ns/a/sa/b",
        )
    return text


@dataclass(frozen=True, slots=True)
class AuthRequired:
    """``true``, ``false``, or ``optional``: a request without a credential passes."""

    def read(self, value: object, place: Place, notes: Notes) -> bool | Literal["optional"]:
        """Read the key."""
        if value == "optional":
            return "optional"
        return Flag("true, false or optional").read(value, place, notes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSection:
    """``owner`` as ``{segment: user_id, claim: sub}``."""

    segment: Annotated[str, Text()]
    claim: Annotated[str, Text()]


class Owner(NamedTuple):
    """The name of the owner's segment, empty for none; the claim it equals, empty: the subject."""

    segment: str = ""
    claim: Steps = ()


NO_OWNER: Final = Owner()


@dataclass(frozen=True, slots=True)
class OwnerKind:
    """The ``{name}`` that must equal the caller's id, or the name and another claim."""

    def read(self, value: object, place: Place, notes: Notes) -> Owner:
        """Read the key."""
        if isinstance(value, dict):
            section = read_section(OwnerSection, value, place, notes)
            return Owner(section.segment, (section.claim,))
        return Owner(str(Text().read(value, place, notes)))


class Wanted(NamedTuple):
    """The values that a claim may have, as they are written: ``names`` are names in the path."""

    claim: Steps
    texts: tuple[str, ...]
    flags: tuple[bool, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Conditions:
    """``claims``: what each must be; an object leads to a claim inside a claim."""

    def read(self, value: object, place: Place, notes: Notes) -> tuple[Wanted, ...]:
        """Read the key."""
        found = tuple(self._read(value, place, notes, ()))
        if len(found) > MAX_CONDITIONS:
            raise notes.refuse(place, "bad-value", f"has more than {MAX_CONDITIONS} claims")
        return found

    def _read(self, value: object, place: Place, notes: Notes, steps: Steps) -> list[Wanted]:
        if not isinstance(value, dict):
            raise notes.wrong_type(value, place, "a mapping of claims")
        if not value:
            raise notes.refuse(place, "bad-value", "is empty", "name a claim, or remove the key")
        if len(steps) == MAX_STEPS:
            raise notes.refuse(place, "bad-value", f"is deeper than {MAX_STEPS} claims")
        found = []
        for name, wanted in value.items():
            below = (*place, name)
            path = (*steps, str(Text().read(name, below, notes)))
            if isinstance(wanted, dict):
                found += self._read(wanted, below, notes, path)
            else:
                found.append(_wanted(wanted, below, notes, path))
        return found


def _wanted(value: object, place: Place, notes: Notes, claim: Steps) -> Wanted:
    values = value if isinstance(value, list) else [value]
    if not values or len(values) > MAX_VALUES:
        raise notes.refuse(place, "bad-value", f"must have 1 to {MAX_VALUES} values")
    texts: list[str] = []
    flags: list[bool] = []
    names: list[str] = []
    for each in values:
        if isinstance(each, bool):
            flags.append(each)
        elif not isinstance(each, str | int) or each == "":
            raise notes.wrong_type(each, place, _FORMS)
        elif named := _NAME.fullmatch(str(each)):
            names.append(named[1])
        elif len(str(each)) > MAX_KEPT_TEXT:
            raise notes.refuse(place, "bad-value", f"is longer than {MAX_KEPT_TEXT} characters")
        else:
            texts.append(str(each))
    return Wanted(claim, tuple(texts), tuple(flags), tuple(names))
