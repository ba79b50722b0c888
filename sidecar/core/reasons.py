"""The closed list of reasons: the same word in logs, metrics, bodies and tests."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a request was allowed or denied."""

    OK = "ok"
    PUBLIC = "public"
    PREFLIGHT = "preflight"

    PREFLIGHT_ANSWERED = "preflight_answered"

    MALFORMED_REQUEST = "malformed_request"
    NO_ROUTE = "no_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"

    TOKEN_MISSING = "token_missing"
    TOKEN_MALFORMED = "token_malformed"
    MULTIPLE_CREDENTIALS = "multiple_credentials"
    TOKEN_EXPIRED = "token_expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"
    TOKEN_SIGNATURE = "token_signature"
    TOKEN_KEY_UNKNOWN = "token_key_unknown"
    TOKEN_ALGORITHM = "token_algorithm"
    TOKEN_ISSUER = "token_issuer"
    TOKEN_AUDIENCE = "token_audience"
    TOKEN_CLAIMS = "token_claims"
    TOKEN_KIND = "token_kind"

    PERMISSION_DENIED = "permission_denied"
    ROLE_DENIED = "role_denied"
    NOT_OWNER = "not_owner"
    WRONG_PRINCIPAL_KIND = "wrong_principal_kind"
    WRONG_ISSUER = "wrong_issuer"

    NOT_READY = "not_ready"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"

    @property
    def allows(self) -> bool:
        """Whether the request passes."""
        return self in _ALLOWING

    @property
    def is_preflight(self) -> bool:
        """Whether the decision is on a CORS preflight."""
        return self in _PREFLIGHTS

    @property
    def is_failure(self) -> bool:
        """Whether the sidecar failed to decide, so that the reason depends on no policy."""
        return self in _FAILURES

    @property
    def refuses_token(self) -> bool:
        """Whether a token was missing or not accepted."""
        return self.startswith("token_")


_ALLOWING = frozenset({Reason.OK, Reason.PUBLIC, Reason.PREFLIGHT})
_PREFLIGHTS = frozenset({Reason.PREFLIGHT, Reason.PREFLIGHT_ANSWERED})
_FAILURES = frozenset({Reason.OVERLOADED, Reason.INTERNAL})
