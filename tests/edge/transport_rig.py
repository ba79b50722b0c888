"""A server on any transport with a test's methods, and grpcio's client to call it."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from grpc import ChannelCredentials, StatusCode, aio

from sidecar.transport.interface import (
    Listener,
    Methods,
    ServerStream,
    Transport,
    Unary,
)

NewServer = Callable[[Listener, Methods], Transport]

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # one connection per channel
    ("grpc.initial_reconnect_backoff_ms", 100),
)


def echo(message: bytes, _deadline: float | None) -> bytes:
    """Return the message."""
    return message


def methods(
    unary: Mapping[str, Unary] | None = None, streams: Mapping[str, ServerStream] | None = None
) -> Methods:
    """Return ``/t/Echo`` and the given methods."""
    return Methods({"/t/Echo": echo, **(unary or {})}, streams or {})


@contextlib.asynccontextmanager
async def serving(
    new_server: NewServer, served: Methods, listener: Listener | None = None
) -> AsyncIterator[str]:
    """Serve within the block; yield the bound address."""
    server = new_server(listener or Listener("127.0.0.1:0"), served)
    address = await server.start()
    try:
        yield address
    finally:
        await server.drain(0)


@contextlib.asynccontextmanager
async def talking(new_server: NewServer, served: Methods) -> AsyncIterator[aio.Channel]:
    """Serve within the block; yield a connected client."""
    async with serving(new_server, served) as address, connect(address) as channel:
        yield channel


def connect(address: str, credentials: ChannelCredentials | None = None) -> aio.Channel:
    """Return grpcio's client for a server at ``address``."""
    if credentials is None:
        return aio.insecure_channel(address, options=_OPTIONS)
    return aio.secure_channel(address, credentials, options=_OPTIONS)


async def call(
    channel: aio.Channel, method: str, message: bytes = b"", within: float | None = 10.0
) -> bytes:
    """Make one unary call with a deadline of ``within`` seconds."""
    answer: bytes = await begin(channel, method, message, within)
    return answer


def begin(
    channel: aio.Channel, method: str, message: bytes = b"", within: float | None = 10.0
) -> "aio.UnaryUnaryCall[bytes, bytes]":
    """Begin one unary call, to be awaited or cancelled."""
    return channel.unary_unary(method, bytes, bytes)(message, timeout=within)


def watch(
    channel: aio.Channel, method: str, message: bytes = b""
) -> "aio.UnaryStreamCall[bytes, bytes]":
    """Open one stream from the server."""
    return channel.unary_stream(method, bytes, bytes)(message)


async def failure(
    channel: aio.Channel, method: str, message: bytes = b"", within: float | None = 10.0
) -> tuple[StatusCode, str]:
    """Make one unary call that fails; return its status and message."""
    try:
        await call(channel, method, message, within)
    except aio.AioRpcError as error:
        return error.code(), error.details() or ""
    raise AssertionError(f"{method} did not fail")
