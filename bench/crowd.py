"""Valid requests at a steady rate: only these, or beside others, valid or with unknown kids."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from bench.load import Load, LoadError, percentiles
from bench.paced import Stream, ask
from sidecar.core.tokens import base64url
from sidecar.zervi.interface import RefreshSettings
from sidecar.zervi.schedule import DEMAND_BURST, JITTER

NONE = "none"
GOOD = "as many valid requests"
MADE_UP = "flood of unknown kids"

RATE, CONNECTIONS = 300, 8
CROWD_RATE, CROWD_CONNECTIONS = 1_000, 32
LASTS = 5  # times as long as other loads: ten thousand unknown kids take ten seconds

PASSED = frozenset({200})
REFUSED = frozenset({401, 503})  # 503: the key-set fetch took too long


class Crowd(NamedTuple):
    """Requests beside the measured ones: their tokens and their expected statuses."""

    tokens: Iterator[str]
    statuses: frozenset[int]


def made_up(token: str, number: int) -> str:
    """Return a valid RS256 token, except that its kid is unknown."""
    header = {"alg": "RS256", "kid": f"made-up-{number}", "typ": "JWT"}
    return f"{base64url.encode(json.dumps(header).encode()).decode()}.{token.partition('.')[2]}"


class KeyServer:
    """Serves one key set and counts the requests."""

    def __init__(self, document: bytes) -> None:
        self.url = ""
        self._head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(document)}\r\n".encode()
        self._document = document
        self._fetches = 0
        self._began = time.monotonic()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Listen until the block ends."""
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
            yield

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._fetches += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(self._head + b"Connection: close\r\n\r\n" + self._document)
        await writer.drain()
        writer.close()

    def check(self) -> None:
        """Raise LoadError if there were more fetches than the schedule and the cooldown allow."""
        settings, seconds = RefreshSettings(), time.monotonic() - self._began
        due = 1 + seconds / (settings.refresh * (1 - JITTER))
        if self._fetches > due + DEMAND_BURST + seconds / settings.cooldown:
            raise LoadError(
                f"keys were fetched {self._fetches} times in {seconds:.0f} s of the flood"
            )


async def load(url: str, good: str, directory: Path, crowd: Crowd | None, seconds: float) -> Load:
    """Send requests with the valid token; latencies are of these requests, the count is of all.

    Raises CommandError, LoadError.
    """
    goods, crowds = directory / "paced-good", directory / "paced-crowd"
    goods.write_text(good)
    asked = [(Stream(url, goods, RATE, seconds, CONNECTIONS), PASSED)]
    if crowd is not None:
        crowds.write_text("\n".join(islice(crowd.tokens, round(seconds * CROWD_RATE))))
        stream = Stream(url, crowds, CROWD_RATE, seconds, CROWD_CONNECTIONS)
        asked.append((stream, crowd.statuses))
    answers = await ask(*(stream for stream, _ in asked))
    for (stream, right), each in zip(asked, answers, strict=True):
        if len(each.took) != stream.requests or not each.statuses.keys() <= right:
            raise LoadError(
                f"unexpected answers to {stream.requests} paced requests: {each.statuses}"
            )
    return Load(sum(len(each.took) for each in answers), seconds, *percentiles(answers[0].took))
