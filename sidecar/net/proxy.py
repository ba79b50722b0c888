"""Through an HTTP proxy to a server (CONNECT, RFC 9110 section 9.3.6).

Programs agree on what ``HTTPS_PROXY`` and ``NO_PROXY`` contain, and no standard says it; this
follows Go's ``httpproxy``, which most programs of a cluster use.
"""

import asyncio
import re
import socket
from binascii import b2a_base64
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

MAX_HEAD_BYTES: Final = 8 * 1024
"""Of a proxy's answer to CONNECT; usual proxies send some 100 bytes."""

_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class ProxyError(Exception):
    """The proxy cannot be used; the message has no part of its URL."""


class Proxy(NamedTuple):
    """A proxy; ``credentials`` are user and password, separated by a colon."""

    host: str
    port: int
    credentials: bytes | None = None


class Proxies(NamedTuple):
    """The values of ``HTTPS_PROXY`` and ``NO_PROXY``; without the first, no proxy is used."""

    https: str = ""
    no: str = ""

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "Proxies":
        """Return the proxies of an environment; names in lower case come first, as in curl."""
        return cls(*(environ.get(name.lower()) or environ.get(name, "") for name in _VARIABLES))

    def towards(self, host: str, port: int) -> Proxy | None:
        """Return the proxy for https to a host, None for the direct way. Raises ProxyError."""
        if not self.https or _is_direct(host, port, self.no):
            return None
        text = self.https if "://" in self.https else f"http://{self.https}"
        try:
            parts = urlsplit(text)
            name, proxy_port = parts.hostname, parts.port
        except ValueError:
            name, proxy_port = None, None
        if not name or parts.scheme != "http":
            raise ProxyError("HTTPS_PROXY is not an http:// URL")
        userinfo, separator, _ = parts.netloc.rpartition("@")
        return Proxy(name, proxy_port or 80, unquote_to_bytes(userinfo) if separator else None)


_VARIABLES: Final = ("HTTPS_PROXY", "NO_PROXY")


async def tunnel(sock: socket.socket, host: str, port: int, proxy: Proxy) -> None:
    """Ask the proxy at the other end of a connected socket for a tunnel.

    Raises ProxyError and OSError.
    """
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.credentials is not None:
        encoded = b2a_base64(proxy.credentials, newline=False).decode()
        lines.append(f"Proxy-Authorization: Basic {encoded}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
    head = b""
    while b"\r\n\r\n" not in head:
        data = await loop.sock_recv(sock, 1024)
        head += data
        if not data or len(head) > MAX_HEAD_BYTES:
            raise ProxyError("the proxy's answer is not valid HTTP")
    status = _STATUS.match(head)
    if status is None:
        raise ProxyError("the proxy's answer is not valid HTTP")
    if not status[1].startswith(b"2"):
        raise ProxyError(f"the proxy refused a tunnel: status {status[1].decode()}")
    if not head.endswith(b"\r\n\r\n"):
        raise ProxyError("the proxy sent more than its answer")  # in TLS, the client begins


def _is_direct(host: str, port: int, no_proxy: str) -> bool:
    """Say whether ``NO_PROXY`` lists a host: by ``*``, name, domain, address or network."""
    host = host.rstrip(".").lower()
    try:
        address = ip_address(host)
    except ValueError:
        address = None
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    for entry in no_proxy.lower().replace(" ", ",").split(","):
        name, colon, only = entry.rpartition(":")
        if colon and only.isdecimal() and (":" not in name or name.endswith("]")):
            if int(only) != port:
                continue
            entry = name
        entry = entry.strip("[]")
        if entry == "*":
            return True
        if address is not None:
            try:
                if address in ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
        elif entry.startswith((".", "*.")):  # only what is below the domain
            if host.endswith(entry.lstrip("*")):
                return True
        elif entry and (host == entry or host.endswith(f".{entry}")):
            return True
    return False
