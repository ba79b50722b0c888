"""CheckRequest bytes to a request, and what else the answer and the log need of them."""

import re
from typing import NamedTuple

from google.protobuf.message import DecodeError

from sidecar.core.decision import Surroundings
from sidecar.core.request import Request
from sidecar.pb.ext_authz_pb2 import AttributeContext, CheckRequest

_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # the rest is a client's play


class MalformedCheckError(Exception):
    """The bytes are no CheckRequest about an HTTP request."""


class Envelope(NamedTuple):
    """A request as Envoy sent it."""

    request: Request
    attributes: AttributeContext

    @property
    def request_id(self) -> str | None:
        """Envoy's ``x-request-id``, None where it is not fit to be shown: a client may send it."""
        values = self.request.headers.get("x-request-id", ())
        if len(values) == 1 and _SANE_ID.fullmatch(values[0]):
            return values[0].decode("ascii")
        return None

    @property
    def is_grpc(self) -> bool:
        """Whether the client speaks gRPC (or gRPC-Web), which reads statuses from trailers."""
        return self.first("content-type").startswith("application/grpc")

    def surroundings(self) -> Surroundings:
        """Return what only the decision log wants."""
        attributes = self.attributes
        return Surroundings(
            address_of(attributes.source),
            address_of(attributes.destination),
            tuple(attributes.context_extensions.items()),
        )

    def first(self, name: str) -> str:
        """Return a header's first value as text, empty where there is none."""
        values = self.request.headers.get(name)
        return values[0].decode("latin-1") if values else ""


def open_envelope(message: bytes) -> Envelope:
    """Read the bytes of a CheckRequest.

    Raises MalformedCheckError; what the request itself says wrongly is for the decision to judge.
    """
    try:
        attributes = CheckRequest.FromString(message).attributes
    except DecodeError:
        raise MalformedCheckError("the message is no CheckRequest") from None
    http = attributes.request.http
    headers: dict[str, tuple[bytes, ...]] = {}
    # Envoy fills one of the two. Were both filled, a name in both would count as repeated.
    if http.headers:
        for name, text in http.headers.items():
            headers[name.lower()] = (text.encode(),)
    faithful = http.HasField("header_map")
    if faithful:
        for entry in http.header_map.headers:
            name = entry.key.lower()
            value = entry.raw_value or entry.value.encode()
            headers[name] = (*headers[name], value) if name in headers else (value,)
    elif not headers:
        raise MalformedCheckError("the message has no HTTP attributes")
    if faithful:
        # `http.path` has Envoy's `!` for bytes that are not UTF-8; `:path` is what the upstream
        # will get.
        targets = headers.pop(":path", ())
        if len(targets) != 1:
            raise MalformedCheckError("the request has no single :path")
        target = targets[0]
    else:
        target = http.path.encode()
    return Envelope(Request(http.method, http.host, target, headers, faithful), attributes)


def address_of(peer: AttributeContext.Peer) -> str:
    """Return a peer's address as ``host:port`` or ``unix:path``, empty where Envoy named none."""
    kind = peer.address.WhichOneof("address")
    if kind == "socket_address":
        address = peer.address.socket_address
        host = f"[{address.address}]" if ":" in address.address else address.address
        return f"{host}:{address.port_value}"
    if kind == "pipe":
        return f"unix:{peer.address.pipe.path}"
    return ""
