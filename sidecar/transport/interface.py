"""The boundary between transports and services: bytes in, bytes out.

A transport knows method names and bytes, never a message; a service knows messages, never a
connection.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

# Of a message. A Check has some KiB, and 60 more where a client sends as many headers as Envoy
# takes. No decision looks at a body; one that Envoy adds (`with_request_body`) has to fit in.
# Larger messages would only be a way to hold memory and the event loop.
MAX_MESSAGE_BYTES = 1024 * 1024

# What a unary method is: the message and the deadline (seconds of time.monotonic(), None
# where the caller named none) in, the answer's message out. It may answer at once or be awaited.
Unary = Callable[[bytes, float | None], bytes | Awaitable[bytes]]

# What a server stream is: one message in, messages out until it ends or the caller leaves.
ServerStream = Callable[[bytes], AsyncIterator[bytes]]


class RpcError(Exception):
    """A method's own gRPC error (never used by Check: a gRPC error may be an allow in Envoy).

    ``code`` is the number of https://grpc.io/docs/guides/status-codes/.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Methods(NamedTuple):
    """What a server serves, by full method name, such as ``/grpc.health.v1.Health/Check``.

    ``oversized`` is what a message answers that is larger than a transport takes. A method that is
    not in it answers RESOURCE_EXHAUSTED, which for a Check may be an allow in Envoy.
    """

    unary: Mapping[str, Unary]
    streams: Mapping[str, ServerStream]
    oversized: Mapping[str, bytes] = MappingProxyType({})


class Tls(NamedTuple):
    """PEM contents. With ``client_ca`` a client must show a certificate that it signed.

    With ``client_names`` that certificate must have one of them, see ``ClientNames``.
    """

    certificate: bytes
    key: bytes
    client_ca: bytes | None = None
    client_names: tuple[str, ...] = ()


class Listener(NamedTuple):
    """``host:port``, ``[v6]:port`` or ``unix:/path``, the latter with ``socket_mode``.

    ``probes``: only health is served there, to anyone, so its peers get as little as that takes.
    """

    address: str
    tls: Tls | None = None
    socket_mode: int = 0o660
    probes: bool = False


class ListenError(Exception):
    """An address cannot be listened on; the message is one clear line for the operator."""


class Transport(Protocol):
    """A gRPC server on one address."""

    async def start(self) -> str:
        """Listen; return the address as bound (a port of 0 resolved). Raises ListenError."""

    async def idle(self) -> None:
        """Wait until no connection is left; for ever where a transport cannot tell."""

    async def renew(self, tls: Tls) -> None:
        """Serve new connections with these certificates; open ones go on. Raises ListenError.

        Then the former ones are still served.
        """

    async def drain(self, grace: float) -> None:
        """Stop: take no new connection, finish what runs, end within ``grace`` seconds."""


class HealthSource(Protocol):
    """Where the health service finds its answers; ops implements it."""

    def statuses(self) -> Mapping[str, bool | None]:
        """Every service's state by name: True serving, False not serving, None unknown."""

    def changed(self) -> Awaitable[None]:
        """Wait for the first change after this call; the result may also be dropped."""
