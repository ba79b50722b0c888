"""Where a token's claims hold a part of the principal, and reading it from there.

A claim is a name (text, taken literally), a ``Path`` into objects, or a ``Split`` text. Each is
made once, when the configuration is loaded.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from sidecar.core.reasons import Reason
from sidecar.core.tokens.errors import TokenError

EVERY_KEY: Final = "*"
MAX_STEPS: Final = 8  # of a path; the tokens of the field use four

# Values that a path reaches in one token. A token of 32 KiB has room for ten thousand keys; those
# of the field hold some dozens, and the identity headers have room for no more than this.
MAX_REACHED: Final = 1000

_TEXTS: Final = frozenset({str, int})  # a boolean, whose type is another, is not text
_ONLY_TEXTS: Final = frozenset({str})

_NO_KEY: Final = (None, False, 0, "")  # how an object says that it does not have one of its keys


class Path(NamedTuple):
    """The steps from the claims into objects; ``*`` is every key of an object.

    A step into a list is a step into each of its objects. ``*`` as the last step means the keys
    themselves, without those whose value is false, null, 0 or an empty text.
    """

    steps: tuple[str, ...]

    def __str__(self) -> str:
        """Return the path as it is written in YAML."""
        return f"[{', '.join(self.steps)}]"


class Split(NamedTuple):
    """A text that holds several values, such as ``scope``; in a list, each text is split.

    ``*`` among them is left out: a client may ask for such a scope, and it must not mean all.
    """

    claim: "str | Path"
    separator: str

    def __str__(self) -> str:
        """Return the claim, and what separates its values."""
        return f"{self.claim}, split at each {'space' if self.separator == ' ' else 'comma'}"


Claim: TypeAlias = str | Path | Split


class Reached(NamedTuple):
    """What a claim holds; ``several`` says that the path led to it through a list or ``*``."""

    value: object
    several: bool = False


def first(claims: Mapping[str, Any], among: Iterable[Claim]) -> object:
    """Return the first claim that is not empty, None if all are."""
    for claim in among:
        value = claims.get(claim) if isinstance(claim, str) else single(claims, claim)
        if value is not None and value != "":
            return value
    return None


def single(claims: Mapping[str, Any], claim: Claim) -> object:
    """Return the one value of a claim, None if there is none.

    Where the path leads through a list, that list is returned: which of its objects is meant is
    unknown, and a list does not name anybody.
    """
    if isinstance(claim, str):
        return claims.get(claim)
    if isinstance(claim, Split):
        return single(claims, claim.claim)
    value: object = claims
    for step in claim.steps:
        if not isinstance(value, dict) or step == EVERY_KEY:
            return value if isinstance(value, list) else None
        value = value.get(step)
    return value


def texts(claims: Mapping[str, Any], claim: Claim, *, text_counts: bool) -> Iterable[str]:
    """Return the texts and integers that a claim lists, as text.

    ``text_counts`` says whether a text that is not in a list is a list of one. Raises
    TokenError(token_claims) for a path that reaches more than MAX_REACHED values.
    """
    if isinstance(claim, str):
        value = claims.get(claim)
        return () if value is None else listed(value, text_counts=text_counts)
    if isinstance(claim, Split):
        whole = texts(claims, claim.claim, text_counts=True)
        parts = (part.strip() for text in whole for part in text.split(claim.separator))
        return (part for part in parts if part != EVERY_KEY)
    return (
        text
        for value, several in reached(claims, claim)
        for text in listed(value, text_counts=text_counts or several)
    )


def is_absent(claims: Mapping[str, Any], claim: Claim) -> bool:
    """Say whether a claim is absent or null. Raises TokenError, see ``texts``."""
    if isinstance(claim, Split):
        claim = claim.claim
    if isinstance(claim, str):
        return claims.get(claim) is None
    return all(value is None for value, _ in reached(claims, claim))


def listed(value: object, *, text_counts: bool) -> Iterable[str]:
    """Return the texts and integers in a value, as text; what else it holds is ignored."""
    if isinstance(value, list):
        if _ONLY_TEXTS.issuperset(map(type, value)):
            return value  # nearly always
        return (item if type(item) is str else str(item) for item in value if type(item) in _TEXTS)
    return (str(value),) if text_counts and type(value) in _TEXTS else ()


def as_text(value: object) -> str | None:
    """Return text, or an integer as text; None for anything else."""
    if type(value) is str:
        return value
    return str(value) if type(value) in _TEXTS else None


def reached(claims: Mapping[str, Any], claim: str | Path) -> list[Reached]:
    """Return each value that a claim leads to. Raises TokenError, see ``texts``."""
    steps = (claim,) if isinstance(claim, str) else claim.steps
    found = [Reached(claims)]
    for number, step in enumerate(steps, 1):
        last = number == len(steps)
        below: list[Reached] = []
        for here in found:
            for each in _stepped(here, step, last=last and not isinstance(claim, str)):
                below.append(each)
                if len(below) > MAX_REACHED:
                    detail = f"a path in claims reaches more than {MAX_REACHED} values"
                    raise TokenError(Reason.TOKEN_CLAIMS, detail)
        found = below
    return found


def _stepped(here: Reached, step: str, *, last: bool) -> Iterator[Reached]:
    in_list = isinstance(here.value, list)
    for inside in here.value if isinstance(here.value, list) else (here.value,):
        if not isinstance(inside, Mapping):
            continue
        if step != EVERY_KEY:
            if step in inside:
                yield Reached(inside[step], here.several or in_list)
        elif last:
            yield from (Reached(key, several=True) for key in inside if _is_key(inside[key]))
        else:
            yield from (Reached(value, several=True) for value in inside.values())


def _is_key(value: object) -> bool:
    return isinstance(value, list | dict) or value not in _NO_KEY
