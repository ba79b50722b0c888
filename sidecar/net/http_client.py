"""HTTP/1.1 as a client of a server that may be slow, wrong or hostile (RFC 9110, RFC 9112).

h11 parses; sockets, deadlines and bounds are here.
"""

import asyncio
import os
import re
import socket
import ssl
from binascii import b2a_base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from enum import Enum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes, urlsplit

import h11

from sidecar.net.trust import TlsFiles, Trust

if TYPE_CHECKING:
    from sidecar.net.proxy import Proxies

READ_BYTES: Final = 64 * 1024
"""The most that one read returns. Twice as many buffered bytes stop reading from the socket."""

MAX_HEAD_BYTES: Final = 32 * 1024
"""Status line and header fields; also one chunk's header, and the trailers. Servers send 1 KiB."""

MAX_INTERIM: Final = 8
"""Interim answers (1xx) before the final one. Nothing here asks for any."""

WIRE_BYTES: Final = 8
"""Bytes on the wire for one byte of a body: a chunk of one byte has six, without extensions."""

ADDRESS_SECONDS: Final = 1.0
"""For a connection to one of several addresses of a name: the next may answer (RFC 8305)."""

_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "zervi-sidecar"}
# RFC 9110, 8.8.3, without obs-text. A longer one is ignored: the server then answers 200, not 304.
_ENTITY_TAG = re.compile(r'(?:W/)?"[!#-~]{0,256}"')
_HOST = re.compile(r"[!-~]+")
# What stays as it is in a request's target: characters that a URL may have, and escapes.
_TARGET: Final = "/?%:@!$&'()*+,;=~[]"
_PORTS: Final = {"http": 80, "https": 443}
_VERSIONS: Final = (b"1.0", b"1.1")
_BOTH: Final = {b"content-length", b"transfer-encoding"}


class HttpFault(Enum):
    """Why a request has no usable answer."""

    CERTIFICATE = auto()
    PROXY = auto()
    TLS = auto()
    NAME = auto()
    CONNECT = auto()
    CLOSED = auto()
    BODY = auto()
    NOT_HTTP = auto()
    CONNECTION = auto()
    URL = auto()


class HttpError(Exception):
    """A request without a usable answer; the message has no part of the URL or the answer."""

    def __init__(self, fault: HttpFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault


class Response:
    """The head of an answer; its body is unread."""

    def __init__(self, head: h11.Response, wire: "_Wire") -> None:
        self.status = head.status_code
        self.wire = wire
        self._fields = list(head.headers)

    def header(self, name: str) -> str:
        """Return a field's value; several are joined by commas, "" is none (RFC 9110, 5.3)."""
        wanted = name.lower().encode()
        values = (value.decode("latin-1") for field, value in self._fields if field == wanted)
        return ", ".join(values)

    def entity_tag(self) -> str | None:
        """Return the entity tag; None where it cannot be sent back: the server then sends all."""
        tag = self.header("etag")
        return tag if _ENTITY_TAG.fullmatch(tag) else None


class HttpClient:
    """Sends requests without redirects, cookies, retries and decompression.

    Each request has a connection of its own: at one in half a minute, idle connections would cost
    a server of thousands of nodes more, and none is found closed when it is needed. ``files`` and
    ``proxies`` are for https; the trusted CAs are read at the first request over https.
    """

    def __init__(
        self,
        files: TlsFiles = TlsFiles(),  # noqa: B008 -- it never changes
        proxies: "Proxies | None" = None,
    ) -> None:
        self._trust = Trust(files)
        self._proxies = proxies

    @asynccontextmanager
    async def send(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] = MappingProxyType({}),
        content: bytes | None = None,
    ) -> AsyncIterator[Response]:
        """Send a request; yield the response with its body unread. The caller sets a deadline.

        Raises HttpError, and TrustError where a TLS file is not usable.
        """
        place = _place(url)
        request = _request(method, place, headers, content)
        trust = await asyncio.to_thread(self._trust.context) if place.https else None
        reader, writer = await _connected(place, trust, self._proxies if place.https else None)
        try:
            wire = _Wire(reader)
            writer.write(wire.sent(request, content))
            yield await wire.response()
        finally:
            writer.transport.abort()  # an unread body is not read to its end


async def read_body(response: Response, limit: int) -> bytes | None:
    """Return the body; None where it is longer than ``limit`` bytes. Raises HttpError."""
    announced = response.header("content-length")
    if announced.isdecimal() and int(announced) > limit:
        return None
    body = bytearray()
    async for data in response.wire.body():
        body += data
        if len(body) > limit or response.wire.received > WIRE_BYTES * limit + READ_BYTES:
            return None
    return bytes(body)


