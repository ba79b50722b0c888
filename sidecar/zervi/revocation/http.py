"""The feed over HTTP: docs/zervi-revocations.openapi.yaml."""

import asyncio
import logging
from collections.abc import Callable
from typing import Final
from urllib.parse import quote

from sidecar.net.http_client import HttpClient, HttpError, HttpFault, read_body
from sidecar.net.trust import TrustError
from sidecar.zervi.fetch import shown
from sidecar.zervi.interface import FetchError
from sidecar.zervi.revocation.interface import ANSWER_SECONDS, FeedSource, Sink
from sidecar.zervi.revocation.pages import MAX_PAGE_BYTES, Page, PageError

MAX_PAGES: Final = 10_000
"""Pages of one reading: a full feed in pages of a hundred."""

ENTRIES_A_TURN: Final = 200  # of the event loop: within two milliseconds

# What a server may say of a cursor that it does not know, such as one of before its restoration.
_UNKNOWN_CURSOR: Final = frozenset({400, 404, 409, 410, 416, 422})

_CHECK_ZERVI: Final = "check that Zervi runs and that `url` of revocation is right"
_CHECK_ANSWER: Final = "`url` of revocation must be that of the feed itself; check its answer"
_ADVICE: Final = {
    HttpFault.CERTIFICATE: "set ca_file to the CA of the certificate, and use a name in it",
    HttpFault.TLS: "check that the port speaks TLS",
    HttpFault.NOT_HTTP: _CHECK_ANSWER,
}

_log = logging.getLogger("sidecar.zervi")


class _UnknownCursorError(Exception):
    """The server does not know the cursor."""


class HttpFeed:
    """Reads the feed's pages; see ``Feed``."""

    def __init__(self, source: FeedSource, cursor: str | None = None) -> None:
        self.where = shown(source.url)
        self.cursor = cursor
        self._source = source
        self._client = HttpClient(source.tls)
        self._validator: str | None = None  # of the page at ``cursor``

    async def read(self, sink: Sink, *, whole: bool) -> None:
        """Read page after page until one has no entries, or names no later cursor."""
        if whole:
            self._validator = None
        try:
            await self._pages(sink, None if whole else self.cursor)
        except _UnknownCursorError:
            _log.info("revocations: %s does not know the cursor; reading all of it", self.where)
            self.cursor = self._validator = None
            await self._pages(sink, None)

    async def follow(self, on_message: Callable[[bytes], None]) -> None:
        """Return: the feed is polled."""

    async def close(self) -> None:
        """Do nothing: each request has a connection of its own."""

    async def _pages(self, sink: Sink, after: str | None) -> None:
        met = {after}
        for _ in range(MAX_PAGES):
            validator = self._validator if after == self.cursor else None
            answer = await self._page(after, validator)
            if answer is None:
                return
            page, validator = answer
            number = 0
            try:
                for entry in page:
                    sink.add(entry)
                    number += 1
                    if number % ENTRIES_A_TURN == 0:
                        await asyncio.sleep(0)
            except PageError as error:
                raise FetchError(f"the answer is not a feed: {error}", _CHECK_ANSWER) from error
            sink.check()  # the cursor stays before a page with a wrong entry
            following = page.cursor
            if not page.entries and _is_earlier(following, after):
                raise _UnknownCursorError
            self.cursor = following
            self._validator = validator if following == after else None
            if not page.entries or following is None or following == after:
                return
            if following in met:
                raise FetchError("its cursor repeats", "each page must name a later cursor")
            met.add(following)
            after = following
        raise FetchError(f"more than {MAX_PAGES:,} pages", "send more entries in a page")

    async def _page(
        self, after: str | None, validator: str | None
    ) -> tuple[Page, str | None] | None:
        """Fetch one page and its ETag; None where nothing has changed since ``validator``."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._fetched(after, validator)
        except TimeoutError:
            cause = f"no complete answer within {ANSWER_SECONDS:g} s"
            raise FetchError(cause, "check Zervi's load and the network") from None
        except TrustError as error:
            raise FetchError(str(error), "make them readable PEM files") from error
        except HttpError as error:
            raise FetchError(str(error), _ADVICE.get(error.fault, _CHECK_ZERVI)) from error

    async def _fetched(
        self, after: str | None, validator: str | None
    ) -> tuple[Page, str | None] | None:
        url = self._source.url
        if after is not None:
            url += f"{'&' if '?' in url else '?'}after={quote(after, safe='')}"
        headers = {"accept": "application/json"}
        if validator is not None:
            headers["if-none-match"] = validator
        if (token := await self._source.secret()) is not None:
            headers["authorization"] = f"Bearer {token}"
        async with self._client.send("GET", url, headers=headers) as response:
            if response.status == 304 and "if-none-match" in headers:
                return None
            if response.status in _UNKNOWN_CURSOR and after is not None:
                raise _UnknownCursorError
            _require_page(response.status)
            body = await read_body(response, MAX_PAGE_BYTES)
            if body is None:
                cause = f"the answer is larger than {MAX_PAGE_BYTES // 1024**2} MiB"
                raise FetchError(cause, "send fewer entries in a page")
            if response.header("content-encoding").strip().lower() not in ("", "identity"):
                raise FetchError("the answer is compressed", "send it uncompressed")
            try:
                page = Page(body)
            except PageError as error:
                raise FetchError(f"the answer is not a feed: {error}", _CHECK_ANSWER) from error
            return page, response.entity_tag()


def _require_page(status: int) -> None:
    """Refuse an answer by its head. The content-type is not checked: the body is parsed."""
    if 300 <= status < 400:
        advice = "put the final address into `url`"
        raise FetchError(f"status {status}: redirects are not followed", advice)
    if status in (401, 403):
        advice = "the server expects credentials: set `token` of revocation"
        raise FetchError(f"status {status}", advice)
    if status != 200:
        raise FetchError(f"status {status}", _CHECK_ZERVI if status >= 500 else _CHECK_ANSWER)


def _is_earlier(cursor: str | None, than: str | None) -> bool:
    """Say whether a cursor is a number that is less than the other: the feed was restored."""
    if cursor is None or than is None or not (cursor + than).isascii():
        return False
    return cursor.isdecimal() and than.isdecimal() and int(cursor) < int(than)
