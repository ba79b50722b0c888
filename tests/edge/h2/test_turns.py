"""When one or many peers send too much, others still have their turns."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable

import hpack
import pytest

from sidecar.transport.h2 import Server, limits, wire
from sidecar.transport.h2.hpack import Field, literal
from sidecar.transport.interface import Methods
from tests.edge.h2.peer import (
    ACKNOWLEDGED,
    ECHO,
    HEADERS,
    Ours,
    data,
    headers,
    prefixed,
    request,
)
from tests.edge.h2.test_server import answered, peer, serving

NUMBERS = range(1, 8_001, 2)
PLAIN = b"".join(literal(name.encode(), value.encode()) for name, value in HEADERS)
# A field of 3.9 KB for the table, then blocks of some 100 bytes that refer to it repeatedly.
LARGE = PLAIN + b"\x40\x01a\x7f\xbd\x1d" + b"v" * 3900
REFERRING = PLAIN + b"\xbe" * 18
HUFFMAN = PLAIN + b"\x00\x01a" + hpack.Encoder().encode([("a", "~" * 9000)])[2:]


def whole(number: int, block: bytes = PLAIN, message: bytes = b"") -> bytes:
    """Return a call with a given header block."""
    return headers(number, payload=block) + data(number, prefixed(message))


def split(octets: bytes, size: int) -> list[bytes]:
    """Split into pieces of a size; the last may be shorter."""
    return [octets[start : start + size] for start in range(0, len(octets), size)]


def continued(number: int, octets: bytes, flags: int) -> bytes:
    """Return a header block of several full frames."""
    first, *more = split(octets, limits.MAX_FRAME)
    out = wire.frame(wire.HEADERS, flags, number, first)
    for piece in more[:-1]:
        out += wire.frame(wire.CONTINUATION, 0, number, piece)
    return out + wire.frame(wire.CONTINUATION, wire.END_HEADERS, number, more[-1])


FLOODS: dict[str, Callable[[], bytes]] = {
    "requests": lambda: b"".join(whole(number) for number in NUMBERS),
    "requests, each reset": lambda: b"".join(
        whole(number) + wire.rst_stream(number, wire.ErrorCode.CANCEL) for number in NUMBERS
    ),
    "requests that refer to a large field": lambda: (
        whole(1, LARGE) + b"".join(whole(number, REFERRING) for number in NUMBERS[1:])
    ),
    "trailers that refer to a large field": lambda: (
        whole(1, LARGE)
        + b"".join(
            headers(number, payload=PLAIN) + headers(number, end=True, payload=b"\xbe" * 18)
            for number in NUMBERS[1:]
        )
    ),
    "Huffman text": lambda: b"".join(whole(number, HUFFMAN) for number in NUMBERS[:100]),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_the_work_of_one_read_is_bounded_by_what_the_input_decodes_to(flood: str) -> None:
    ours = Ours(ACKNOWLEDGED)
    connection, decoder = ours.connection, ours.connection._receiver._decoder
    decode, decoded = decoder.decode, 0

    def counted(block: bytes, max_size: int) -> list[Field]:
        nonlocal decoded
        fields = decode(block, max_size)
        decoded += sum(32 + len(name) + len(value) for name, value in fields)
        return fields

    decoder.decode = counted  # type: ignore[method-assign]  # -- to see what it is asked for
    octets = FLOODS[flood]()
    slices, left = 0, True
    while left:
        before, decoded = len(connection.streams), 0
        for stream in connection.receive(octets, 0.0):
            if stream.ending is None:
                connection.sender.answer(stream, b"")
        octets, left = b"", connection.unread
        slices += 1
        assert decoded <= limits.SLICE * limits.FIELD_BYTES + limits.MAX_HEADER_BLOCK
        assert len(connection.streams) - before <= limits.SLICE
    assert slices > 4 or connection.done


class Rounds:
    """Counts the rounds of the event loop until ``ended``."""

    def __init__(self) -> None:
        self.number = 0
        self.ended = False
        self._count()

    def _count(self) -> None:
        self.number += 1
        if not self.ended:
            asyncio.get_running_loop().call_soon(self._count)


def furthest(one: Server) -> int:
    """Return the highest stream ID that a peer has opened."""
    return max(each._connection._receiver.last for each in one._connections)


@pytest.mark.parametrize(
    "flood",
    ["requests", "requests, each reset", "requests that refer to a large field"],
)
@pytest.mark.usefixtures("both_loops")
async def test_a_peer_is_answered_during_anothers_flood(flood: str) -> None:
    methods = Methods({ECHO: lambda message, _deadline: message}, {})
    async with serving(methods) as (one, address), peer(address) as bad, peer(address) as good:
        good.send(request(1))
        await answered(good, 1)
        reading = asyncio.ensure_future(bad.reader.read(-1))  # so that the server can keep writing
        bad.send(FLOODS[flood]())
        begun = furthest(one)
        while furthest(one) == begun:  # noqa: ASYNC110 -- a round of the loop each, and no more
            await asyncio.sleep(0)
        good.send(request(3))
        await answered(good, 3)
        assert furthest(one) < NUMBERS[-1], "the flood is not over"
        reading.cancel()


@pytest.mark.usefixtures("both_loops")
async def test_many_peers_of_health_get_no_more_of_a_round_than_one() -> None:
    rounds = Rounds()
    served: dict[int, set[bytes]] = defaultdict(set)

    def note(message: bytes, _deadline: float | None) -> bytes:
        served[rounds.number].add(message)
        return message

    async with (
        serving(Methods({ECHO: note}, {}), probes=True) as (_, address),
        contextlib.AsyncExitStack() as stack,
    ):
        peers = [await stack.enter_async_context(peer(address)) for _ in range(8)]
        for first in range(1, 201, 20):
            for number, each in enumerate(peers):
                name = b"%d" % number
                streams = range(first, first + 20, 2)
                each.send(b"".join(whole(stream, PLAIN, name) for stream in streams))
            for each in peers:
                await answered(each, first + 18)
    rounds.ended = True
    assert len(set().union(*served.values())) == 8
    assert {len(names) for names in served.values()} == {1}


def test_small_data_frames_end_the_connection_and_full_ones_do_not() -> None:
    ours = Ours(ACKNOWLEDGED)
    for number in range(1, 101, 2):
        ours.feed(headers(number))
        for piece in split(prefixed(bytes(40 * limits.SMALL_DATA)), limits.SMALL_DATA):
            ours.feed(data(number, piece, end=False))
        ours.feed(data(number, b""))
        ours.answer_all()
    assert not ours.connection.done
    ours.feed(headers(101) + data(101, b"x", end=False) * (limits.MAX_CONTROL_FRAMES + 1))
    assert ours.connection.done


def test_header_blocks_that_take_long_to_decode_end_the_connection() -> None:
    ours = Ours(ACKNOWLEDGED)
    large = b"\x00\x01a" + hpack.Encoder().encode([("a", "~" * 48_000)])[2:]
    for number in NUMBERS:
        ours.feed(continued(number, PLAIN + large, wire.END_STREAM))
        ours.requests.clear()
        if ours.connection.done:
            break
    assert ours.connection.done


def test_requests_pay_for_as_many_headers_as_envoy_accepts_from_its_client() -> None:
    ours = Ours(ACKNOWLEDGED)
    octets = hpack.Encoder().encode([*HEADERS, ("baggage", "key=value," * 6000)])
    for number in NUMBERS[:20]:
        ours.feed(continued(number, octets, 0) + data(number, prefixed(b"")))
        ours.answer_all()
    assert ours.connection._account._control_frames == 0


def test_a_header_block_in_too_many_pieces_ends_the_connection() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(wire.frame(wire.HEADERS, 0, 1, PLAIN))
    ours.feed(wire.frame(wire.CONTINUATION, 0, 1, b"\0") * limits.MAX_PIECES)
    assert not ours.connection.done
    ours.feed(wire.frame(wire.CONTINUATION, 0, 1, b"\0"))
    assert ours.connection.done


def test_time_in_which_we_do_not_read_is_not_the_peers_delay() -> None:
    """The timeout of a frame that our pause split starts again."""
    ours = Ours(ACKNOWLEDGED)
    ours.feed(request(1)[:-1], now=100.0)
    later = 101.0 + limits.FRAME_TIMEOUT
    ours.connection.resumed(later)
    ours.tick(later)
    assert not ours.connection.done
