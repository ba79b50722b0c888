"""The boundary between transports and services: bytes in, bytes out.

A transport knows method names and bytes, never a message; a service knows messages, never a
connection.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

from sidecar.core.traced import Traced

# Per message. A Check has some KiB, and 60 KiB more if a client sends as many headers as Envoy
# accepts. No decision reads a body; one that Envoy adds (`with_request_body`) must fit in.
# Larger messages would only let a client occupy memory and the event loop.
MAX_MESSAGE_BYTES = 1024 * 1024

# A unary method takes the message and the deadline (seconds of time.monotonic(), None if the caller
# set none) and returns the answer's message, or an awaitable of it.
Unary = Callable[[bytes, float | None], bytes | Awaitable[bytes]]

# A unary method that also gets what the caller sent of its trace, None for nothing.
TracedUnary = Callable[[bytes, float | None, Traced | None], bytes | Awaitable[bytes]]

# A server stream takes one message and yields messages until it ends or the caller cancels.
ServerStream = Callable[[bytes], AsyncIterator[bytes]]


class RpcError(Exception):
    """A gRPC error that a method raises. Check never does: Envoy may allow on a gRPC error.

    ``code`` is the number of https://grpc.io/docs/guides/status-codes/.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Methods(NamedTuple):
    """The methods of a server by full name, such as ``/grpc.health.v1.Health/Check``.

    ``oversized`` has the answers to messages over MAX_MESSAGE_BYTES. A method that is not in it
    answers RESOURCE_EXHAUSTED, on which Envoy may allow a request. ``traced`` has unary methods
    that are not in ``unary``.
    """

    unary: Mapping[str, Unary]
    streams: Mapping[str, ServerStream]
    oversized: Mapping[str, bytes] = MappingProxyType({})
    traced: Mapping[str, TracedUnary] = MappingProxyType({})


class Tls(NamedTuple):
    """PEM contents. With ``client_ca``, a client needs a certificate that this CA signed.

    With ``client_names``, that certificate must have a matching name, see ``ClientNames``.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None
    client_names: tuple[str, ...] = ()


class Listener(NamedTuple):
    """``host:port``, ``[v6]:port`` or ``unix:/path``, the latter with ``socket_mode``.

    ``probes``: only health is served there, to any client, so the limits are low.
    """

    address: str
    tls: Tls | None = None
    socket_mode: int = 0o660
    probes: bool = False


class ListenError(Exception):
    """Listening on an address failed; the message is one line for the operator."""


class Transport(Protocol):
    """A gRPC server on one address."""

    async def start(self) -> str:
        """Listen; return the address as bound (a port of 0 resolved). Raises ListenError."""

    async def idle(self) -> None:
        """Wait until no connection is left; for ever if the transport cannot know."""

    async def renew(self, tls: Tls) -> None:
        """Serve new connections with these certificates; open ones continue.

        Raises ListenError; then the old certificates stay in use.
        """

    async def drain(self, grace: float) -> None:
        """Stop: accept no new connection, finish running calls within ``grace`` seconds."""


class HealthSource(Protocol):
    """The source of the health service's answers; ops implements it."""

    def statuses(self) -> Mapping[str, bool | None]:
        """Every service's state by name: True serving, False not serving, None unknown."""

    def changed(self) -> Awaitable[None]:
        """Wait for the first change after this call; the result need not be awaited."""
