"""Envoy's side of a Check: the message that it sends, and how it reads the answer.

For tools and tests; ``serve`` does not import it.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sidecar.core.request import Request
from sidecar.pb.ext_authz_pb2 import CheckRequest, CheckResponse

_OK = 0
_TIME = b"\x08\x01"  # a Timestamp of one second


class EnvoyAnswer(NamedTuple):
    """What Envoy does with a request.

    ``headers`` are set on the request if it is allowed, and on the response if it is denied;
    ``removed`` are removed from the request, ``removed_queries`` from its query. ``status`` is that
    of the denial, else 200.
    """

    allowed: bool
    status: int
    headers: tuple[tuple[str, str], ...]
    removed: tuple[str, ...]
    removed_queries: tuple[str, ...]
    body: str
    metadata: Mapping[str, str]


def check_message(request: Request) -> bytes:
    """Return the CheckRequest for a request, as Envoy sends it with ``encode_raw_headers``."""
    message = CheckRequest()
    message.attributes.destination.address.socket_address.port_value = 10000
    message.attributes.request.time = _TIME
    http = message.attributes.request.http
    http.id, http.method, http.host = "1", request.method, request.host
    http.path = request.target.decode("utf-8", "replace").replace("\ufffd", "!")
    message.attributes.source.principal = request.peer
    pseudo = ((":path", request.target), (":method", request.method.encode()))
    for name, value in (*pseudo, *_pairs(request.headers)):
        http.header_map.headers.add(key=name, raw_value=value)
    return message.SerializeToString()


def read_answer(message: bytes) -> EnvoyAnswer:
    """Read a CheckResponse as Envoy does: status OK allows."""
    response = CheckResponse.FromString(message)
    metadata = {
        name: value.string_value for name, value in response.dynamic_metadata.fields.items()
    }
    if response.status.code == _OK and response.WhichOneof("http_response") != "denied_response":
        ok = response.ok_response
        removed, queries = tuple(ok.headers_to_remove), tuple(ok.query_parameters_to_remove)
        set_on_request = tuple((each.header.key, each.header.value) for each in ok.headers)
        return EnvoyAnswer(True, 200, set_on_request, removed, queries, "", metadata)
    denied = response.denied_response
    headers = tuple((each.header.key, each.header.value) for each in denied.headers)
    return EnvoyAnswer(False, denied.status.code, headers, (), (), denied.body, metadata)


def _pairs(headers: Mapping[str, Iterable[bytes]]) -> Iterable[tuple[str, bytes]]:
    return ((name, value) for name, values in headers.items() for value in values)
