"""How large and how numerous what is in a Check may be, before protobuf makes objects of it."""

from collections.abc import Callable

import grpc
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from sidecar.extauthz import bounds, envelope
from sidecar.extauthz.bounds import CheckProblem, MalformedCheckError, bounded
from sidecar.extauthz.envelope import read_outline
from sidecar.extauthz.service import CHECK
from sidecar.pb.ext_authz_pb2 import CheckRequest, CheckResponse
from sidecar.transport.interface import MAX_MESSAGE_BYTES
from tests.edge.transport_rig import NewServer, call, talking
from tests.support.checks import check_request, envelope_of, reason_of, service
from tests.support.policies import snapshot

ATTRIBUTES, REQUEST, HTTP = b"\x0a", b"\x22", b"\x12"  # tags, from the outside in
HEADERS, HEADER_MAP, BODY, CONTEXT = b"\x1a", b"\x6a", b"\x5a", b"\x52"


def field(tag: bytes, content: bytes) -> bytes:
    """Return a field of a message, in protobuf's wire format."""
    size, left = b"", len(content)
    while left > 0x7F:
        size += bytes([left & 0x7F | 0x80])
        left >>= 7
    return tag + size + bytes([left]) + content


def pair(name: bytes, value: bytes = b"v") -> bytes:
    """Return what a header is in either map, and an entry of the context."""
    return field(b"\x0a", name) + field(b"\x12", value)


def about(http: bytes, more: bytes = b"") -> bytes:
    """Return a CheckRequest about what ``http`` holds, its attributes beginning with ``more``."""
    return field(ATTRIBUTES, more + field(REQUEST, field(HTTP, http)))


def header_map(*entries: bytes) -> bytes:
    """Return an HttpRequest's header map with a path and these."""
    headers = (pair(b":path", b"/open/1"), *entries)
    return field(HEADER_MAP, b"".join(field(b"\x0a", each) for each in headers))


def headers(*entries: bytes) -> bytes:
    """Return an HttpRequest's path, and its headers as Envoy cleans them."""
    return field(b"\x22", b"/open/1") + b"".join(field(HEADERS, each) for each in entries)


PATH = field(b"\x0a", pair(b":path", b"/open/1"))  # an entry of the header map


def numbered(count: int) -> list[bytes]:
    """Return so many headers of different names."""
    return [pair(b"x-%d" % number) for number in range(count)]


FLOODS: dict[str, Callable[[int], bytes]] = {
    "header map": lambda count: about(field(HEADER_MAP, b"\x0a\x00" * count)),
    "headers": lambda count: about((HEADERS + b"\x00") * count),
    "header maps": lambda count: about((HEADER_MAP + b"\x00") * count),
    "context": lambda count: field(ATTRIBUTES, (CONTEXT + b"\x00") * count),
    "names of one header": lambda count: about(
        field(HEADER_MAP, field(b"\x0a", b"\x0a\x00" * count))
    ),
    "attributes": lambda count: (ATTRIBUTES + b"\x00") * count,
    "unknown fields": lambda count: about(b"\x38\x01" * count),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_half_a_million_entries_are_refused_before_protobuf_sees_them(
    flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = FLOODS[flood](520_000)
    assert len(message) <= MAX_MESSAGE_BYTES
    monkeypatch.setattr(envelope, "CheckRequestOutline", None)
    with pytest.raises(MalformedCheckError) as refusal:
        read_outline(message)
    assert "too_many" in refusal.value.problem


@pytest.mark.parametrize("in_map", [header_map, headers])
@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        (lambda more: numbered(bounds.MAX_HEADERS - 1 + more), CheckProblem.TOO_MANY_HEADERS),
        (lambda more: [pair(b"n" * (bounds.MAX_NAME + more))], CheckProblem.HEADER_NAME_TOO_LONG),
    ],
    ids=["count", "name"],
)
def test_headers_are_bounded_in_number_and_their_names_in_size(
    in_map: Callable[..., bytes], entries: Callable[[int], list[bytes]], problem: CheckProblem
) -> None:
    """A path is one of them in the header map; without it there is room for one more."""
    found = envelope_of(about(in_map(*entries(0)))).request
    assert found.target == b"/open/1"
    assert len(found.headers) == len(entries(0))
    with pytest.raises(MalformedCheckError) as caught:
        envelope_of(about(in_map(*entries(2))))
    assert caught.value.problem is problem


