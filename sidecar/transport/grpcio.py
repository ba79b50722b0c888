"""The gRPC server on grpcio: complete and widely used; the h2 transport is cheaper.

What grpcio does by itself and we cannot change:

- A message over ``MAX_RECEIVE_BYTES`` is answered RESOURCE_EXHAUSTED before a handler sees it.
  Envoy counts that as an error of the authorization service: denied, unless ``failure_mode_allow``
  is set.
- While it drains, a new stream on an old connection is answered CANCELLED or UNAVAILABLE for a
  moment before the client has read the GOAWAY; Envoy's retry policy covers both.
- It has no event for a new connection, so a client whose certificate has none of ``client_names``
  gets PERMISSION_DENIED for each call; the h2 transport closes the connection.
- ``0.0.0.0`` also listens on ``[::]`` where the machine has IPv6.
"""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import quote

# grpcio writes to standard error by itself, for example a line per failed TLS handshake. It reads
# this variable when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from grpc import aio

from sidecar.core.traced import Traced, sent
from sidecar.net.addresses import TcpAddress
from sidecar.transport.client_names import names_of
from sidecar.transport.interface import (
    MAX_MESSAGE_BYTES,
    Listener,
    ListenError,
    Methods,
    RpcError,
    ServerStream,
    Tls,
)
from sidecar.transport.sockets import UnixPath, address_of, bind_tcp
from sidecar.transport.tls import server_context

_log = logging.getLogger(__name__)

# To Envoy, what grpcio refuses by itself is an error, so messages that are too large are answered
# here. Beyond this size that costs too much: each call in flight may hold as much memory.
MAX_RECEIVE_BYTES = 16 * 1024 * 1024

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # else two sidecars on one port would share the requests unnoticed
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    # Envoy pings each second (connection_keepalive), also without calls. By default grpcio allows
    # one ping in five minutes and closes the connection at the third. It limits ping floods anyway.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),
    # A peer that disappears without closing (a probe from outside the pod) is detected within two
    # minutes, not hours.
    ("grpc.keepalive_time_ms", 90_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
)
# Streams are not limited: a refused one is an error to Envoy, which failure_mode_allow turns into
# an allow.

