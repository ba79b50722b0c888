"""Read a CheckRequest: the request, and what else the answer and the log need."""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.message import DecodeError

from sidecar.core.decision import PeerInfo
from sidecar.core.request import Request
from sidecar.extauthz.bounds import (
    MAX_HEADERS,
    MAX_NAME,
    CheckProblem,
    MalformedCheckError,
    bounded,
)
from sidecar.pb.ext_authz_pb2 import (
    AttributeContext,
    AttributeContextOutline,
    CheckRequestOutline,
    HeaderMap,
)

is_sane = re.compile(rb"[0-9A-Za-z][0-9A-Za-z._-]{0,63}").fullmatch
"""Whether an id is safe to show: 64 characters at most, since a client may have sent it."""


class Envelope(NamedTuple):
    """A request as Envoy sent it; ``x-request-id`` is separate because it is Envoy's own."""

    request: Request
    request_ids: Sequence[bytes]

    @property
    def request_id(self) -> str:
        """Envoy's id as text, empty if it is not safe to show: a client may have sent it."""
        ids = self.request_ids
        return ids[0].decode("ascii") if len(ids) == 1 and is_sane(ids[0]) else ""

    @property
    def is_grpc(self) -> bool:
        """Whether the client speaks gRPC (or gRPC-Web), which reads statuses from trailers."""
        return self.first("content-type").startswith("application/grpc")

    def first(self, name: str) -> str:
        """Return a header's first value as text, empty if there is none."""
        values = self.request.headers.get(name)
        return values[0].decode("latin-1") if values else ""


def read_outline(message: bytes) -> AttributeContextOutline:
    """Read the bytes of a CheckRequest, its headers as bytes. Raises MalformedCheckError."""
    bounded(message)
    try:
        return CheckRequestOutline.FromString(message).attributes
    except DecodeError:
        raise MalformedCheckError(CheckProblem.NOT_A_CHECK_REQUEST) from None


def open_envelope(attributes: AttributeContextOutline, with_peer: bool = False) -> Envelope:
    """Read the request that a CheckRequest is about, with the peer's identity only on demand.

    Raises MalformedCheckError; ``decide`` checks the request itself.
    """
    http = attributes.request.http
    # Envoy fills one of the two. If both are filled, a name in both counts as repeated.
    cleaned, header_maps = http.headers, http.header_map
    headers: dict[str, list[bytes]] = {}
    if cleaned:
        headers = {name.lower(): [text.encode()] for name, text in cleaned.items()}
    raw_headers = len(header_maps) == 1
    if raw_headers:
        _add_raw(header_maps[0], headers)
        # In `http.path` Envoy replaces bytes that are not UTF-8 by `!`; the upstream gets `:path`.
        targets = headers.pop(":path", [])
        if len(targets) != 1:
            raise MalformedCheckError(CheckProblem.NO_SINGLE_PATH)
        target = targets[0]
    elif headers and not header_maps:
        if len(headers) > MAX_HEADERS:
            raise MalformedCheckError(CheckProblem.TOO_MANY_HEADERS)
        if max(map(len, headers)) > MAX_NAME:
            raise MalformedCheckError(CheckProblem.HEADER_NAME_TOO_LONG)
        target = http.path.encode()
    else:
        raise MalformedCheckError(CheckProblem.NO_HTTP_ATTRIBUTES)
    ids = headers.pop("x-request-id", [])
    peer = principal_of(attributes.source) if with_peer else ""
    # A NamedTuple's own constructor takes twice as long.
    request = tuple.__new__(Request, (http.method, http.host, target, headers, raw_headers, peer))
    return tuple.__new__(Envelope, (request, ids))


def _add_raw(header_map: bytes, headers: dict[str, list[bytes]]) -> None:
    """Add the headers of an encoded HeaderMap by lower-case name.

    Raises MalformedCheckError.
    """
    try:
        entries = HeaderMap.FromString(header_map).headers
    except DecodeError:
        raise MalformedCheckError(CheckProblem.NOT_A_CHECK_REQUEST) from None
    if len(entries) + len(headers) > MAX_HEADERS:
        raise MalformedCheckError(CheckProblem.TOO_MANY_HEADERS)
    if len(header_map) > MAX_NAME and max(len(entry.key) for entry in entries) > MAX_NAME:
        raise MalformedCheckError(CheckProblem.HEADER_NAME_TOO_LONG)
    for entry in entries[:]:  # iterating over a copy takes less time
        value = entry.raw_value or entry.value.encode()
        headers.setdefault(entry.key.lower(), []).append(value)


def principal_of(source: bytes) -> str:
    """Return the identity in a Peer's verified certificate: first URI, DNS name, or subject.

    Empty without one. Raises MalformedCheckError.
    """
    try:
        return AttributeContext.Peer.FromString(source).principal
    except DecodeError:
        raise MalformedCheckError(CheckProblem.NOT_A_CHECK_REQUEST) from None


def peer_info(message: bytes) -> PeerInfo:
    """Return the parts of a CheckRequest that only the decision log needs."""
    try:
        attributes = read_outline(message)
    except MalformedCheckError:
        return PeerInfo()
    return PeerInfo(
        address_of(attributes.source),
        address_of(attributes.destination),
        tuple(attributes.context_extensions.items()),
    )


def address_of(message: bytes) -> str:
    """Return a Peer's address as ``host:port`` or ``unix:path``, empty if it has none."""
    # With the peer's certificate it is neither small nor likely to be repeated.
    return _short_address_of(message) if len(message) <= MAX_SHORT else _address_of(message)


def _address_of(message: bytes) -> str:
    try:
        address = AttributeContext.Peer.FromString(message).address
    except DecodeError:
        return ""
    kind = address.WhichOneof("address")
    if kind == "socket_address":
        found = address.socket_address
        host = f"[{found.address}]" if ":" in found.address else found.address
        return f"{host}:{found.port_value}"
    if kind == "pipe":
        return f"unix:{address.pipe.path}"
    return ""


MAX_SHORT = 256  # bytes of a Peer whose address is cached: a connection has many requests
_short_address_of = lru_cache(maxsize=256)(_address_of)
