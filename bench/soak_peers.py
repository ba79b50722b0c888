"""Misbehaving peers at the sidecar's own addresses, and the probes that it must still answer."""

import asyncio
import contextlib
import os
import random
from collections.abc import Iterator, Mapping
from itertools import chain

from bench.load import CHECK
from bench.sidecars import message
from bench.soak_traffic import GIVE_UP_SECONDS, HOST, Tally
from demo.minting import sign, user_claims
from demo.zervi import Zervi
from sidecar.transport.h2 import wire
from sidecar.transport.h2.hpack import literal
from sidecar.transport.h2.rpc import PREFIX

HEALTH_CHECK, HEALTH_WATCH = (f"/grpc.health.v1.Health/{name}" for name in ("Check", "Watch"))

PEER_PAUSE = 0.1  # seconds, on average
STAYERS = 0.05  # the share of bad peers that wait for the sidecar to close
HOARD = 300  # connections: more than the limit of any address
HOARD_SECONDS = 2.0
PROBE_SECONDS = 0.5
PROBE_ATTEMPTS = 3  # the kubelet's failure threshold

_HELLO = wire.PREFACE + wire.settings({})
_TYPE = literal(b"content-type", b"application/grpc")
_NUMBERS = range(1, 200, 2)
# A field of 3.9 KB for the table; then one byte refers to it.
_LARGE = b"\x40\x01a\x7f\xbd\x1d" + b"v" * 3900
_NAMED = b"\xbe"


def misdeeds(zervi: Zervi) -> Mapping[str, bytes]:
    """Return what bad peers send. None acknowledges SETTINGS, so none may stay connected."""
    return {
        **_of_calls(zervi.token("alice"), zervi),
        **_of_frames(),
        **_of_headers(),
        **_of_messages(),
    }


def _of_calls(token: str, zervi: Zervi) -> Mapping[str, bytes]:
    stray = sign(user_claims("alice"), zervi.keys[-1]._replace(kid="unknown"))
    checks = [call(each, CHECK, message(token)) for each in _NUMBERS]
    waiting = [call(each, CHECK, message(stray)) for each in _NUMBERS]
    probes = [call(each, HEALTH_CHECK) for each in range(1, 4000, 2)]
    watches = [call(each, HEALTH_WATCH) for each in range(1, 2000, 2)]
    opened = [_head(each) for each in range(1, 9000, 2)]
    narrow = wire.PREFACE + wire.settings({wire.INITIAL_WINDOW_SIZE: 0})
    return {
        "Checks": _HELLO + b"".join(checks),
        "Checks, each reset": _HELLO + _each_reset(checks),
        "Checks that wait": _HELLO + b"".join(waiting),
        "Checks that wait, reset": _HELLO + b"".join(waiting) + b"".join(_resets(_NUMBERS)),
        "Checks without a window": narrow + b"".join(checks),
        "incomplete Checks": _HELLO + b"".join(check[:-5] for check in checks),
        "probes": _HELLO + b"".join(probes),
        "probes, each reset": _HELLO + _each_reset(probes),
        "Watch": _HELLO + watches[0],
        "watches": _HELLO + b"".join(watches),
        "streams that are only opened": _HELLO + b"".join(opened),
    }


def _of_frames() -> Mapping[str, bytes]:
    small = wire.frame(wire.DATA, 0, 1, b"x")
    return {
        "garbage": os.urandom(300),
        "HTTP/1.1": b"GET / HTTP/1.1\r\nhost: soak\r\n\r\n",
        "pings": _HELLO + wire.frame(wire.PING, 0, 0, bytes(8)) * 3000,
        "settings": _HELLO + wire.settings(dict.fromkeys(range(7, 2700), 0)) * 30,
        "windows": _HELLO + _head(1) + wire.window_update(1, 1) * 3000,
        "small DATA": _HELLO + _head(1) + small * 5000,
        "an endless body": _HELLO + _head(1) + wire.frame(wire.DATA, 0, 1, bytes(16_000)) * 100,
        "resets of closed streams": _HELLO + b"".join(_resets(_NUMBERS)) * 20,
    }


def _of_headers() -> Mapping[str, bytes]:
    endless = wire.frame(wire.HEADERS, 0, 1) + wire.frame(wire.CONTINUATION, 0, 1) * 2000
    pieces = wire.frame(wire.CONTINUATION, 0, 1, b"\0") * 5000
    referring = [_head(each, _NAMED * 18) for each in range(3, 4000, 2)]
    from_table = [_head(each, path=_NAMED) for each in range(3, 4000, 2)]
    huffman = b"\x00\x01a\xff\x81\x7c" + b"\xff\xff\xff\xea" * 4000  # one symbol of 30 bits
    return {
        "endless headers": _HELLO + endless,
        "small CONTINUATIONs": _HELLO + wire.frame(wire.HEADERS, 0, 1, b"\0") + pieces,
        "invalid headers": _HELLO + wire.frame(wire.HEADERS, wire.END_HEADERS, 1, b"\xff" * 50),
        "headers from the table": _HELLO + _head(1, _LARGE) + b"".join(referring),
        "paths from the table": _HELLO
        + _head(1, path=b"\x44\x7f\xbd\x1d/" + b"v" * 3899)
        + b"".join(from_table),
        "table sizes": _HELLO + b"".join(_head(each, before=b"\x20" * 9000) for each in _NUMBERS),
        "Huffman text": _HELLO + b"".join(_head(each, huffman) for each in _NUMBERS),
    }


