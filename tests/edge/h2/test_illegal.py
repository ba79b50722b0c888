"""Each violation of HTTP/2 gets the right error code, on the stream or the connection."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.transport.h2 import wire
from sidecar.transport.h2.hpack import literal
from sidecar.transport.h2.wire import ErrorCode
from tests.edge.h2.peer import (
    ACKNOWLEDGED,
    HEADERS,
    Ours,
    block,
    data,
    frames,
    goaway_of,
    headers,
    prefixed,
    request,
    resets_of,
)
from tests.edge.h2.targets import read_frames

PROTOCOL, SIZE, FLOW = (
    ErrorCode.PROTOCOL_ERROR,
    ErrorCode.FRAME_SIZE_ERROR,
    ErrorCode.FLOW_CONTROL_ERROR,
)
CLOSED, COMPRESSION = ErrorCode.STREAM_CLOSED, ErrorCode.COMPRESSION_ERROR

frame = wire.frame
BEGUN = wire.frame(wire.HEADERS, 0, 1, block()[:9])  # an incomplete header block
PADDED = wire.PADDED | wire.END_HEADERS


def setting(name: int, value: int) -> bytes:
    """Return SETTINGS with one value."""
    return wire.settings({name: value})


# Input after a valid preface, and the error code that ends the connection (5.4.1).
CONNECTION_ERRORS = {
    "4.2 a frame over MAX_FRAME_SIZE": (frame(wire.DATA, 0, 1, bytes(16_385)), SIZE),
    "4.3 an index that no table has": (headers(1, payload=b"\xfe"), COMPRESSION),
    "4.3 a block cut off": (headers(1, payload=block()[:-1]), COMPRESSION),
    "4.3 nonsense in trailers": (headers(1) + headers(1, end=True, payload=b"\x80"), COMPRESSION),
    "5.1 DATA on an idle stream": (data(1, b""), PROTOCOL),
    "5.1 RST_STREAM on an idle stream": (wire.rst_stream(1, ErrorCode.CANCEL), PROTOCOL),
    "5.1 WINDOW_UPDATE on an idle stream": (wire.window_update(1, 1), PROTOCOL),
    "5.1 CONTINUATION on an idle stream": (frame(wire.CONTINUATION, 4, 1, b""), PROTOCOL),
    "5.1 HEADERS on a closed stream": (
        headers(1) + wire.rst_stream(1, ErrorCode.CANCEL) + headers(1),
        CLOSED,
    ),
    "5.1.1 an even stream": (headers(2), PROTOCOL),
    "5.1.1 a stream below another": (headers(9) + headers(5), PROTOCOL),
    "5.1.1 DATA on an even stream": (headers(3) + data(2, b""), PROTOCOL),
    "6.1 DATA on stream 0": (data(0, b""), PROTOCOL),
    "6.1 more padding than DATA": (
        headers(1) + frame(wire.DATA, wire.PADDED, 1, b"\x04abc"),
        PROTOCOL,
    ),
    "6.1 PADDED DATA without a length": (headers(1) + frame(wire.DATA, wire.PADDED, 1), SIZE),
    "6.2 HEADERS on stream 0": (headers(0), PROTOCOL),
    "6.2 more padding than HEADERS": (frame(wire.HEADERS, PADDED, 1, b"\xff" + block()), PROTOCOL),
    "6.2 no room for the priority": (
        frame(wire.HEADERS, wire.END_HEADERS | wire.HAS_PRIORITY, 1, b"abc"),
        SIZE,
    ),
    "6.3 PRIORITY on stream 0": (frame(wire.PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "6.3 PRIORITY of a wrong size": (frame(wire.PRIORITY, 0, 1, bytes(4)), SIZE),
    "6.4 RST_STREAM on stream 0": (wire.rst_stream(0, ErrorCode.CANCEL), PROTOCOL),
    "6.4 RST_STREAM of a wrong size": (headers(1) + frame(wire.RST_STREAM, 0, 1, b"abc"), SIZE),
    "6.5 SETTINGS on a stream": (frame(wire.SETTINGS, 0, 1), PROTOCOL),
    "6.5 SETTINGS of a wrong size": (frame(wire.SETTINGS, 0, 0, b"abc"), SIZE),
    "6.5 an acknowledgement with values": (frame(wire.SETTINGS, wire.ACK, 0, bytes(6)), SIZE),
    "6.5.2 ENABLE_PUSH of 2": (setting(wire.ENABLE_PUSH, 2), PROTOCOL),
    "6.5.2 too large a window": (setting(wire.INITIAL_WINDOW_SIZE, 2**31), FLOW),
    "6.5.2 too small a frame": (setting(wire.MAX_FRAME_SIZE, 2**14 - 1), PROTOCOL),
    "6.5.2 too large a frame": (setting(wire.MAX_FRAME_SIZE, 2**24), PROTOCOL),
    "6.6 PUSH_PROMISE": (headers(1) + frame(wire.PUSH_PROMISE, 4, 1, bytes(4)), PROTOCOL),
    "6.7 PING on a stream": (frame(wire.PING, 0, 1, bytes(8)), PROTOCOL),
    "6.7 PING of a wrong size": (frame(wire.PING, 0, 0, bytes(7)), SIZE),
    "6.8 GOAWAY on a stream": (frame(wire.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "6.8 GOAWAY of a wrong size": (frame(wire.GOAWAY, 0, 0, bytes(7)), SIZE),
    "6.9 WINDOW_UPDATE of a wrong size": (frame(wire.WINDOW_UPDATE, 0, 0, b"abc"), SIZE),
    "6.9 WINDOW_UPDATE of nothing": (wire.window_update(0, 0), PROTOCOL),
    "6.9.1 the connection's window over 2^31-1": (wire.window_update(0, 2**31 - 1), FLOW),
    "6.9.2 a stream's window over 2^31-1 by SETTINGS": (
        headers(1) + wire.window_update(1, 100_000) + setting(wire.INITIAL_WINDOW_SIZE, 2**31 - 1),
        FLOW,
    ),
    "6.10 a frame within a block": (BEGUN + frame(wire.PING, 0, 0, bytes(8)), PROTOCOL),
    "6.10 an unknown frame within a block": (BEGUN + frame(0xEE, 0, 0), PROTOCOL),
    "6.10 CONTINUATION on another stream": (BEGUN + frame(wire.CONTINUATION, 4, 3), PROTOCOL),
    "6.10 CONTINUATION after END_HEADERS": (headers(1) + frame(wire.CONTINUATION, 4, 1), PROTOCOL),
}


@pytest.mark.parametrize("rule", CONNECTION_ERRORS)
def test_a_connection_error_ends_the_connection_with_its_code(rule: str) -> None:
    octets, code = CONNECTION_ERRORS[rule]
    for size in (1, len(octets)):
        ours = Ours(ACKNOWLEDGED)
        for start in range(0, len(octets), size):
            ours.feed(octets[start : start + size])
        assert ours.connection.done
        assert goaway_of(ours.taken()).error_code == code
        ours.feed(request(99))
        assert (ours.requests, ours.taken()) == ([], b"")


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX",
        wire.PREFACE + frame(wire.PING, 0, 0, bytes(8)),
        wire.PREFACE + headers(1),
        wire.PREFACE + frame(wire.SETTINGS, wire.ACK, 0),
    ],
)
def test_an_invalid_preface_ends_the_connection(octets: bytes) -> None:
    ours = Ours()
    for octet in octets:
        ours.feed(bytes([octet]))
    assert goaway_of(ours.taken()).error_code == PROTOCOL


def malformed(*more: tuple[str, str], without: str = "") -> bytes:
    """Return a request with different headers."""
    kept = [header for header in HEADERS if header[0] != without]
    return headers(1, payload=block(headers=[*kept, *more]))


COMPLETE = request(1)
LONGER = malformed(("content-length", "7")) + data(1, prefixed(b""))

# Input on stream 1, and the error code that resets it (5.4.2).
STREAM_ERRORS = {
    "5.1 DATA after END_STREAM": (COMPLETE + data(1, b""), CLOSED),
    "5.1 trailers after END_STREAM": (COMPLETE + headers(1, end=True), CLOSED),
    "5.1 DATA after RST_STREAM": (
        headers(1) + wire.rst_stream(1, ErrorCode.CANCEL) + data(1, b""),
        CLOSED,
    ),
    "6.9 WINDOW_UPDATE of nothing": (headers(1) + wire.window_update(1, 0), PROTOCOL),
    "6.9.1 a window over 2^31-1": (headers(1) + wire.window_update(1, 2**31 - 1), FLOW),
    "8.1 trailers without END_STREAM": (
        headers(1) + headers(1, payload=block(headers=[("x", "y")])),
        PROTOCOL,
    ),
    "8.1 a pseudo-header in trailers": (headers(1) + headers(1, end=True), PROTOCOL),
    "8.1.1 less body than content-length": (LONGER, PROTOCOL),
    "8.1.1 content-length that is none": (malformed(("content-length", "5x")), PROTOCOL),
    "8.1.1 two content-lengths": (
        malformed(("content-length", "5"), ("content-length", "6")),
        PROTOCOL,
    ),
    "8.2 upper case": (malformed(("X-A", "b")), PROTOCOL),
    "8.2.1 a space in a name": (malformed(("x a", "b")), PROTOCOL),
    "8.2.1 an empty name": (malformed(("", "b")), PROTOCOL),
    "8.2.1 LF in a value": (malformed(("x-a", "b\nc")), PROTOCOL),
    "8.2.1 NUL in a value": (malformed(("x-a", "b\0")), PROTOCOL),
    "8.2.1 a space before a value": (malformed(("x-a", " b")), PROTOCOL),
    "8.2.1 a tab after a value": (malformed(("x-a", "b\t")), PROTOCOL),
    "8.2.1 CR in the path": (malformed((":path", "/a\r"), without=":path"), PROTOCOL),
    "8.2.2 connection": (malformed(("connection", "close")), PROTOCOL),
    "8.2.2 transfer-encoding": (malformed(("transfer-encoding", "chunked")), PROTOCOL),
    "8.2.2 te other than trailers": (malformed(("te", "gzip"), without="te"), PROTOCOL),
    "8.3 a pseudo-header after a header": (malformed((":path", "/"), without=":path"), PROTOCOL),
    "8.3 a response's pseudo-header": (
        headers(1, payload=block(headers=[(":status", "200"), *HEADERS])),
        PROTOCOL,
    ),
    "8.3.1 no method": (malformed(without=":method"), PROTOCOL),
    "8.3.1 no scheme": (malformed(without=":scheme"), PROTOCOL),
    "8.3.1 no path": (malformed(without=":path"), PROTOCOL),
    "8.3.1 two paths": (headers(1, payload=block(headers=[(":path", "/"), *HEADERS])), PROTOCOL),
    "8.3.1 an empty path": (
        headers(1, payload=block(headers=[(":path", ""), *HEADERS[:2], *HEADERS[3:]])),
        PROTOCOL,
    ),
    "8.3.1 a path that is none": (
        headers(1, payload=block(headers=[(":path", "x/y"), *HEADERS[:2], *HEADERS[3:]])),
        PROTOCOL,
    ),
    "8.5 CONNECT": (
        headers(1, payload=block(headers=[(":method", "CONNECT"), (":authority", "x:1")])),
        PROTOCOL,
    ),
    "8.5 CONNECT with a path": (
        headers(1, payload=block(headers=[(":method", "CONNECT"), *HEADERS[1:]])),
        PROTOCOL,
    ),
}


@pytest.mark.parametrize("rule", STREAM_ERRORS)
def test_a_stream_error_resets_the_stream_and_the_next_is_served(rule: str) -> None:
    octets, code = STREAM_ERRORS[rule]
    for size in (1, len(octets)):
        ours = Ours(ACKNOWLEDGED)
        for start in range(0, len(octets), size):
            ours.feed(octets[start : start + size])
        assert resets_of(ours.taken()) == {1: code}
        assert 1 not in ours.connection.streams
        ours.feed(request(3, b"next"))
        assert [stream.id for stream in ours.requests if stream.id != 1] == [3]
        assert not ours.connection.done


def test_frames_in_flight_to_a_stream_that_we_reset_are_ignored() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(malformed(("X-A", "b")))
    ours.taken()
    ours.feed(data(1, b"abc", end=False) + wire.window_update(1, 5) + headers(1, end=True))
    ours.feed(wire.rst_stream(1, ErrorCode.CANCEL))
    assert ours.taken() == b""
    assert not ours.connection.done


def test_a_request_before_the_error_is_answered_before_the_goaway() -> None:
    ours = Ours(ACKNOWLEDGED)
    [stream] = ours.connection.receive(request(1, b"first") + frame(wire.PING, 0, 0, b""), now=0.0)
    ours.answer(stream)
    kinds = [type(one).__name__ for one in frames(ours.taken())]
    assert kinds == ["HeadersFrame", "DataFrame", "HeadersFrame", "GoAwayFrame"]


ANY_FRAME = st.builds(
    frame,
    st.integers(0, 10),
    st.integers(0, 255),
    st.integers(0, 6),
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from([block(), prefixed(b"x"), bytes(4), bytes(8), b"\0\0\0\1"]),
    ),
)


@given(st.integers(0, 255), st.lists(st.one_of(ANY_FRAME, st.binary(max_size=30)), max_size=30))
@settings(max_examples=200)
def test_no_input_raises_an_exception_or_prevents_an_answer(size: int, octets: list[bytes]) -> None:
    read_frames(bytes([size]) + b"".join(octets))


@pytest.mark.parametrize("size", [10, 1000])
@pytest.mark.parametrize("octet", [b"\0", b"\r", b"\n", b" ", b"\t"])
@pytest.mark.parametrize("place", ["first", "last", "within"])
def test_field_values_with_line_breaks_or_outer_blanks_are_refused_at_any_length(
    size: int, octet: bytes, place: str
) -> None:
    rest = b"v" * size
    value = {"first": octet + rest, "last": rest + octet, "within": rest + octet + rest}[place]
    ours = Ours(ACKNOWLEDGED)
    plain = b"".join(literal(name.encode(), text.encode()) for name, text in HEADERS)
    ours.feed(headers(1, payload=plain + literal(b"x-a", value)) + data(1, prefixed(b"")))
    allowed = place == "within" and octet in b" \t"
    assert len(ours.requests) == allowed
