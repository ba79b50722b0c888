"""A feed of revocations that behaves or misbehaves, and a follower of it with short times."""

import json
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

from sidecar.zervi import schedule
from sidecar.zervi.revocation.follower import Follower
from sidecar.zervi.revocation.interface import FeedSettings, FeedSource
from tests.edge.certificates import Authority
from tests.edge.key_server import Exchange, KeyServer, document, head, serving
from tests.support.waiting import eventually

ISSUER = "zervi"
NOW = 1_800_000_000.0


def user(number: object, not_before: float = NOW) -> dict[str, Any]:
    return {"user_id": str(number), "not_before": not_before}


class Feed:
    """Answers as docs/zervi-revocations.openapi.yaml says, ``page`` entries at a time."""

    def __init__(self, *entries: object, page: int = 1000) -> None:
        self.entries: list[object] = list(entries)
        self.page = page
        self.asked: list[str | None] = []  # each request's cursor
        self.not_modified = 0

    async def __call__(self, exchange: Exchange) -> None:
        query = parse_qs(urlsplit(exchange.target).query)
        after = query.get("after", [None])[0]
        self.asked.append(after)
        place = int(after or 0)
        if place > len(self.entries):
            await document(b"{}", status="410 Gone")(exchange)
            return
        page = self.entries[place : place + self.page]
        cursor = str(place + len(page))
        tag = f'"{cursor}-{len(page)}"'
        if exchange.headers.get("if-none-match") == tag:
            self.not_modified += 1
            await exchange.send(head("304 Not Modified", {"ETag": tag}))
            return
        body = json.dumps({"entries": page, "cursor": cursor}).encode()
        await document(body, headers={"ETag": tag})(exchange)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Followed:
    """A follower, its clock, and the results of its readings."""

    def __init__(self, settings: FeedSettings, clock: Clock) -> None:
        self.results: list[str] = []
        self.clock = clock
        self.follower = Follower(
            settings, self.results.append, clock=clock, wall=clock, random=Random(1)
        )

    def time_of(self, number: object) -> float | None:
        entries = self.follower.revocations.entries
        return entries.time(entries.mark("subject", f"user\0{number}"))

    def holds(self, *numbers: object) -> bool:
        return all(self.time_of(number) is not None for number in numbers)

    def trusted(self) -> bool:
        return self.clock() < self.follower.revocations.trusted_until

    async def read(self, times: int = 1, result: str | None = None) -> None:
        """Wait for so many further readings, whose last one must end in ``result``."""
        wanted = len(self.results) + times
        await eventually(lambda: len(self.results) >= wanted, "the feed is read again")
        assert result in (None, self.results[-1])


def settings(url: str, **others: Any) -> FeedSettings:
    given = {"issuers": frozenset({ISSUER}), "poll": 0.05, **others}
    return FeedSettings(FeedSource(url, **given.pop("source", {})), **given)


@asynccontextmanager
async def following(
    server: KeyServer | str, *, clock: Clock | None = None, **others: Any
) -> AsyncIterator[Followed]:
    """Follow a server's feed."""
    url = server if isinstance(server, str) else server.url
    followed = Followed(settings(url, **others), clock or Clock())
    with patch.multiple(schedule, RETRY_FIRST=0.02, RETRY_CAP_URGENT=0.05, RETRY_FLOOR=0.01):
        await followed.follower.load()
        followed.follower.start()
        try:
            yield followed
        finally:
            await followed.follower.close()


@asynccontextmanager
async def serving_feed(feed: Feed) -> AsyncIterator[str]:
    """Serve a feed at any path; return the server's base."""
    async with serving(feed) as server:
        yield server.url.removesuffix("/jwks.json")


def server_tls(authority: Authority, directory: Path) -> ssl.SSLContext:
    """Return the context of a server on 127.0.0.1, whose files are in ``directory``."""
    certificate, key = authority.issue("server")
    (directory / "server.crt").write_bytes(certificate)
    (directory / "server.key").write_bytes(key)
    (directory / "ca.crt").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    return context


def warnings_in(records: Sequence[Any]) -> list[str]:
    return [record.getMessage() for record in records if record.levelname in ("WARNING", "ERROR")]