def test_headers_of_both_maps_count_together() -> None:
    half = numbered(bounds.MAX_HEADERS * 3 // 4)
    with pytest.raises(MalformedCheckError, match=CheckProblem.TOO_MANY_HEADERS):
        envelope_of(about(headers(*half) + header_map(*half)))


def test_a_peer_is_bounded() -> None:
    message = about(header_map(), field(b"\x0a", bytes(bounds.MAX_PEER_BYTES + 1)))
    with pytest.raises(MalformedCheckError, match=CheckProblem.PEER_TOO_LARGE):
        envelope_of(message)


def test_the_context_is_bounded() -> None:
    def message(size: int) -> bytes:
        return about(header_map(), field(CONTEXT, pair(b"key", bytes(size))))

    assert envelope_of(message(bounds.MAX_CONTEXT_BYTES - 20)).request.target == b"/open/1"
    with pytest.raises(MalformedCheckError, match=CheckProblem.CONTEXT_TOO_LARGE):
        envelope_of(message(bounds.MAX_CONTEXT_BYTES))


def test_a_body_that_fits_into_the_message_is_accepted() -> None:
    message = about(header_map() + field(BODY, bytes(MAX_MESSAGE_BYTES - 1000)))
    assert envelope_of(message).request.target == b"/open/1"


def test_a_field_that_ends_beyond_its_message_is_refused() -> None:
    whole = about(header_map() + field(BODY, bytes(20_000)))
    for message in (whole[:-1], whole + b"\x0a\x05ab", whole + b"\x09", whole + b"\xff" * 11):
        with pytest.raises(MalformedCheckError, match=CheckProblem.NOT_A_CHECK_REQUEST):
            read_outline(message)


@given(st.lists(st.tuples(st.integers(0, 20_200), st.binary(max_size=3)), max_size=4))
def test_what_is_refused_as_no_check_request_is_none_to_protobuf(
    changes: list[tuple[int, bytes]],
) -> None:
    octets = bytearray(about(header_map(*numbered(20)) + field(BODY, bytes(20_000))))
    for position, other in changes:
        octets[position : position + len(other)] = other
    message = bytes(octets)
    try:
        bounded(message)
    except MalformedCheckError as error:
        if error.problem is CheckProblem.NOT_A_CHECK_REQUEST:
            with pytest.raises(DecodeError):
                CheckRequest.FromString(message)


@pytest.mark.parametrize(
    "make",
    [
        lambda: about(header_map(pair(b"n" * (15 * 1024 * 1024)))),
        lambda: about(field(HEADER_MAP, PATH + b"\x0a\x00" * 1_000_000)),
        lambda: about(header_map() + field(BODY, bytes(2 * MAX_MESSAGE_BYTES))),
    ],
    ids=["a name of 15 MiB", "a million headers", "a large body"],
)
async def test_what_is_too_much_is_denied_properly_over_every_transport(
    make: Callable[[], bytes], transport: NewServer
) -> None:
    async with talking(transport, service(snapshot()).methods()) as channel:
        try:
            answer = await call(channel, CHECK, make())
        except grpc.aio.AioRpcError as error:
            pytest.fail(f"an error may be an allow to Envoy: {error}")
        denied = CheckResponse.FromString(answer)
        assert reason_of(denied) == "malformed_request"
        assert denied.denied_response.status.code == 400
        again = CheckResponse.FromString(await call(channel, CHECK, check_request(b"/open/1")))
        assert reason_of(again) == "public"
