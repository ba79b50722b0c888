"""Requests by the clock: each has its moment, and what it took counts from that, sent late or not.

wrk and h2load ask again when they are answered: while a server halts they ask nothing, and the halt
is one long wait among many short ones. Here it is one for every request that fell into it.

Each stream is a process of its own (``python -m bench.paced``), so that who floods holds nobody up
who measures. Its threads wait in the kernel, which is exact to some 50 microseconds.
"""

import asyncio
import contextlib
import json
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.processes import CommandError

GRACE_SECONDS = 20.0  # beyond the time that a stream should take, then it is ended
READ_SECONDS = 10.0
AHEAD_SECONDS = 0.05  # from when every stream is ready to its first request
MAX_LINE_BYTES = 2**24
NO_ANSWER = 0  # instead of a status; the connection is not used any more


class Stream(NamedTuple):
    """Requests for ``url``, so many a second, with each token of a file in turn.

    A request whose moment comes while every connection waits for an answer is sent late.
    """

    url: str
    tokens: Path
    rate: int
    seconds: float
    connections: int

    @property
    def requests(self) -> int:
        """How many they are."""
        return round(self.rate * self.seconds)


class Answers(NamedTuple):
    """What a stream saw: how often each status came, and how many seconds each answer took."""

    statuses: Mapping[int, int]
    took: Sequence[float]


async def ask(*streams: Stream) -> list[Answers]:
    """Run the streams beside each other, all from one moment on. Raises CommandError."""
    async with contextlib.AsyncExitStack() as stack:
        within = max(stream.seconds for stream in streams) + GRACE_SECONDS
        try:
            async with asyncio.timeout(within):
                pipes = [await stack.enter_async_context(_running(stream)) for stream in streams]
                for answers, _ in pipes:
                    await _line(answers)  # it is ready
                begin = time.monotonic() + AHEAD_SECONDS
                for _, orders in pipes:
                    orders.write(f"{begin}\n".encode())
                return [_read(await _line(answers)) for answers, _ in pipes]
        except TimeoutError:
            raise CommandError(f"requests by the clock did not end within {within:.0f} s") from None


@contextlib.asynccontextmanager
async def _running(
    stream: Stream,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Run a process; give what it prints, and what it is told."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.paced", *map(str, stream)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=MAX_LINE_BYTES,
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        yield child.stdout, child.stdin
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _line(answers: asyncio.StreamReader) -> bytes:
    line = await answers.readline()
    if not line:
        raise CommandError("requests by the clock failed, as told above")
    return line


def _read(line: bytes) -> Answers:
    statuses, took = json.loads(line)
    return Answers({int(status): times for status, times in statuses.items()}, took)


def run(stream: Stream) -> None:
    """Say that the connections stand, read when to begin, ask, and print what came."""
    parts = urlsplit(stream.url)
    lines = stream.tokens.read_text().splitlines()
    requests = [_request(parts.netloc, parts.path, token) for token in lines]
    address = (parts.hostname or "", parts.port or 80)
    try:
        sockets = [_connection(address) for _ in range(stream.connections)]
    except OSError as error:
        sys.exit(f"{stream.url}: {error}")
    print("ready", flush=True)
    begin, every = float(sys.stdin.readline()), 1 / stream.rate
    seen: list[tuple[int, float]] = []
    numbers = iter(range(stream.requests))

    def connection(server: socket.socket) -> None:
        for number in numbers:  # whoever is free takes the next one
            due = begin + number * every
            time.sleep(max(0.0, due - time.monotonic()))
            status = _status(server, requests[number % len(requests)])
            seen.append((status, time.monotonic() - due))
            if status == NO_ANSWER:
                break

    threads = [threading.Thread(target=connection, args=(each,)) for each in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([Counter(status for status, _ in seen), [took for _, took in seen]]))


def _request(host: str, path: str, token: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def _connection(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address, READ_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _status(server: socket.socket, request: bytes) -> int:
    try:
        server.sendall(request)
        return _answered(server)
    except OSError:
        return NO_ANSWER


def _answered(server: socket.socket) -> int:
    """Read one whole answer and return its status."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += _some(server)
    head, _, body = answer.partition(b"\r\n\r\n")
    _, found, after = head.lower().partition(b"content-length:")
    left = int(after.split(b"\r\n")[0]) - len(body) if found else 0
    while left > 0:
        left -= len(_some(server))
    return int(head[9:12])


def _some(server: socket.socket) -> bytes:
    octets = server.recv(2**16)
    if not octets:
        raise ConnectionError("the connection was closed before an answer")
    return octets


if __name__ == "__main__":
    url, tokens, rate, seconds, connections = sys.argv[1:]
    run(Stream(url, Path(tokens), int(rate), float(seconds), int(connections)))
