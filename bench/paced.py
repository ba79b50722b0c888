"""Paced requests: each has a scheduled time, and its latency counts from then, even if sent late.

wrk and h2load send the next request after an answer. While a server halts they send nothing, so
the halt is one long latency among many short ones. Here it counts for each request that it delays.

Each stream is its own process (``python -m bench.paced``), so that a flood does not delay the
measurement. Its threads wait in the kernel, which is precise to some 50 microseconds.
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

GRACE_SECONDS = 20.0  # beyond the expected time of a stream; then it is killed
READ_SECONDS = 10.0
AHEAD_SECONDS = 0.05  # between all streams being ready and the first request
MAX_LINE_BYTES = 2**24
NO_ANSWER = 0  # instead of a status; the connection is not used again


class Stream(NamedTuple):
    """Requests for ``url``, ``rate`` per second, with each token of a file in turn.

    A request that is due while every connection waits for an answer is sent late.
    """

    url: str
    tokens: Path
    rate: int
    seconds: float
    connections: int

    @property
    def requests(self) -> int:
        """The number of requests."""
        return round(self.rate * self.seconds)


class Answers(NamedTuple):
    """A stream's result: the count of each status, and each answer's latency in seconds."""

    statuses: Mapping[int, int]
    took: Sequence[float]


async def ask(*streams: Stream) -> list[Answers]:
    """Run the streams concurrently, with a common start. Raises CommandError."""
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
            raise CommandError(f"paced requests did not end within {within:.0f} s") from None


@contextlib.asynccontextmanager
async def _running(
    stream: Stream,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Run a process; yield its output and its input."""
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
        raise CommandError("paced requests failed, see the error above")
    return line


def _read(line: bytes) -> Answers:
    statuses, took = json.loads(line)
    return Answers({int(status): times for status, times in statuses.items()}, took)


def run(stream: Stream) -> None:
    """Open the connections, print ready, read the start time, send, and print the result."""
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
        for number in numbers:  # each idle connection takes the next request
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
    """Read one complete answer and return its status."""
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
