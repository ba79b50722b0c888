"""What a refused token nearly is, in words for the operator; they quote only the configuration."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from sidecar.core.tokens.issuers import Issuer

MAX_CLAIMED: Final = 8
"""Texts of a claim that are compared: more audiences in a token are not what its sender mistook."""

_SCHEME = re.compile(r"(https?|api)://", re.IGNORECASE)  # api: Entra's application ID URIs
_DEFAULT_PORT = re.compile(r"\A([^/]*):(?:80|443)(?=/|\Z)")
_ENTRA = (
    re.compile(r"https://login\.microsoftonline\.com/([^/]+)/v2\.0"),
    re.compile(r"https://sts\.windows\.net/([^/]+)/"),
)


def near_miss(claimed: Iterable[object], configured: Iterable[str]) -> str:
    """Return how a claimed text differs from a configured one that it nearly is; "" if from none.

    It continues a sentence: ``; it differs from … only by a trailing slash``.
    """
    known = sorted(configured)
    for text in list(claimed)[:MAX_CLAIMED]:
        for name in known:
            if not isinstance(text, str) or _folded(text) != _folded(name):
                continue
            return f"; it differs from {name} only by {' and '.join(_differences(text, name))}"
    return ""


def near_issuer(claimed: object, configured: Iterable[str]) -> str:
    """Return the same for the claim ``iss``, which Entra writes in two ways."""
    names = list(configured)
    for version, pattern in enumerate(_ENTRA):
        found = pattern.fullmatch(claimed) if isinstance(claimed, str) else None
        other = _ENTRA[1 - version]
        for name in names:
            configured_for = other.fullmatch(name)
            if found and configured_for and found[1] == configured_for[1]:
                token, wanted = ("v2.0", "v1.0") if version == 0 else ("v1.0", "v2.0")
                return (
                    f"; it is a {token} token of Entra's, the configured issuer {name} is that of"
                    f" {wanted} tokens (requestedAccessTokenVersion in the app's manifest)"
                )
    return near_miss((claimed,), names)


def missing_key(index: int, kid: str | None, issuers: Sequence[Issuer]) -> str:
    """Return why an issuer's key set lacks a token's key, as far as that is known."""
    keys = issuers[index].keys if index < len(issuers) else None
    if keys is None:
        return ""
    if kid is None:
        left_out = f"; keys that are not usable: {keys.dropped}" if keys.dropped else ""
        return f"; the token has no kid, and no key that fits verifies it{left_out}"
    if kid in keys.unusable:
        return f"; its key was not usable: {keys.unusable[kid]}"
    for other in issuers:
        if other.keys is not None and other.keys is not keys and kid in other.keys.by_kid:
            return f"; the key of its kid is that of the issuer {other.name}"
    return ""


@lru_cache(512)  # configured texts, compared with each token that is refused
def _folded(text: str) -> str:
    bare = _SCHEME.sub("", text.strip().casefold(), count=1).rstrip("/")
    return _DEFAULT_PORT.sub(r"\1", bare)


def _differences(text: str, name: str) -> list[str]:
    """Return what is left of two texts that are alike once folded, in words."""
    found = []
    if text != text.strip() or name != name.strip():
        found.append("spaces")
    scheme, text = _split(text)
    other_scheme, name = _split(name)
    if scheme.lower() != other_scheme.lower():
        found.append(f"{scheme.lower()} for {other_scheme.lower()}")
    if text.endswith("/") != name.endswith("/"):
        found.append("a trailing slash")
    text, name = text.rstrip("/"), name.rstrip("/")
    if text.casefold() != name.casefold():
        found.append("the port")
    text, name = (_DEFAULT_PORT.sub(r"\1", one) for one in (text, name))
    if text != name or (scheme != other_scheme and scheme.lower() == other_scheme.lower()):
        found.append("case")
    return found or ["slashes at its end"]


def _split(text: str) -> tuple[str, str]:
    """Return the scheme of a text, and the rest."""
    found = _SCHEME.match(text := text.strip())
    return (found[1], text[found.end() :]) if found else ("no scheme", text)