# Where only health is served, to any client in the cluster, the limits are low. grpcio does not
# limit the number of connections.
_PROBE_OPTIONS = (
    *(option for option in _OPTIONS if option[0] != "grpc.max_receive_message_length"),
    ("grpc.max_receive_message_length", 16 * 1024),  # the name of a service
    ("grpc.max_concurrent_streams", 16),  # a client has a Watch and a Check or two
    ("grpc.max_metadata_size", 4 * 1024),
    ("grpc.absolute_max_metadata_size", 4 * 1024),  # between these two limits it refuses at random
    ("grpc.max_connection_idle_ms", 10_000),  # a probe is over in milliseconds
)

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Server:
    """A gRPC server on one address. Satisfies ``Transport``."""

    def __init__(self, listener: Listener, methods: Methods) -> None:
        self._listener = listener
        self._methods = methods
        self._server: aio.Server | None = None
        self._unix: UnixPath | None = None
        # For each port: the certificates that grpcio takes at its next connection.
        self._renewed: list[list[grpc.ServerCertificateConfiguration]] = []
        self._names = names_of(listener.tls)
        self._stream_waits: set[asyncio.Timeout] = set()
        self._streams_end: float | None = None  # the event loop's time; None until draining

    async def start(self) -> str:
        """Listen; return the address as bound (a port of 0 resolved). Raises ListenError."""
        address = address_of(self._listener.address)
        if self._listener.tls is not None:
            server_context(self._listener.tls)  # names the error, which grpcio does not
        options = _PROBE_OPTIONS if self._listener.probes else _OPTIONS
        server = aio.server(handlers=[_Handlers(self._handlers())], options=options)
        try:
            if isinstance(address, TcpAddress):
                bound = await self._bind_tcp(server, address)
                await server.start()
            else:
                bound = self._listener.address
                self._unix = self._bind_unix(server, address.path)
                await server.start()
                self._unix.publish()
        except BaseException:
            await server.stop(None)
            if self._unix is not None:
                self._unix.release()
            raise
        self._server = server
        return bound

    async def idle(self) -> None:
        """Wait for ever: grpcio does not expose its connections."""
        await asyncio.Event().wait()

    async def renew(self, tls: Tls) -> None:
        """Serve new connections with these certificates; open ones continue. Raises ListenError."""
        server_context(tls)
        self._names = names_of(tls)
        for renewed in self._renewed:
            renewed[:] = [_certificates(tls)]

    async def drain(self, grace: float) -> None:
        """Accept no new call, finish running calls within ``grace`` seconds."""
        if self._server is None:
            return
        if self._unix is not None:
            self._unix.release()
        if self._streams_end is None:  # a stream would not end by itself
            self._streams_end = asyncio.get_running_loop().time()
            for wait in self._stream_waits:
                wait.reschedule(self._streams_end)
        await self._server.stop(grace)

    def _handlers(self) -> dict[str, "grpc.RpcMethodHandler[bytes, bytes]"]:
        handlers = {
            name: grpc.unary_unary_rpc_method_handler(self._unary_handler(name, method))
            for name, method in self._methods.unary.items()
        }
        for name, traced in self._methods.traced.items():
            handlers[name] = grpc.unary_unary_rpc_method_handler(
                self._unary_handler(name, traced, traced=True)
            )
        for name, stream in self._methods.streams.items():
            handlers[name] = grpc.unary_stream_rpc_method_handler(
                self._stream_handler(name, stream)
            )
        return handlers

    def _unary_handler(self, name: str, method: Any, *, traced: bool = False) -> Any:
        oversized = self._methods.oversized.get(name)

        async def handle(message: bytes, context: Any) -> bytes | None:
            await self._require_name(context)
            if len(message) > MAX_MESSAGE_BYTES:
                if oversized is None:
                    await context.abort(_EXHAUSTED, "the message is too large")
                return oversized
            remaining = context.time_remaining()
            try:
                deadline = None if remaining is None else monotonic() + remaining
                more = (_trace(context),) if traced else ()
                answer = method(message, deadline, *more)
                return answer if isinstance(answer, bytes) else await answer
            except RpcError as error:
                await context.abort(_CODES[error.code], error.message)
            except Exception:  # noqa: BLE001 -- grpcio would send the exception's text
                _log.exception("%s failed", name)
                await context.abort(grpc.StatusCode.INTERNAL, "internal error")
            return None

        return handle

    async def _require_name(self, context: Any) -> None:
        """End a call of a client whose certificate has none of ``client_names``."""
        if self._names is None:
            return
        authenticated = context.auth_context()
        dns, uris = (
            [name.decode("utf-8", "replace") for name in authenticated.get(kind, ())]
            for kind in ("peer_dns", "peer_uri")
        )
        if not self._names.admit_or_log(dns, uris):
            message = "no name in the client certificate matches listen.tls.client_names"
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, message)

    def _stream_handler(self, name: str, stream: ServerStream) -> Any:
        async def handle(message: bytes, context: Any) -> None:
            await self._require_name(context)
            answers = stream(message)
            try:
                while (answer := await self._next(answers)) is not None:
                    await context.write(answer)
            except RpcError as error:
                await context.abort(_CODES[error.code], error.message)
            except Exception:  # noqa: BLE001 -- grpcio would send the exception's text
                _log.exception("%s failed", name)
                await context.abort(grpc.StatusCode.INTERNAL, "internal error")

        return handle

    async def _next(self, answers: AsyncIterator[bytes]) -> bytes | None:
        """Wait for a stream's next message, None at its end. Raises RpcError when draining.

        Only this wait is cut off: grpcio cannot end a call after one of its writes was cancelled.
        """
        try:
            async with asyncio.timeout_at(self._streams_end) as scope:
                self._stream_waits.add(scope)
                try:
                    return await anext(answers, None)
                finally:
                    self._stream_waits.discard(scope)
        except TimeoutError:
            if scope.expired():
                raise RpcError(_UNAVAILABLE, "the server is draining") from None
            raise

    async def _bind_tcp(self, server: aio.Server, address: TcpAddress) -> str:
        # grpcio accepts no socket and reports little about a failure: bind the address to check
        # that it is free, then close it.
        claimed = await bind_tcp(address)
        hosts = [sock.getsockname()[0] for sock in claimed]
        for sock in claimed:
            sock.close()
        port = address.port
        for host in hosts:
            port = self._add_port(server, str(TcpAddress(host, port)))
        return str(address._replace(port=port))

    def _bind_unix(self, server: aio.Server, path: str) -> UnixPath:
        unix = UnixPath(path, self._listener.socket_mode)
        with unix.binding() as temporary:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.bind(temporary)
            Path(temporary).unlink()
            self._add_port(server, f"unix:{quote(temporary)}")  # grpcio decodes it as a URI path
        return unix

    def _add_port(self, server: aio.Server, address: str) -> int:
        tls = self._listener.tls
        try:
            if tls is None:
                return server.add_insecure_port(address)
            return server.add_secure_port(address, self._credentials(tls))
        except RuntimeError:
            raise ListenError(f"{self._listener.address}: grpcio cannot listen on it") from None

    def _credentials(self, tls: Tls) -> grpc.ServerCredentials:
        renewed: list[grpc.ServerCertificateConfiguration] = []
        self._renewed.append(renewed)

        def take_renewed() -> grpc.ServerCertificateConfiguration | None:
            """Return new certificates once, then None. grpcio's threads call it per connection.

            grpcio applies the result without a lock, so returning certificates each time crashes
            the process when connections arrive concurrently.
            """
            try:
                return renewed.pop()
            except IndexError:
                return None

        return grpc.dynamic_ssl_server_credentials(
            _certificates(tls),
            take_renewed,  # type: ignore[arg-type]  # -- None means no change, see grpcio's documentation
            require_client_authentication=tls.client_ca is not None,
        )


def _certificates(tls: Tls) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(tls.key, tls.certificate)], root_certificates=tls.client_ca
    )


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic only in its stubs
    """Finds a handler by the method's full name; grpcio answers UNIMPLEMENTED for None."""

    def __init__(self, handlers: "dict[str, grpc.RpcMethodHandler[bytes, bytes]]") -> None:
        self._handlers = handlers

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        return self._handlers.get(handler_call_details.method)


def _trace(context: Any) -> Traced | None:
    """Return what the caller sent of its trace."""
    metadata = dict(context.invocation_metadata() or ())
    parent, state = (metadata.get(name, "").encode() for name in ("traceparent", "tracestate"))
    return sent(parent, state)
