"""A key server that fails in every way, for tests of the key-set engine."""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from tests.support.waiting import eventually

Answer = Callable[["Exchange"], Awaitable[None]]

MEGABYTE = 1024 * 1024


class Exchange:
    """One request that the server has read, and the connection to answer on."""

    def __init__(self, server: "KeyServer", writer: asyncio.StreamWriter, head: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.server = server
        self.writer = writer
        self.target = lines[0].split(" ")[1]
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        self.sent = 0

    async def send(self, data: bytes) -> None:
        """Send; raises ConnectionError once the client has left."""
        self.writer.write(data)
        await self.writer.drain()
        self.sent += len(data)


class KeyServer:
    """A server on a loopback port that answers each request as ``answer`` says at that moment."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.exchanges: list[Exchange] = []
        self.open_connections = 0
        self.stopping = asyncio.Event()
        self.port = 0
        self._tls = tls
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self.port}/jwks.json"

    async def start(self) -> None:
        """Listen, on the same port again after ``stop``."""
        self.stopping.clear()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=self._tls, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections from now on."""
        self.stopping.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        await eventually(lambda: self.open_connections == 0, "the key server's answers end")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open_connections += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            exchange = Exchange(self, writer, head)
            self.exchanges.append(exchange)
            await self.answer(exchange)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client left, which is often what a test is about
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            self.open_connections -= 1


@contextlib.asynccontextmanager
async def serving(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[KeyServer]:
    """Run a key server."""
    server = KeyServer(answer, tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def head(status: str = "200 OK", headers: Mapping[str, str] | None = None) -> bytes:
    """Return the head of an answer."""
    lines = [f"HTTP/1.1 {status}", *(f"{k}: {v}" for k, v in (headers or {}).items()), "", ""]
    return "\r\n".join(lines).encode("latin-1")


def document(
    body: bytes, *, status: str = "200 OK", headers: Mapping[str, str] | None = None
) -> Answer:
    """Answer with a whole body."""

    async def answer(exchange: Exchange) -> None:
        length = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
        await exchange.send(head(status, {**length, **(headers or {})}) + body)

    return answer


def revalidated(body: bytes, etag: str, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a body and an ETag, and with 304 to who knows that ETag already."""
    tagged = {"ETag": etag, **(headers or {})}
    whole = document(body, headers=tagged)

    async def answer(exchange: Exchange) -> None:
        if exchange.headers.get("if-none-match") == etag:
            await exchange.send(head("304 Not Modified", tagged))
        else:
            await whole(exchange)

    return answer


def held(gate: asyncio.Event, after: Answer) -> Answer:
    """Answer once the gate opens, as was decided when the request came."""

    async def answer(exchange: Exchange) -> None:
        await gate.wait()
        await after(exchange)

    return answer


async def reset(exchange: Exchange) -> None:
    """Reset the connection instead of answering."""
    linger = struct.pack("ii", 1, 0)  # closing then sends RST, not FIN
    exchange.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    exchange.writer.transport.abort()


async def closes(exchange: Exchange) -> None:
    """Close the connection instead of answering."""


async def reset_in_body(exchange: Exchange) -> None:
    """Reset the connection in the middle of the body."""
    await exchange.send(head(headers={"Content-Length": "100"}) + b'{"keys": [')
    await reset(exchange)


async def never(exchange: Exchange) -> None:
    """Take the request and say nothing."""
    await exchange.server.stopping.wait()


async def drips_head(exchange: Exchange) -> None:
    """Send the head byte by byte."""
    await _drip(exchange, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 4096)


async def drips_body(exchange: Exchange) -> None:
    """Send the body byte by byte."""
    await exchange.send(head(headers={"Content-Length": "4096"}))
    await _drip(exchange, b" " * 4096)


async def _drip(exchange: Exchange, data: bytes) -> None:
    for byte in data:
        await exchange.send(bytes([byte]))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(exchange.server.stopping.wait(), 0.05)
            return


async def endless_body(exchange: Exchange) -> None:
    """Send a chunked body without an end."""
    await exchange.send(head(headers={"Transfer-Encoding": "chunked"}))
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    while not exchange.server.stopping.is_set():
        await exchange.send(chunk)


async def endless_headers(exchange: Exchange) -> None:
    """Send header lines without an end."""
    await exchange.send(b"HTTP/1.1 200 OK\r\n")
    while not exchange.server.stopping.is_set():
        await exchange.send(b"X-More: more\r\n" * 1000)


async def two_hundred_megabytes(exchange: Exchange) -> None:
    """Send 200 MB, announced as such."""
    await exchange.send(head(headers={"Content-Length": str(200 * MEGABYTE)}))
    for _ in range(200):
        await exchange.send(b" " * MEGABYTE)


async def two_hundred_megabytes_unannounced(exchange: Exchange) -> None:
    """Send 200 MB that end with the connection."""
    await exchange.send(head(headers={"Connection": "close"}))
    for _ in range(200):
        await exchange.send(b" " * MEGABYTE)


async def redirects(exchange: Exchange) -> None:
    """Redirect to another path of this server."""
    await exchange.send(head("302 Found", {"Location": "/elsewhere", "Content-Length": "0"}))


async def no_http(exchange: Exchange) -> None:
    """Answer in no protocol that anyone knows."""
    await exchange.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")


async def ends_early(exchange: Exchange) -> None:
    """Announce more than is sent, then close."""
    await exchange.send(head(headers={"Content-Length": "100"}) + b'{"keys": [')
