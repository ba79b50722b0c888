"""Estimates of the memory of cache entries, in bytes, made once per entry when it is added.

Sizes are CPython's own (``sys.getsizeof``); a test compares the estimates with the real use.
"""

from itertools import chain
from sys import getsizeof
from typing import Final

from sidecar.core.tokens.verify import Verified

_MIB: Final = 1024 * 1024

# The caches beside that of tokens, and their shares: ten thousand answers of usual size, five
# hundred requests, some thousand denials, lists of header names (which rarely differ).
MAX_ANSWER_BYTES: Final = 16 * _MIB
ANSWERS: Final = 8 * _MIB
REPEATS: Final = 6 * _MIB
DENIALS: Final = 1 * _MIB
REMOVALS: Final = 1 * _MIB

PLACE: Final = 250  # an entry's places in the tables that lead to it, its key, its numbers
_TOKEN: Final = 700  # a verified token, its principal and its digest, without any text
_HEADER: Final = 108  # of a header for the upstream, beside the characters of its name and value
_PAIR: Final = 120  # of a claim or a text in it, beside its characters

_MARKS: Final = 600  # seven marks of a token, its iat, and the tuples that hold them

_PATTERN: Final = 300  # a path that a service may call, beside its segments

_LONG: Final = 256  # characters; header values beyond it are lists that many callers share

Part = tuple[str, ...] | str


def of_token(verified: Verified) -> tuple[int, list[Part]]:
    """Return the size of a verified token without its shared parts, and those parts.

    Shared parts are lists of roles and permissions, and headers of them: the same objects in many
    tokens.
    """
    principal, identity = verified.principal, verified.identity
    parts: list[Part] = [principal.roles] if principal.roles else []
    if principal.permissions:
        parts.append(principal.permissions)
    # Names are shared, but they count: this is one call for all of them, where a loop is many.
    size = len("".join(chain.from_iterable(identity)))
    if size > _LONG:
        long = [value for _, value in identity if len(value) > _LONG]
        size -= sum(map(len, long))
        parts += long
    for _, kept in principal.claims:
        texts = kept if isinstance(kept, tuple) else (kept,)
        size += sum([_PAIR + len(text) for text in texts if isinstance(text, str)]) + _PAIR
    for pattern in principal.apis or ():
        size += _PATTERN + _PAIR * len(pattern.segments)
    if verified.marks is not None:
        size += _MARKS
    return size + _TOKEN + _HEADER * len(identity), parts


def of_part(part: Part, verified: Verified) -> int:
    """Return the size of a shared part."""
    if isinstance(part, str):
        return PLACE + getsizeof(part)
    permissions, granted = verified.principal.permissions, verified.principal.granted
    looked_up = getsizeof(granted) if part is permissions else 0
    return PLACE + getsizeof(part) + sum(map(getsizeof, part)) + looked_up
