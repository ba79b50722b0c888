"""grpc.health.v1: Check, Watch and List on any transport.

Follows https://github.com/grpc/grpc/blob/master/doc/health-checking.md. Only the messages are
from grpcio-health-checking; this module does not import grpc.
"""

from collections.abc import AsyncIterator, Mapping

from google.protobuf.message import DecodeError
from grpc_health.v1.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListResponse,
)

from sidecar.transport.interface import HealthSource, Methods, RpcError

_INVALID_ARGUMENT, _NOT_FOUND = 3, 5


def _answer(status: int) -> bytes:
    message: bytes = HealthCheckResponse(status=status).SerializeToString()
    return message


_SERVING = _answer(HealthCheckResponse.SERVING)
_NOT_SERVING = _answer(HealthCheckResponse.NOT_SERVING)
_SERVICE_UNKNOWN = _answer(HealthCheckResponse.SERVICE_UNKNOWN)


def health_methods(source: HealthSource) -> Methods:
    """Serve the states of ``source``; None is a service that is unknown, perhaps not yet known."""

    def check(message: bytes, _deadline: float | None) -> bytes:
        status = source.statuses().get(_service(message))
        if status is None:
            raise RpcError(_NOT_FOUND, "unknown service")
        return _SERVING if status else _NOT_SERVING

    async def watch(message: bytes) -> AsyncIterator[bytes]:
        service = _service(message)
        sent = b""
        while True:
            change = source.changed()  # before reading the state, so that no change is missed
            answer = _watched(source.statuses(), service)
            if answer != sent:
                yield answer
                sent = answer
            await change

    def list_all(_message: bytes, _deadline: float | None) -> bytes:
        response = HealthListResponse()
        for name, status in source.statuses().items():
            if status is not None:
                response.statuses[name].ParseFromString(_SERVING if status else _NOT_SERVING)
        message: bytes = response.SerializeToString()
        return message

    return Methods(
        unary={"/grpc.health.v1.Health/Check": check, "/grpc.health.v1.Health/List": list_all},
        streams={"/grpc.health.v1.Health/Watch": watch},
    )


def _service(message: bytes) -> str:
    try:
        service: str = HealthCheckRequest.FromString(message).service
    except DecodeError:
        raise RpcError(_INVALID_ARGUMENT, "invalid HealthCheckRequest") from None
    return service


def _watched(statuses: Mapping[str, bool | None], service: str) -> bytes:
    status = statuses.get(service)
    if status is None:
        return _SERVICE_UNKNOWN
    return _SERVING if status else _NOT_SERVING
