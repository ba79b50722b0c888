"""Patterns of names: what an issuer's tokens can grant at most."""

from functools import lru_cache
from typing import Final, NamedTuple

_MAX_LISTS: Final = 256  # lists that are kept in the form for looking up; issuers are few


class Patterns(NamedTuple):
    """Names (``orders:read``) and prefixes of names (``orders:*``), as the operator wrote them.

    ``names`` and ``prefixes`` hold ``texts`` for looking up.
    """

    texts: tuple[str, ...]
    names: frozenset[str]
    prefixes: tuple[str, ...]

    def hold(self, name: str) -> bool:
        """Say whether a name is listed, or begins with a listed prefix."""
        return name in self.names or name.startswith(self.prefixes)


@lru_cache(_MAX_LISTS)
def patterns_of(texts: tuple[str, ...]) -> Patterns:
    """Return patterns for looking up: the same object for the same texts."""
    return Patterns(
        texts,
        frozenset(text for text in texts if not text.endswith("*")),
        tuple(text[:-1] for text in texts if text.endswith("*")),
    )
