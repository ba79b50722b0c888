"""The list of reasons: logs, metrics, response bodies and tests use the same words."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a request was allowed or denied.

    ``is_preflight`` is for decisions on CORS preflights, ``refuses_token`` for a token that is
    missing or not accepted. ``is_failure`` says that the sidecar could not decide: the reason
    depends on no policy.
    """

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
    TOKEN_REVOKED = "token_revoked"

    PERMISSION_DENIED = "permission_denied"
    ROLE_DENIED = "role_denied"
    NOT_OWNER = "not_owner"
    WRONG_PRINCIPAL_KIND = "wrong_principal_kind"
    WRONG_ISSUER = "wrong_issuer"
    CLAIM_DENIED = "claim_denied"
    WRONG_CALLER = "wrong_caller"

    NO_UPSTREAM = "no_upstream"

    NOT_READY = "not_ready"
    OVERLOADED = "overloaded"
    INTERNAL = "internal"

    allows: bool
    is_preflight: bool
    is_failure: bool
    refuses_token: bool

    def __init__(self, word: str) -> None:
        self.allows = word in {"ok", "public", "preflight"}
        self.is_preflight = word.startswith("preflight")
        self.is_failure = word in {"overloaded", "internal"}
        self.refuses_token = word.startswith("token_")
