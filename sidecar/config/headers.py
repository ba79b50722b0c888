"""Parts of HTTP messages in a configuration: names of headers, cookies, parameters; origins."""

import re

from sidecar.core.methods import is_method
from sidecar.documents.findings import BadValueError, quoted
from sidecar.documents.values import non_blank

# RFC 9110, section 5.6.2: a token; header names and schemes are tokens.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_ORIGIN_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
_PORT = re.compile(r":[0-9]{1,5}\Z")
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_QUOTABLE = re.compile(r"[ !#-\[\]-~]+")  # RFC 9110, section 5.6.4, without escapes
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]+")

# Headers that frame the message or belong to one connection: Envoy refuses or misreads changes to
# them. Authorization has its own key, policy.forward_authorization.
RESERVED_HEADERS = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-type",
        "expect", "grpc-timeout", "host", "http2-settings", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip

# Clients' cookies and protocols without their token are set again; Envoy sets the others itself.
_SET_OTHERWISE = frozenset(
    {"cookie", "sec-websocket-protocol", "x-request-id", "x-forwarded-for", "x-forwarded-proto"}
)
_OF_ENVOY = "x-envoy-"

_WORDS = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")


def header_name(text: str) -> str:
    """Return a header's name in lower case. Raises BadValueError."""
    if text.startswith(":"):
        raise BadValueError(f"must be a header name, not the pseudo-header {quoted(text)}")
    if not _TOKEN.fullmatch(text):
        raise BadValueError(f"must be a header name, not {quoted(text)}")
    return text.lower()


def token_header(text: str) -> str:
    """Return the name, in lower case, of a header that may carry a token. Raises BadValueError."""
    name = header_name(text)
    if name == "x-request-id":
        raise BadValueError("must not be `x-request-id`", "Envoy sets this header itself")
    return name


def changeable_header(text: str) -> str:
    """Return the name, in lower case, of a header that may be set or removed.

    Raises BadValueError.
    """
    name = header_name(text)
    if name == "authorization":
        hint = "`forward_authorization` decides whether it reaches the upstream"
        raise BadValueError("must not be `authorization`", hint)
    if name in RESERVED_HEADERS:
        raise BadValueError(f"must not be {quoted(name)}", "HTTP itself uses this header")
    if not _WORDS.fullmatch(name):
        hint = "other spellings of it, such as with `_`, are removed too"
        problem = "must be words of letters and digits with single dashes between them"
        raise BadValueError(f"{problem}, not {quoted(name)}", hint)
    return name


def identity_header(text: str) -> str:
    """Return the name, in lower case, of a header for the upstream. Raises BadValueError."""
    name = changeable_header(text)
    if name in _SET_OTHERWISE or name.startswith(_OF_ENVOY):
        hint = "the upstream could not tell the client's part from an identity"
        raise BadValueError(f"must not be {quoted(name)}", hint)
    return name


def origin(text: str) -> str:
    """Return an origin as browsers send it: scheme, host, and a port if it is not the default.

    Raises BadValueError.
    """
    shown = quoted(text)
    if text in ("*", "null"):
        what = "any page" if text == "*" else "pages without an origin, such as local files"
        raise BadValueError(f"must be a single origin; {shown} means {what}", "list each origin")
    scheme, separator, rest = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme) or not rest:
        raise BadValueError(f"must be scheme://host, not {shown}", "such as https://app.example")
    if text != text.lower():
        raise BadValueError(f"is {shown}, did you mean {text.lower()}?", "browsers send lower case")
    host, _, port = rest.rpartition(":") if _PORT.search(rest) else (rest, "", "")
    if not _ORIGIN_HOST.fullmatch(host):
        raise BadValueError(
            f"must be scheme://host, not {shown}", "without a path, a trailing slash or a *"
        )
    if port and port == _DEFAULT_PORTS.get(scheme):
        raise BadValueError(
            f"has the default port, {shown}", "browsers omit it; remove it here too"
        )
    return text


def cors_method(text: str) -> str:
    """Return a method that a page may send. Raises BadValueError."""
    return method(_no_wildcard(text))


def cors_header(text: str) -> str:
    """Return the name, in lower case, of a header that a page may send. Raises BadValueError."""
    return header_name(_no_wildcard(text))


def _no_wildcard(text: str) -> str:
    if "*" in text:
        raise BadValueError(f"must be a single name, not {quoted(text)}", "list each name")
    return text


def quotable(text: str) -> str:
    """Return a text that fits into quotes in a header unchanged. Raises BadValueError."""
    non_blank(text)
    if not _QUOTABLE.fullmatch(text):
        raise BadValueError(f"must be printable ASCII without quotes and \\, not {quoted(text)}")
    return text


def word(text: str) -> str:
    """Return a scheme or a cookie's name unchanged. Raises BadValueError."""
    if not _TOKEN.fullmatch(text):
        raise BadValueError(f"must consist of letters, digits and -, not {quoted(text)}")
    return text


def parameter_name(text: str) -> str:
    """Return the name of a query parameter unchanged. Raises BadValueError."""
    if not _PARAMETER.fullmatch(text):
        raise BadValueError(f"must consist of letters, digits and . _ ~ -, not {quoted(text)}")
    return text


def method(text: str) -> str:
    """Return a method that a route can list unchanged. Raises BadValueError."""
    if not is_method(text):
        raise BadValueError(f"must be an HTTP method, not {quoted(text)}", "such as GET")
    if text != text.upper():
        message = f"is {quoted(text)}, did you mean {text.upper()}?"
        raise BadValueError(message, "methods are case-sensitive")
    return text
