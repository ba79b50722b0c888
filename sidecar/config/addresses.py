"""Addresses, hosts and URLs in a configuration."""

import re
from urllib.parse import SplitResult, urlsplit

from sidecar.documents.findings import BadValueError, one_of, quoted
from sidecar.net.addresses import (
    UnixAddress,
    check_host,
    is_host_name,
    is_loopback,
    parse_address,
    parse_tcp,
)

_ADMIN = "unix:/run/zervi-admin/admin.sock"
MAX_SOCKET_PATH = (
    90  # bytes: the kernel's limit is 107, and a temporary name in the same directory must fit too
)

_NAME_URI = re.compile(r"[a-z][a-z0-9+.-]*://[A-Za-z0-9._:-]+(/[A-Za-z0-9._~!$&'()+,;=:@%-]+)*")
_QUOTABLE_URL = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+")


def is_open(address: object) -> bool:
    """Return whether this is a valid ``host:port`` that other machines may reach."""
    if not isinstance(address, str) or address.startswith("unix:"):
        return False
    try:
        return not is_loopback(parse_tcp(address).host)
    except BadValueError:
        return False


def tcp_address(text: str) -> str:
    """Return ``host:port`` unchanged. Raises BadValueError."""
    if text.startswith("unix:"):
        raise BadValueError("must be host:port: a unix socket is not supported here")
    parse_tcp(text)
    return text


def loopback_address(text: str) -> str:
    """Return ``host:port`` of this machine only, unchanged. Raises BadValueError."""
    if not is_loopback(parse_tcp(tcp_address(text)).host):
        raise BadValueError(
            f"must be a loopback address, not {quoted(text)}",
            "such as 127.0.0.1:9004; reach it with kubectl port-forward",
        )
    return text


def address(text: str, example: str = "unix:/run/zervi/authz.sock") -> str:
    """Return ``host:port`` or ``unix:/path`` unchanged. Raises BadValueError."""
    parsed = parse_address(text, example)
    size = len(parsed.path.encode()) if isinstance(parsed, UnixAddress) else 0
    if size > MAX_SOCKET_PATH:
        raise BadValueError(
            f"has a path of {size} bytes; the maximum for a unix socket is {MAX_SOCKET_PATH}"
        )
    return text


def unix_address(text: str) -> str:
    """Return ``unix:/path`` unchanged. Raises BadValueError."""
    if not text.startswith("unix:"):
        raise BadValueError(
            f"must be a unix socket, such as {_ADMIN}",
            "web pages and the upstream can reach a TCP address, even on loopback",
        )
    return address(text, _ADMIN)


def service_address(text: str) -> str:
    """Return a host or an IP address, without a port, unchanged. Raises BadValueError."""
    check_host(f"[{text}]" if ":" in text and not text.startswith("[") else text)
    return text


def client_name(text: str) -> str:
    """Return a pattern for names in certificates; DNS in lower case. Raises BadValueError.

    It is a DNS name whose first label may be ``*``, or a URI that may end in ``/*``.
    """
    hint = "such as envoy.example, *.mesh.example, spiffe://td/ns/x or spiffe://td/ns/x/*"
    if "://" in text:
        if _NAME_URI.fullmatch(text.removesuffix("/*")) is None:
            raise BadValueError(f"must be a URI without a query, not {quoted(text)}", hint)
        return text
    name = text.removeprefix("*.")
    if not is_host_name(name) or re.fullmatch(r"[0-9.]+", name):
        raise BadValueError(f"must be a DNS name or a URI, not {quoted(text)}", hint)
    return text.lower()


def http_url(text: str) -> str:
    """Return an http or https URL unchanged. Raises BadValueError."""
    _split_url(text, "http", "https")
    return text


def quotable_url(text: str) -> str:
    """Return an http or https URL that fits into quotes in a header. Raises BadValueError."""
    http_url(text)
    if not _QUOTABLE_URL.fullmatch(text):
        message = "must consist of the characters of a URL (RFC 3986), without a fragment"
        raise BadValueError(message, "percent-encode others")
    return text


def base_url(text: str) -> str:
    """Return a URL that paths can be appended to, unchanged. Raises BadValueError."""
    if _split_url(text, "http", "https").query or "?" in text:
        raise BadValueError("must not have a query", "remove the part from ? on")
    return text


def service_url(text: str) -> str:
    """Return ``http://host:port`` or ``https://host:port`` unchanged. Raises BadValueError."""
    url = _split_url(text, "http", "https")
    if url.path or "?" in text:
        raise BadValueError("must have the form http://host:port, without a path")
    return text


def service_path(text: str) -> str:
    """Return a path to request, unchanged, such as ``/health``. Raises BadValueError."""
    if not text.startswith("/"):
        raise BadValueError("must be a path", "such as /health")
    _split_url(f"http://service{text}", "http")
    return text


def redis_url(text: str) -> str:
    """Return ``redis://host:port/database`` or ``rediss://…`` unchanged. Raises BadValueError."""
    url = _split_url(text, "redis", "rediss")
    if "?" in text or not re.fullmatch(r"(/[0-9]{0,4})?", url.path):
        message = "must have the form redis://host:port/0, with the number of a database"
        raise BadValueError(message)
    return text


def probe_url(text: str) -> str:
    """Return a URL that can be probed, unchanged. Raises BadValueError."""
    url = _split_url(text, "http", "https", "tcp", "grpc")
    bare = url.port is not None and "?" not in text
    if url.scheme == "tcp" and not (bare and not url.path):
        raise BadValueError("must have the form tcp://host:port")
    if url.scheme == "grpc" and not (bare and url.path != "/" and url.path.count("/") <= 1):
        raise BadValueError("must have the form grpc://host:port or grpc://host:port/service")
    return text


def _split_url(text: str, *schemes: str) -> SplitResult:
    if not text.isascii() or not text.isprintable() or " " in text:
        raise BadValueError("must be a URL of printable ASCII characters without spaces")
    try:
        url = urlsplit(text)
        host, port = url.hostname or "", url.port
    except ValueError:
        hint = f"such as {schemes[0]}://host:8080/path"
        raise BadValueError("is not a valid URL", hint) from None
    if url.scheme not in schemes:
        raise BadValueError(f"must begin with {one_of(f'{scheme}://' for scheme in schemes)}")
    if "@" in url.netloc:  # the message leaves it out: it may be a password
        raise BadValueError("must not contain a user name or password")
    check_host(f"[{host}]" if ":" in host else host)
    if port == 0:
        raise BadValueError("must not have port 0: nothing can listen on it")
    if "#" in text:
        raise BadValueError("must not have a fragment", "remove the part from # on")
    return url
