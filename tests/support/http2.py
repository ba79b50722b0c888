"""A raw HTTP/2 client: any header, any byte in it, and the answer whatever its kind."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events

READ_SECONDS = 30.0


class Answer(NamedTuple):
    """The response on a stream. ``reset`` is the error code of RST_STREAM or GOAWAY."""

    status: int | None
    headers: dict[str, str]
    trailers: dict[str, str]
    body: str
    reset: int | None

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
    path: bytes | str,
    *headers: tuple[str, str] | tuple[bytes, bytes],
    method: str = "GET",
    authority: str = "api.jobfirst.local",
) -> Answer:
    """Send one request on a connection of its own; nothing in it is checked on this side."""
    raw = path if isinstance(path, bytes) else path.encode()
    pseudo = [
        (b":method", method.encode()),
        (b":scheme", b"http"),
        (b":authority", authority.encode()),
        (b":path", raw),
    ]
    return await exchange(port, [*pseudo, *map(_encoded, headers)])


async def exchange(port: int, headers: Iterable[tuple[bytes, bytes]]) -> Answer:
    """Send one header block that ends its stream; read until the stream or connection ends."""
    connection = h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=True,
            header_encoding="latin-1",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=False,
        )
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        connection.initiate_connection()
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, list(headers), end_stream=True)
        writer.write(connection.data_to_send())
        async with asyncio.timeout(READ_SECONDS):
            return await _answer(connection, reader, writer)
    finally:
        writer.close()


async def _answer(
    connection: h2.connection.H2Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> Answer:
    status, headers, trailers, body, reset = None, {}, {}, b"", None
    while data := await reader.read(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                headers = _decoded(event.headers)
                status = int(headers.pop(":status"))
            elif isinstance(event, h2.events.TrailersReceived):
                trailers = _decoded(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                body += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                reset = int(event.error_code or 0)
            if isinstance(
                event,
                h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated,
            ):
                return Answer(status, headers, trailers, body.decode(), reset)
        writer.write(connection.data_to_send())
    return Answer(status, headers, trailers, body.decode(), reset)


def _encoded(header: tuple[str, str] | tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    return (
        name if isinstance(name, bytes) else name.encode(),
        value if isinstance(value, bytes) else value.encode(),
    )


def _decoded(headers: Iterable[Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}