def _of_messages() -> Mapping[str, bytes]:
    def about(http: bytes) -> bytes:
        return _field(b"\x0a", _field(b"\x22", _field(b"\x12", http)))

    headers = about(_field(b"\x6a", b"\x0a\x00" * 500_000))
    cleaned = about(b"\x1a\x00" * 500_000)
    name = about(_field(b"\x6a", _field(b"\x0a", _field(b"\x0a", b"n" * 1_000_000))))
    context = _field(b"\x0a", b"\x52\x00" * 500_000)
    return {
        "a Check of many headers": _HELLO + call(1, CHECK, headers),
        "a Check of many cleaned headers": _HELLO + call(1, CHECK, cleaned),
        "a Check of a long name": _HELLO + call(1, CHECK, name),
        "a Check of much context": _HELLO + call(1, CHECK, context),
        "a Check that is too large": _HELLO + call(1, CHECK, bytes(3_000_000)),
    }


def call(number: int, path: str, body: bytes = b"") -> bytes:
    """Return the frames of a call."""
    octets = PREFIX.pack(0, len(body)) + body
    pieces = [octets[start : start + 16_384] for start in range(0, len(octets), 16_384)]
    frames = [wire.frame(wire.DATA, 0, number, piece) for piece in pieces[:-1]]
    frames.append(wire.frame(wire.DATA, wire.END_STREAM, number, pieces[-1]))
    return _head(number, path=literal(b":path", path.encode())) + b"".join(frames)


def _head(
    number: int, more: bytes = b"", path: bytes = literal(b":path", b"/"), before: bytes = b""
) -> bytes:
    pseudo = literal(b":method", b"POST") + literal(b":scheme", b"http") + path
    return wire.frame(wire.HEADERS, wire.END_HEADERS, number, before + pseudo + _TYPE + more)


def _resets(numbers: range) -> Iterator[bytes]:
    return (wire.rst_stream(each, wire.ErrorCode.CANCEL) for each in numbers)


def _each_reset(calls: list[bytes]) -> bytes:
    return b"".join(chain(*zip(calls, _resets(range(1, 2 * len(calls), 2)), strict=True)))


def _field(tag: bytes, content: bytes) -> bytes:
    """Return an encoded protobuf field."""
    size, left = b"", len(content)
    while left > 0x7F:
        size += bytes([left & 0x7F | 0x80])
        left >>= 7
    return tag + size + bytes([left]) + content


async def peer(port: int, sent: Mapping[str, bytes], tally: Tally) -> None:
    """Misbehave for ever: connect, send a bad input or a part of it, disconnect."""
    while True:
        name, octets = random.choice(list(sent.items()))
        end = random.choice((len(octets), random.randrange(len(octets))))
        reader, writer = await asyncio.open_connection(HOST, port)
        tally.peers += 1
        try:
            writer.write(octets[:end])
            async with asyncio.timeout(GIVE_UP_SECONDS):  # the sidecar's timeouts are ten
                await writer.drain()
                if random.random() < STAYERS:
                    await reader.read()
            await asyncio.sleep(random.uniform(0, 2 * PEER_PAUSE))
        except TimeoutError:
            tally.wrong.append(
                f"connection of a bad peer not closed: {name}, {end} of {len(octets)} bytes"
            )
        except ConnectionError:
            pass  # the sidecar closed first
        finally:
            writer.transport.abort()


async def hoard(port: int) -> None:
    """Repeatedly take all connections of an address and send nothing."""
    while True:
        held = []
        try:
            for _ in range(HOARD):
                with contextlib.suppress(ConnectionError):
                    held.append(await asyncio.open_connection(HOST, port))
            await asyncio.sleep(HOARD_SECONDS)
        finally:
            for _, writer in held:
                writer.transport.abort()


async def probe(ops: int, health: int, tally: Tally) -> None:
    """Probe for ever, over a new connection each time, as the kubelet does."""
    questions = {
        ops: (b"GET /livez HTTP/1.1\r\nhost: soak\r\nconnection: close\r\n\r\n", b" 200 OK"),
        health: (_HELLO + call(1, HEALTH_CHECK), b"\0\0\0\0\x02\x08\x01"),  # SERVING
    }
    while True:
        for port, (question, answer) in questions.items():
            for _ in range(PROBE_ATTEMPTS):
                if await _answers(port, question, answer):
                    tally.probes += 1
                    break
            else:
                tally.wrong.append(f"a probe at port {port} was not answered")
        await asyncio.sleep(PROBE_SECONDS)


async def _answers(port: int, question: bytes, answer: bytes) -> bool:
    seen = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        async with asyncio.timeout(GIVE_UP_SECONDS):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(question)
                while answer not in seen and (octets := await reader.read(65536)):
                    seen += octets
            finally:
                writer.transport.abort()
    return answer in seen
