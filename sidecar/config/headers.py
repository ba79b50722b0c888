"""Names that stand in HTTP messages: headers, schemes, cookies, methods."""

import re
from typing import Annotated

from pydantic import AfterValidator

from sidecar.config.findings import BadValueError, quoted

# RFC 9110, section 5.6.2: a token, which header names, schemes and methods are.
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_QUERY_NAME = re.compile(r"[A-Za-z0-9._~-]+")

# Headers that frame the message or belong to one connection: Envoy refuses or misreads changes to them.
# Authorization has its own switch, policy.forward_authorization.
RESERVED_HEADERS = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-type", "expect", "grpc-timeout",
        "host", "http2-settings", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def _header(value: str) -> str:
    if value.startswith(":"):
        raise BadValueError(f"must be a header name, and {quoted(value)} is a pseudo-header")
    if not TOKEN.fullmatch(value):
        raise BadValueError(f"must be a header name, and {quoted(value)} is not")
    return value.lower()


def _changeable(value: str) -> str:
    if value == "authorization":
        raise BadValueError(
            "must not be `authorization`",
            "`forward_authorization` decides whether it reaches the upstream",
        )
    if value in RESERVED_HEADERS:
        raise BadValueError(f"must not be {quoted(value)}", "that header frames the message")
    return value


def _identity(value: str) -> str:
    if "_" in value:
        hint = f"many servers read `_` as `-`: write {value.replace('_', '-')}"
        raise BadValueError(f"must not have an underscore, as {quoted(value)} has", hint)
    return value


def _token(value: str) -> str:
    if not TOKEN.fullmatch(value):
        raise BadValueError(f"must be letters, digits and -, and {quoted(value)} is not")
    return value


def _query_name(value: str) -> str:
    if not _QUERY_NAME.fullmatch(value):
        raise BadValueError(f"must be letters, digits and . _ ~ -, and {quoted(value)} is not")
    return value


HeaderName = Annotated[str, AfterValidator(_header)]
RemovedHeader = Annotated[HeaderName, AfterValidator(_changeable)]
IdentityHeader = Annotated[HeaderName, AfterValidator(_changeable), AfterValidator(_identity)]
TokenWord = Annotated[str, AfterValidator(_token)]
QueryName = Annotated[str, AfterValidator(_query_name)]
