"""What kind of token claims are from: only access tokens, and where it is meant ID tokens, count.

One issuer signs several kinds with one key. RFC 8725, section 3.12: a token of one kind must not
serve as another.
"""

from collections.abc import Mapping
from typing import Any, Final

ACCESS_TOKEN: Final = "an access token"  # noqa: S105 -- a kind of token, not a secret
ID_TOKEN: Final = "an ID token"  # noqa: S105 -- as above

_BOUND: Final = "a token that is bound to a key or a certificate, which is not verified here"

# What issuers write in the claims below, in lower case: Keycloak, Cognito, JobFirst, Flask and
# Django. Any other value, such as `Bearer`, is an access token's.
_MARKERS: Final = ("token_use", "typ", "token_type", "type")
_KINDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("refresh", "refresh_token", "refresh-token"), "a refresh token"),
    "offline": "an offline (refresh) token",
    **dict.fromkeys(("logout", "logout_token", "logout+jwt"), "a logout token"),
    **dict.fromkeys(("initialaccesstoken", "registrationaccesstoken"), "a registration token"),
    **dict.fromkeys(("dpop", "pop"), _BOUND),
    **dict.fromkeys(("id", "id_token", "id-token", "serialized-id"), ID_TOKEN),
}

# Claims that only ID tokens have: OpenID Connect Core, sections 2 and 3.3.2.11, FAPI; Apple;
# Firebase, whose clients have no other tokens.
_OF_ID_TOKENS: Final = frozenset({"at_hash", "c_hash", "s_hash", "nonce_supported"})

_OF_OTHERS: Final = _OF_ID_TOKENS | {*_MARKERS, "token", "events", "cnf", "firebase"}


def kind_of(claims: Mapping[str, Any]) -> str:
    """Return what kind of token claims are from; ``ID_TOKEN`` only if nothing else but that.

    JobFirst's refresh tokens differ from access tokens only by the claim ``token``. ``events`` is
    a logout token's (OpenID Connect Back-Channel Logout, section 2.4) or another security event
    (RFC 8417), ``cnf`` a bound token's (RFC 7800, 8705 and 9449). In a client assertion (RFC 7523)
    the issuer is the subject.
    """
    if claims.get("iss") is not None and claims.get("iss") == claims.get("sub"):
        return "a client assertion"
    if _OF_OTHERS.isdisjoint(claims):
        return ACCESS_TOKEN
    token = claims.get("token")
    if isinstance(token, str) and token.startswith("refresh-"):
        return "a refresh token"
    if isinstance(claims.get("events"), dict):
        return "a logout token or another security event"
    if claims.get("cnf") is not None:
        return _BOUND
    # Raises unless it is a tuple: nothing else means "says nothing".
    markers = () + _markers(claims)  # noqa: RUF005 -- see above
    kinds = [_KINDS.get(value.lower()) for value in markers]
    for kind in kinds:
        if kind is not None and kind is not ID_TOKEN:
            return kind
    has_claim = any(claims.get(name) is not None for name in _OF_ID_TOKENS)
    if ID_TOKEN in kinds or has_claim or isinstance(claims.get("firebase"), dict):
        return ID_TOKEN
    return ACCESS_TOKEN


def _markers(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a token says about its kind; a list counts with each text in it."""
    values = [claims.get(name) for name in _MARKERS]
    items = [item for each in values for item in (each if isinstance(each, list) else (each,))]
    return tuple([item for item in items if isinstance(item, str)])
