"""A raw HTTP/1.1 client: what is written is what arrives, malformed or not."""

import asyncio
import json
import ssl
from typing import Any, NamedTuple

READ_SECONDS = 30.0


class Answer(NamedTuple):
    """An answer; header names are lower-case, the first of doubles counts."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object."""
        value: dict[str, Any] = json.loads(self.body)
        return value

    def arrived(self, name: str) -> list[str]:
        """Every value of a header as the Basic Server says that it received it."""
        return [value for key, value in self.json["headers"] if key.lower() == name]


async def send(
    port: int,
    target: str | bytes,
    *headers: tuple[str, str] | bytes,
    method: str = "GET",
    body: bytes = b"",
    host: str = "api.jobfirst.local",
) -> Answer:
    """Send one request over a connection of its own and read the answer to its end.

    A header given as bytes is a whole line, sent as it is.
    """
    raw = target if isinstance(target, bytes) else target.encode()
    lines = [method.encode() + b" " + raw + b" HTTP/1.1", b"Host: " + host.encode()]
    lines += [h if isinstance(h, bytes) else f"{h[0]}: {h[1]}".encode() for h in headers]
    lines += [b"Content-Length: %d" % len(body)] if body else []
    if not any(line.lower().startswith(b"connection:") for line in lines):
        lines.append(b"Connection: close")
    return await exchange(port, b"\r\n".join(lines) + b"\r\n\r\n" + body)


async def exchange(port: int, message: bytes, tls: ssl.SSLContext | None = None) -> Answer:
    """Write these bytes and read one answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        writer.write(message)
        async with asyncio.timeout(READ_SECONDS):
            return await _read(reader)
    finally:
        writer.close()


async def _read(reader: asyncio.StreamReader) -> Answer:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), value.strip())
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(first.split(" ")[1]), headers, body.decode())
