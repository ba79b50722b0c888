"""Memory that peers make us hold is charged at its real size, and bounded."""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable

import pytest
from hyperframe.frame import RstStreamFrame

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.account import Budget
from sidecar.transport.h2.hpack import literal
from sidecar.transport.h2.limits import CHECKS, PROBES
from sidecar.transport.h2.protocol import H2Protocol
from sidecar.transport.h2.turns import Turns
from sidecar.transport.interface import Methods
from tests.edge.h2.joined import Wire
from tests.edge.h2.peer import (
    ACKNOWLEDGED,
    ECHO,
    GREETING,
    UNHURRIED,
    data,
    headers,
    prefixed,
)

PSEUDO = literal(b":method", b"POST") + literal(b":scheme", b"http")
TYPE = literal(b"content-type", b"application/grpc")
WATCH = b"/t/Watch"


def block(path: bytes) -> bytes:
    """Return a block without references to the table."""
    return PSEUDO + literal(b":path", path) + TYPE


def call(number: int, path: bytes, message: bytes = b"") -> bytes:
    """Return a complete call."""
    return headers(number, payload=block(path)) + data(number, prefixed(message))


def numbers(count: int) -> range:
    """Return a client's first ``count`` stream IDs."""
    return range(1, 2 * count + 1, 2)


def early_streams() -> bytes:
    """Open requests without completing them, before the settings are acknowledged."""
    return GREETING + b"".join(headers(n, payload=block(b"/x%d" % n)) for n in numbers(9000))


def paths_from_the_table() -> bytes:
    """Send a 3.9 KB path once and refer to it in every stream; the blocks differ."""
    octets = GREETING + headers(1, payload=PSEUDO + b"\x44\x7f\xbd\x1d/" + b"v" * 3899 + TYPE)
    for n in numbers(9000)[1:]:
        octets += headers(n, payload=PSEUDO + b"\xbe" + TYPE + literal(b"n", b"%d" % n))
    return octets


def watches() -> bytes:
    """Open server streams that never end."""
    return ACKNOWLEDGED + b"".join(call(n, WATCH) for n in numbers(limits.MAX_STREAMS))


def calls_that_wait() -> bytes:
    """Call a slow method, with messages of two frames."""
    octets = bytearray(ACKNOWLEDGED)
    for n in numbers(300):
        octets += headers(n, payload=block(b"/t/Wait"))
        octets += data(n, prefixed(bytes(8000))[:4000], end=False)
        octets += data(n, prefixed(bytes(8000))[4000:])
    return bytes(octets)


def halves() -> bytes:
    """Send incomplete messages."""
    octets = ACKNOWLEDGED
    for n in numbers(500):
        octets += headers(n, payload=block(ECHO.encode())) + data(n, bytes(10_000), end=False)
    return octets


def answers_without_a_window() -> bytes:
    """Open no window for the answers."""
    narrow = ACKNOWLEDGED + wire.settings({wire.INITIAL_WINDOW_SIZE: 0})
    return narrow + b"".join(call(n, ECHO.encode(), bytes(9000)) for n in numbers(100))


def a_block_without_end() -> bytes:
    """Send an endless header block."""
    piece = wire.frame(wire.CONTINUATION, 0, 1, bytes(16_000))
    return ACKNOWLEDGED + wire.frame(wire.HEADERS, 0, 1, block(b"/x")) + piece * 4


async def watch(_message: bytes) -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.Event().wait()


async def wait(message: bytes, _deadline: float | None) -> bytes:
    await asyncio.Event().wait()
    return message


METHODS = Methods({ECHO: lambda m, _: m, "/t/Wait": wait}, {WATCH.decode(): watch})


class Peers:
    """``count`` connections of a server, without sockets; they never open a window."""

    def __init__(self, budget: Budget, count: int) -> None:
        turns = Turns()
        self.wires = [Wire() for _ in range(count)]
        self.protocols = [
            H2Protocol(METHODS, budget, turns, lambda _: True, lambda _: None) for _ in self.wires
        ]
        for protocol, each in zip(self.protocols, self.wires, strict=True):
            protocol.connection_made(each)

    async def send(self, octets: bytes) -> None:
        """Send the same input on each connection; wait until it is read."""
        for protocol, each in zip(self.protocols, self.wires, strict=True):
            for start in range(0, len(octets), 65_536):
                protocol.data_received(octets[start : start + 65_536])
                while each.reading[-1:] == [False]:  # noqa: ASYNC110 -- a round of the loop each
                    await asyncio.sleep(0)
            each.writes.clear()
        for _ in range(5):  # so that tasks start
            await asyncio.sleep(0)
        for protocol in self.protocols:
            protocol.tick(time.monotonic())

    async def leave(self) -> None:
        """Close all connections."""
        for protocol in self.protocols:
            protocol.connection_lost(None)
        for _ in range(5):
            await asyncio.sleep(0)


ATTACKS = [
    early_streams,
    paths_from_the_table,
    watches,
    calls_that_wait,
    halves,
    answers_without_a_window,
    a_block_without_end,
]


@pytest.mark.parametrize("attack", ATTACKS)
async def test_the_charged_bytes_are_the_allocated_bytes(attack: Callable[[], bytes]) -> None:
    octets = attack()
    budget = Budget()
    peers = Peers(budget, 2)
    tracemalloc.start()
    try:
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        await peers.send(octets)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert budget.held > 50_000, "the attack holds memory"
    assert held < 1.25 * budget.held + 50_000
    await peers.leave()
    assert budget.held == 0


@pytest.mark.parametrize("attack", ATTACKS)
async def test_many_peers_hold_at_most_the_budget_and_their_shares(
    attack: Callable[[], bytes],
) -> None:
    small = CHECKS._replace(held=2**20, connection_held=2**18, share=2**15)
    budget = Budget(small)
    peers = Peers(budget, 20)
    await peers.send(attack())
    last = limits.STREAM_BYTES + limits.WAITING_BYTES + limits.MAX_FRAME  # of each connection
    assert budget.held < small.held + len(peers.protocols) * (small.share + last)
    await peers.leave()
    assert budget.held == 0


async def test_a_peer_that_holds_little_is_served_while_others_hold_the_whole_budget() -> None:
    small = UNHURRIED._replace(held=2**18, connection_held=2**20, share=2**15)
    budget = Budget(small)
    greedy, modest = Peers(budget, 1), Peers(budget, 1)
    octets = ACKNOWLEDGED + b"".join(call(n, WATCH) for n in numbers(40))
    greedy.protocols[0].data_received(octets)
    refused = [f for f in greedy.wires[0].frames() if isinstance(f, RstStreamFrame)]
    assert {frame.error_code for frame in refused} == {wire.ErrorCode.REFUSED_STREAM}
    assert 0 < len(refused) < 40
    modest.protocols[0].data_received(ACKNOWLEDGED + call(1, ECHO.encode(), b"hello"))
    assert b"hello" in b"".join(modest.wires[0].writes)
    await greedy.leave()
    await modest.leave()


def test_all_watches_that_health_allows_fit_into_its_budget() -> None:
    """So only the number of connections can cause a refusal."""
    each = limits.STREAM_BYTES + limits.WAITING_BYTES
    assert PROBES.streams * each <= PROBES.connection_held
    assert PROBES.connections * PROBES.share <= PROBES.held