class _Wire:
    """Reads one answer from a connection."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.received = 0  # bytes
        self._reader = reader
        self._http = h11.Connection(h11.CLIENT, MAX_HEAD_BYTES)

    def sent(self, request: h11.Request, content: bytes | None) -> bytes:
        """Return the request as it goes over the wire."""
        parts = [self._http.send(request)]
        if content:
            parts.append(self._http.send(h11.Data(content)))
        parts.append(self._http.send(h11.EndOfMessage()))
        return b"".join(part for part in parts if part)

    async def response(self) -> Response:
        """Return the final answer's head. Raises HttpError."""
        for _ in range(MAX_INTERIM + 1):
            try:
                event = await self._event()
            except OSError as error:
                raise HttpError(
                    HttpFault.CONNECTION, f"the connection broke: {_strerror(error)}"
                ) from error
            except EOFError as error:
                if self.received:
                    raise _not_http() from error
                message = "the connection was closed without an answer"
                raise HttpError(HttpFault.CLOSED, message) from error
            if isinstance(event, h11.Response):
                names = {name for name, _ in event.headers}
                # Both could mean two different bodies (RFC 9112, 6.3).
                if event.http_version in _VERSIONS and not names >= _BOTH:
                    return Response(event, self)
                break
        raise _not_http()

    async def body(self) -> AsyncIterator[bytes]:
        """Yield the parts of the body. Raises HttpError."""
        try:
            while isinstance(event := await self._event(), h11.Data):
                yield event.data
                await asyncio.sleep(0)  # many tiny chunks do not stop the event loop
        except (OSError, EOFError) as error:
            raise HttpError(HttpFault.BODY, "the body ended early") from error

    async def _event(self) -> h11.Event:
        """Return the next event. Raises EOFError where the answer ends early."""
        ended = False
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise (EOFError() if ended else _not_http()) from error
            if isinstance(event, h11.Event):
                return event
            data = await self._reader.read(READ_BYTES)
            self.received += len(data)
            ended = not data
            self._http.receive_data(data)


class _Place(NamedTuple):
    """A URL in parts. ``authority`` is the value of Host; ``target`` has path and query."""

    https: bool
    host: str
    port: int
    authority: str
    target: str
    credentials: bytes | None


def _place(url: str) -> _Place:
    """Raise HttpError for what is not an http or https URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if not host.isascii():
            host = host.encode("idna").decode()
    except ValueError:  # UnicodeError too
        raise _not_a_url() from None
    default = _PORTS.get(parts.scheme)
    if default is None or not _HOST.fullmatch(host):
        raise _not_a_url()
    authority = f"[{host}]" if ":" in host else host
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    userinfo, separator, _ = parts.netloc.rpartition("@")
    return _Place(
        https=parts.scheme == "https",
        host=host,
        port=default if port is None else port,
        authority=authority if port in (None, default) else f"{authority}:{port}",
        target=quote(target, safe=_TARGET),
        credentials=unquote_to_bytes(userinfo) if separator else None,
    )


def _request(
    method: str, place: _Place, headers: Mapping[str, str], content: bytes | None
) -> h11.Request:
    fields = {"Host": place.authority, **_HEADERS}
    if place.credentials is not None:
        encoded = b2a_base64(place.credentials, newline=False).decode()
        fields["Authorization"] = f"Basic {encoded}"
    fields |= {name.title(): value for name, value in headers.items()}
    if content is not None or method != "GET":
        fields["Content-Length"] = str(len(content or b""))
    fields["Connection"] = "close"
    try:
        return h11.Request(method=method, target=place.target, headers=list(fields.items()))
    except (h11.LocalProtocolError, UnicodeError) as error:
        raise HttpError(HttpFault.URL, "a header of the request is not valid") from error


async def _connected(
    place: _Place, trust: ssl.SSLContext | None, proxies: "Proxies | None"
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if proxies is None:
        sock = await _socket(place.host, place.port)
    else:
        sock = await _tunnelled(place, proxies)
    name = None if trust is None else place.host.rstrip(".")
    try:
        return await asyncio.open_connection(
            sock=sock, ssl=trust, server_hostname=name, limit=READ_BYTES
        )
    except ssl.SSLCertVerificationError as error:
        reason = error.verify_message or "not trusted"
        message = f"the certificate does not verify: {reason}"
        raise HttpError(HttpFault.CERTIFICATE, message) from error
    except OSError as error:
        raise HttpError(HttpFault.TLS, "the TLS handshake failed") from error


async def _tunnelled(place: _Place, proxies: "Proxies") -> socket.socket:
    """Return a socket to the server, through a proxy if there is one for it. Raises HttpError."""
    from sidecar.net.proxy import ProxyError, tunnel  # where it is configured

    try:
        proxy = proxies.towards(place.host, place.port)
        if proxy is None:
            return await _socket(place.host, place.port)
        sock = await _socket(proxy.host, proxy.port)
        try:
            await tunnel(sock, place.host, place.port, proxy)
        except BaseException:
            sock.close()
            raise
    except ProxyError as error:
        raise HttpError(HttpFault.PROXY, str(error)) from error
    except OSError as error:
        message = f"the connection to the proxy broke: {_strerror(error)}"
        raise HttpError(HttpFault.PROXY, message) from error
    return sock


async def _resolve(host: str, port: int) -> list[Any]:
    try:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label that is too long
        raise HttpError(HttpFault.NAME, "the host name does not resolve") from error


async def _socket(host: str, port: int) -> socket.socket:
    """Return a socket that is connected to one of the host's addresses. Raises HttpError."""
    loop = asyncio.get_running_loop()
    found = await _resolve(host, port)
    problem: OSError = OSError()
    for number, (family, kind, protocol, _, address) in enumerate(found, 1):
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # a host without IPv6, or too many open files
            problem = error
            continue
        sock.setblocking(False)
        try:
            async with asyncio.timeout(ADDRESS_SECONDS if number < len(found) else None):
                await loop.sock_connect(sock, address)
        except OSError as error:  # TimeoutError too
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise HttpError(HttpFault.CONNECT, f"no connection: {_strerror(problem)}") from problem


def _not_a_url() -> HttpError:
    return HttpError(HttpFault.URL, "the URL is not valid")


def _not_http() -> HttpError:
    return HttpError(HttpFault.NOT_HTTP, "the answer is not valid HTTP")


def _strerror(error: OSError) -> str:
    return os.strerror(error.errno).lower() if error.errno else type(error).__name__
