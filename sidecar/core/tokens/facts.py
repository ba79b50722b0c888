"""What the operator's log says of a token that was not accepted."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain
from typing import Any, Final

from sidecar.core.tokens import base64url, strict_json
from sidecar.core.tokens.errors import TokenFacts
from sidecar.core.tokens.issuers import Issuer

MAX_NAMES: Final = 4  # of a list in a detail, which is one line of a log


def facts_of(
    alg: object, kid: object, claims: dict[str, Any], issuers: Iterable[Issuer]
) -> TokenFacts:
    """Return the facts of a token that was read."""
    iss = claims.get("iss")
    issuer = next((each.name for each in issuers if _is_named(each, iss)), None)
    return TokenFacts(kid, iss, claims.get("aud"), alg, issuer)


def glance(token: bytes, issuers: Iterable[Issuer]) -> TokenFacts:
    """Return the facts of a token that is refused as a whole, as far as its parts can be read.

    The caller bounds the length.
    """
    parts = token.split(b".")
    header, claims = _members(parts[0]) or {}, _members(parts[1]) if len(parts) > 1 else None
    alg, kid = header.get("alg"), header.get("kid")
    return TokenFacts(kid, alg=alg) if claims is None else facts_of(alg, kid, claims, issuers)


def _is_named(issuer: Issuer, iss: object) -> bool:
    """Return whether a token with this ``iss`` (None: without any) is judged by this issuer."""
    return issuer.allow_missing_issuer if iss is None else issuer.name == iss


def listed(*names: Iterable[str]) -> str:
    """Return the first ``MAX_NAMES`` names of the configuration, and how many others there are."""
    every = sorted(set(chain(*names)))
    more = len(every) - MAX_NAMES
    return ", ".join(every[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")


def _members(part: bytes) -> dict[str, Any] | None:
    with suppress(ValueError):  # StrictJsonError among them
        value = strict_json.loads(base64url.decode(part))
        return value if isinstance(value, dict) else None
    return None
