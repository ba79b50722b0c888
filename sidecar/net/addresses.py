"""Addresses to listen on or to connect to: one parser for the configuration, edges and tools."""

import os
import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple, TypeAlias

from sidecar.documents.findings import BadValueError, quoted

MAX_PATH_BYTES: Final = 107  # of a unix socket: sun_path of unix(7), less its terminating NUL
MAX_PORT: Final = 65535

_HOST_NAME = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_][A-Za-z0-9_-]{0,62}(\.[A-Za-z0-9_-]{1,63})*\.?")


class TcpAddress(NamedTuple):
    """``host:port``; ``host`` is a name or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return the address as it is written, an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class UnixAddress(NamedTuple):
    """``unix:/path``."""

    path: str

    def __str__(self) -> str:
        """Return the address as it is written."""
        return f"unix:{self.path}"


Address: TypeAlias = TcpAddress | UnixAddress


def parse_address(text: str, example: str = "unix:/run/zervi/authz.sock") -> Address:
    """Parse ``host:port``, ``[v6]:port`` or ``unix:/path``.

    Raises BadValueError, which shows the ``example`` where the path of a socket is invalid.
    """
    if not text.startswith("unix:"):
        return parse_tcp(text)
    path = text.removeprefix("unix:")
    if not path.startswith("/") or path.startswith("//") or path.endswith("/") or "\0" in path:
        message = f"must be the absolute path of a socket, not {quoted(path)}"
        raise BadValueError(message, f"such as {example}")
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise BadValueError(f"has a path of more than {MAX_PATH_BYTES} bytes")
    return UnixAddress(path)


def parse_tcp(text: str) -> TcpAddress:
    """Parse ``host:port`` or ``[v6]:port``. Raises BadValueError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        hint = "such as 127.0.0.1:9001 or [::1]:9001"
        raise BadValueError(f"must be host:port, not {quoted(text)}", hint)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= MAX_PORT):
        message = f"has the invalid port {quoted(port)}"
        raise BadValueError(message, f"a port is a number from 0 to {MAX_PORT}")
    if not host:
        hint = f"0.0.0.0:{port} for every address, 127.0.0.1:{port} for this machine only"
        raise BadValueError("has no host", hint)
    check_host(host)
    return TcpAddress(host.strip("[]"), int(port))


def check_host(host: str) -> None:
    """Raise BadValueError unless this is a host name, an IPv4 or a bracketed IPv6 address."""
    if not host:
        raise BadValueError("has no host")
    shown = quoted(host)
    if not host.isascii():
        raise BadValueError(f"has a non-ASCII host, {shown}", "write it in Punycode: xn--…")
    if host.startswith("[") or host.count(":") > 1:
        if not (host.startswith("[") and host.endswith("]")):
            raise BadValueError(f"has an IPv6 address without brackets, {shown}")
        if not _is_address(IPv6Address, host[1:-1]):
            raise BadValueError(f"has an invalid IPv6 address, {shown}")
    elif re.fullmatch(r"[0-9.]+", host):
        if not _is_address(IPv4Address, host):
            raise BadValueError(f"has an invalid IPv4 address, {shown}")
    elif not is_host_name(host):
        raise BadValueError(f"has an invalid host name, {shown}")


def is_host_name(text: str) -> bool:
    """Return whether this could be a host name; IPv4 addresses are among them."""
    return _HOST_NAME.fullmatch(text) is not None


def is_loopback(host: str) -> bool:
    """Return whether a host (IPv6 with or without brackets) is a loopback address or name."""
    bare = host.strip("[]").lower()
    if _is_address(IPv6Address, bare):
        return IPv6Address(bare).is_loopback
    if _is_address(IPv4Address, bare):
        return IPv4Address(bare).is_loopback
    return bare == "localhost" or bare.endswith(".localhost")


def _is_address(kind: type[IPv4Address | IPv6Address], text: str) -> bool:
    try:
        kind(text)
    except AddressValueError:
        return False
    return True
