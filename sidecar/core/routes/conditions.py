"""What a route requires of a token's claims: that they equal texts, flags, segments of a path."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from sidecar.core.tokens.claims import as_text, listed

Steps = tuple[str, ...]
"""A claim by its name, or the names that lead to it through objects."""

Kept = bool | str | tuple[str, ...]
"""A claim's value as it is compared: a flag, text (an integer is text), or several texts."""

MAX_KEPT_ITEMS: Final = 64
MAX_KEPT_TEXT: Final = 512
"""Items, and characters of each, of a claim that is kept in memory with its principal. No segment
that names a tenant is longer; a longer claim equals nothing."""


class Condition(NamedTuple):
    """The values of which a claim must have one; of a claim with several values, one is enough.

    ``segments`` are the indexes of the path's segments whose ``{name}`` it may equal.
    """

    claim: Steps
    texts: frozenset[str] = frozenset()
    flags: frozenset[bool] = frozenset()
    segments: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The claim as messages name it."""
        return ".".join(self.claim)

    def holds(self, value: Kept | None, captured: Iterable[str | None]) -> bool:
        """Say whether a claim has one of the values; ``captured`` are those of ``segments``."""
        if value is None:
            return False
        if isinstance(value, bool):
            return value in self.flags
        values = {value} if isinstance(value, str) else {*value}
        return not (values.isdisjoint(self.texts) and values.isdisjoint(captured))


def keep(claims: Mapping[str, Any], wanted: Iterable[Steps]) -> tuple[tuple[Steps, Kept], ...]:
    """Return the claims that a policy names, for as long as the token is remembered."""
    found = ((steps, _kept(_at(claims, steps))) for steps in wanted)
    return tuple((steps, value) for steps, value in found if value is not None)


def _at(claims: Mapping[str, Any], steps: Steps) -> object:
    value: object = claims
    for step in steps:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _kept(value: object) -> Kept | None:
    if isinstance(value, bool):
        return value
    text = as_text(value)
    if text is not None:
        return text if 0 < len(text) <= MAX_KEPT_TEXT else None
    if not isinstance(value, list) or len(value) > MAX_KEPT_ITEMS:
        return None
    items = listed(value, text_counts=False)
    return tuple(item for item in items if 0 < len(item) <= MAX_KEPT_TEXT)
