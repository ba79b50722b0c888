"""A Basic Server that speaks gRPC: it echoes, and remembers the metadata of each call."""

import grpc

METHOD = "/jobfirst.Echo/Say"

Metadata = tuple[tuple[str, str | bytes], ...]


class GrpcUpstream:
    """A gRPC server on loopback, messages being plain bytes; ``calls`` holds what arrived."""

    def __init__(self) -> None:
        self.port = 0
        self.calls: list[Metadata] = []
        self._server = grpc.aio.server()

    async def start(self) -> None:
        """Listen on a free port."""
        handlers = {"Say": grpc.unary_unary_rpc_method_handler(self._say)}
        service = grpc.method_handlers_generic_handler("jobfirst.Echo", handlers)
        self._server.add_generic_rpc_handlers((service,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

    async def stop(self) -> None:
        """End every call."""
        await self._server.stop(grace=None)

    async def _say(self, message: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        self.calls.append(tuple(context.invocation_metadata() or ()))
        return message
