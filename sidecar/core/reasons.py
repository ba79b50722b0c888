"""The closed list of reasons: the same word in logs, metrics, bodies and tests."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a request was allowed or denied."""

    OK = "ok"
    PUBLIC = "public"
    PREFLIGHT = "preflight"

    MALFORMED_REQUEST = "malformed_request"
    NO_ROUTE = "no_route"
    METHOD_NOT_ALLOWED = "method_not_allowed"

    TOKEN_MISSING = "token_missing"  # noqa: S105 -- a reason, not a password (and below)
    TOKEN_MALFORMED = "token_malformed"  # noqa: S105
    MULTIPLE_CREDENTIALS = "multiple_credentials"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105
    TOKEN_NOT_YET_VALID = "token_not_yet_valid"  # noqa: S105
    TOKEN_SIGNATURE = "token_signature"  # noqa: S105
    TOKEN_KEY_UNKNOWN = "token_key_unknown"  # noqa: S105
    TOKEN_ALGORITHM = "token_algorithm"  # noqa: S105
    TOKEN_ISSUER = "token_issuer"  # noqa: S105
    TOKEN_AUDIENCE = "token_audience"  # noqa: S105
    TOKEN_CLAIMS = "token_claims"  # noqa: S105
    TOKEN_KIND = "token_kind"  # noqa: S105

    PERMISSION_DENIED = "permission_denied"
    ROLE_DENIED = "role_denied"
    NOT_OWNER = "not_owner"
    WRONG_PRINCIPAL_KIND = "wrong_principal_kind"
    WRONG_ISSUER = "wrong_issuer"

    NOT_READY = "not_ready"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"
