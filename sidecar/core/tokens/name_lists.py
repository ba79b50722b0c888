"""Lists of roles and of permissions: joined, bounded, and held once for all tokens."""

from collections.abc import Iterable, Sequence
from typing import Final

from sidecar.core.reasons import Reason
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.memo import Memo

# Names and values together: servers often take no longer headers.
MAX_IDENTITY_BYTES: Final = 8 * 1024

# Lists of roles or permissions, and headers of them, are held once each, however many cached tokens
# have them: most users share a few, and some have a hundred permissions (some 15 KiB).
MAX_SHARED_BYTES: Final = 2 * 1024 * 1024
_lists: Final[Memo[tuple[tuple[str, ...], frozenset[str]]]] = Memo(MAX_SHARED_BYTES)


def union(parts: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """Return what is in any of ``parts``, each once, in order.

    Raises TokenError where it is too long for a header, without reading many parts more.
    """
    union: dict[str, None] = {}
    for part in parts:
        union |= dict.fromkeys(part)
        if len(union) > MAX_IDENTITY_BYTES:
            raise too_large()
    union.pop("", None)
    if len(",".join(union)) >= MAX_IDENTITY_BYTES:
        raise too_large()
    return tuple(union)


def shared(parts: Sequence[Iterable[str]]) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the union of ``parts``, and its set: the same for all principals with equal lists.

    Raises TokenError, see ``union``.
    """
    filled = [part for part in parts if part != ()]
    items = tuple(filled[0]) if len(filled) == 1 else union(filled)
    found = _lists.get(items)  # nearly always: only unions are kept, so it is one
    if found is None:
        items = union([items])
        found = _lists.get(items)
    if found is None:
        found = items, frozenset(items)
        _lists.keep(items, found)
    return found


def too_large() -> TokenError:
    """Return the error of identity headers that are too large."""
    return TokenError(Reason.TOKEN_CLAIMS, f"identity headers over {MAX_IDENTITY_BYTES} bytes")
