"""What stands in HTTP messages: names of headers, cookies, parameters; methods, origins."""

import re

from sidecar.documents.findings import BadValueError, quoted

# RFC 9110, section 5.6.2: a token, which header names, schemes and methods are.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_ORIGIN_HOST = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\]")
_PORT = re.compile(r":[0-9]{1,5}\Z")
_DEFAULT_PORTS = {"http": "80", "https": "443", "ws": "80", "wss": "443"}
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]+")

# Headers that frame the message or belong to one connection: Envoy refuses or misreads changes to
# them. Authorization has its own switch, policy.forward_authorization.
RESERVED_HEADERS = frozenset(
    {
        "authorization", "connection", "content-encoding", "content-length", "content-type",
        "expect", "grpc-timeout", "host", "http2-settings", "keep-alive", "proxy-connection", "te",
        "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip


def header_name(text: str) -> str:
    """Return a header's name in lower case. Raises BadValueError."""
    if text.startswith(":"):
        raise BadValueError(f"must be a header name, and {quoted(text)} is a pseudo-header")
    if not _TOKEN.fullmatch(text):
        raise BadValueError(f"must be a header name, and {quoted(text)} is not")
    return text.lower()


def token_header(text: str) -> str:
    """Return the name, in lower case, of a header that may carry a token. Raises BadValueError."""
    name = header_name(text)
    if name == "x-request-id":
        raise BadValueError("must not be `x-request-id`", "Envoy writes that one itself")
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
        raise BadValueError(f"must not be {quoted(name)}", "that header frames the message")
    return name


def identity_header(text: str) -> str:
    """Return the name, in lower case, of a header for the upstream. Raises BadValueError."""
    name = changeable_header(text)
    if "_" in name:
        hint = f"many servers read `_` as `-`: write {name.replace('_', '-')}"
        raise BadValueError(f"must not have an underscore, as {quoted(name)} has", hint)
    return name


def origin(text: str) -> str:
    """Return an origin as browsers write it: scheme, host, and a port that is not the default.

    Raises BadValueError.
    """
    shown = quoted(text)
    if text in ("*", "null"):
        what = "any page" if text == "*" else "pages of no origin, such as a file"
        raise BadValueError(f"must be one origin, and {shown} is {what}", "list each origin")
    scheme, separator, rest = text.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme) or not rest:
        raise BadValueError(f"must be scheme://host, not {shown}", "such as https://app.example")
    if text != text.lower():
        raise BadValueError(
            f"is {shown}, did you mean {text.lower()}?", "browsers write lower case"
        )
    host, _, port = rest.rpartition(":") if _PORT.search(rest) else (rest, "", "")
    if not _ORIGIN_HOST.fullmatch(host):
        raise BadValueError(
            f"must be scheme://host, not {shown}", "without a path, a slash at the end or a *"
        )
    if port and port == _DEFAULT_PORTS.get(scheme):
        raise BadValueError(f"has the default port, {shown}", "browsers leave it out: so must this")
    return text


def cors_method(text: str) -> str:
    """Return a method that a page may send. Raises BadValueError."""
    return method(_no_wildcard(text))


def cors_header(text: str) -> str:
    """Return the name, in lower case, of a header that a page may send. Raises BadValueError."""
    return header_name(_no_wildcard(text))


def _no_wildcard(text: str) -> str:
    if "*" in text:
        raise BadValueError(f"must be one name, not {quoted(text)}", "list each")
    return text


def word(text: str) -> str:
    """Return a scheme or a cookie's name as it is. Raises BadValueError."""
    if not _TOKEN.fullmatch(text):
        raise BadValueError(f"must be letters, digits and -, and {quoted(text)} is not")
    return text


def parameter_name(text: str) -> str:
    """Return the name of a query's parameter as it is. Raises BadValueError."""
    if not _PARAMETER.fullmatch(text):
        raise BadValueError(f"must be letters, digits and . _ ~ -, and {quoted(text)} is not")
    return text


def method(text: str) -> str:
    """Return a request's method as it is. Raises BadValueError."""
    if not _TOKEN.fullmatch(text):
        raise BadValueError(f"is no method: {quoted(text)}", "such as GET")
    if text != text.upper():
        message = f"is {quoted(text)}, did you mean {text.upper()}?"
        raise BadValueError(message, "methods are told apart by case")
    return text
