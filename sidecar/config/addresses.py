"""Addresses, hosts and URLs as the configuration names them."""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from sidecar.config.findings import BadValueError, one_of, quoted

MAX_SOCKET_PATH = 90  # bytes: the kernel takes 107, and a temporary name beside it must fit too

_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_-]{1,63})*\.?")


def check_host(host: str) -> None:
    """Raise BadValueError unless ``host`` is a host name, an IPv4 address or an IPv6 address in brackets."""
    if not host:
        raise BadValueError("lacks the host")
    if not host.isascii():
        raise BadValueError(
            f"has a host that is not ASCII, {quoted(host)}", "write it in Punycode: xn--…"
        )
    if host.startswith("[") or host.count(":") > 1:
        if not (host.startswith("[") and host.endswith("]")):
            raise BadValueError(f"has an IPv6 address without its brackets, {quoted(host)}")
        if not _is_address(IPv6Address, host[1:-1]):
            raise BadValueError(f"has a host that is no IPv6 address, {quoted(host)}")
    elif re.fullmatch(r"[0-9.]+", host):
        if not _is_address(IPv4Address, host):
            raise BadValueError(f"has a host that is no IPv4 address, {quoted(host)}")
    elif not _HOST_NAME.fullmatch(host):
        raise BadValueError(f"has a host that is no host name, {quoted(host)}")


def is_loopback(host: str) -> bool:
    """Whether ``host`` (an IPv6 address bare or in brackets) is this machine as seen from itself."""
    bare = host.strip("[]").lower()
    if _is_address(IPv6Address, bare):
        return IPv6Address(bare).is_loopback
    if _is_address(IPv4Address, bare):
        return IPv4Address(bare).is_loopback
    return bare == "localhost" or bare.endswith(".localhost")


def split_address(address: str) -> tuple[str, int]:
    """Host (IPv6 in brackets) and port of ``host:port``. Raises BadValueError."""
    host, colon, port = address.rpartition(":")
    if not colon or address.endswith("]"):
        raise BadValueError(
            f"must be host:port, not {quoted(address)}", "such as 127.0.0.1:9001 or [::1]:9001"
        )
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise BadValueError(f"has the port {quoted(port)}", "a port is a number from 0 to 65535")
    if not host:
        raise BadValueError(
            "lacks the host",
            f"0.0.0.0:{port} for every address, 127.0.0.1:{port} for this machine alone",
        )
    check_host(host)
    return host, int(port)


def _is_address(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True


def _tcp_address(value: str) -> str:
    if value.startswith("unix:"):
        raise BadValueError("must be host:port, it is not served on a unix socket")
    split_address(value)
    return value


def _address(value: str) -> str:
    if not value.startswith("unix:"):
        return _tcp_address(value)
    path = value.removeprefix("unix:")
    if not path.startswith("/") or path.startswith("//") or path.endswith("/"):
        raise BadValueError(
            f"must name a socket by its full path, not {quoted(path)}",
            "such as unix:/run/zervi/authz.sock",
        )
    if len(path.encode()) > MAX_SOCKET_PATH:
        raise BadValueError(
            f"has a path of {len(path.encode())} bytes, at most {MAX_SOCKET_PATH} fit a unix socket"
        )
    return value


def _url(*schemes: str) -> AfterValidator:
    def check(value: str) -> str:
        if not value.isascii() or not value.isprintable() or " " in value:
            raise BadValueError("must be a URL of printable ASCII characters without spaces")
        try:
            url = urlsplit(value)
            host, port = url.hostname or "", url.port
        except ValueError:
            raise BadValueError(
                "is no URL that can be read", f"such as {schemes[0]}://host:8080/path"
            ) from None
        if url.scheme not in schemes:
            raise BadValueError(f"must begin with {one_of(f'{scheme}://' for scheme in schemes)}")
        if "@" in url.netloc:  # not shown: it may be a password
            raise BadValueError("must not hold a user name or password")
        check_host(f"[{host}]" if ":" in host else host)
        if port == 0:
            raise BadValueError("has the port 0, where nothing can listen")
        if "#" in value:
            raise BadValueError("must not have a fragment, what follows #")
        if url.scheme == "tcp" and (port is None or "?" in value or url.path):
            raise BadValueError("must be of the form tcp://host:port")
        if url.scheme == "grpc" and (
            port is None or "?" in value or url.path == "/" or url.path.count("/") > 1
        ):
            raise BadValueError("must be of the form grpc://host:port or grpc://host:port/service")
        return value

    return AfterValidator(check)


TcpAddress = Annotated[str, AfterValidator(_tcp_address)]
Address = Annotated[str, AfterValidator(_address)]
HttpUrl = Annotated[str, _url("http", "https")]
ProbeUrl = Annotated[str, _url("http", "https", "tcp", "grpc")]
