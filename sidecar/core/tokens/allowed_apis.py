"""The paths that a service's token may be used for: its claim ``allowed_apis``."""

from collections.abc import Sequence
from typing import Final

from sidecar.core.reasons import Reason
from sidecar.core.routes.patterns import Pattern, parse_pattern
from sidecar.core.routes.segments import Mixed
from sidecar.core.tokens.errors import TokenError

EVERY_API: Final = "*"

MAX_ALLOWED_APIS: Final = 256
"""Items of a token's list: each is compared with the path of each request of that service."""


def allowed_apis(claim: object) -> tuple[Pattern, ...] | None:
    """Return the patterns of the claim, None where it does not limit the service.

    Patterns are written as a route's path. An item that is none, such as a service's name, matches
    nothing. Raises TokenError(token_claims) for what is not a list of text, or too long.
    """
    if claim is None:
        return None
    if not isinstance(claim, list) or not all(isinstance(item, str) for item in claim):
        raise TokenError(Reason.TOKEN_CLAIMS, "allowed_apis is not a list of text")
    if len(claim) > MAX_ALLOWED_APIS:
        detail = f"allowed_apis has more than {MAX_ALLOWED_APIS} items"
        raise TokenError(Reason.TOKEN_CLAIMS, detail)
    if EVERY_API in claim:
        return None
    patterns = []
    for item in claim:
        try:
            patterns.append(parse_pattern(item))
        except ValueError:
            continue
    return tuple(patterns)


def cover(patterns: Sequence[Pattern], segments: Sequence[str]) -> bool:
    """Say whether one of the patterns matches a path, as the table's own would."""
    return any(_matches(pattern, segments) is True for pattern in patterns)


def _matches(pattern: Pattern, segments: Sequence[str]) -> bool:
    more = len(segments) - len(pattern.segments)
    fits = more >= bool(pattern.segments) if pattern.tail else more == 0  # `/*` takes `/` too
    return fits and all(
        wanted is None or (wanted.takes(given) if isinstance(wanted, Mixed) else wanted == given)
        for wanted, given in zip(pattern.segments, segments, strict=False)
    )
