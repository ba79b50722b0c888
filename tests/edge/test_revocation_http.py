"""The feed of revocations over HTTP, from a server that behaves, and from others."""

import asyncio
import json
import tracemalloc
from itertools import count
from pathlib import Path

import pytest

from sidecar.core.tokens import revocations
from sidecar.net.trust import TlsFiles
from sidecar.zervi.revocation import follower as following_room
from sidecar.zervi.revocation import http, interface
from tests.edge import key_server
from tests.edge.certificates import Authority
from tests.edge.key_server import Exchange, document, serving
from tests.edge.revocation_rig import (
    Clock,
    Feed,
    following,
    server_tls,
    settings,
    user,
    warnings_in,
)
from tests.support.waiting import eventually


async def test_entries_come_page_by_page_and_then_only_what_is_new() -> None:
    """Each request names the cursor of the page before; an unchanged page is a 304."""
    feed = Feed(*(user(number) for number in range(25)), page=10)
    async with serving(feed) as server, following(server) as followed:
        await followed.read(2, "success")
        assert followed.holds(*range(25))
        assert feed.asked[:5] == [None, "10", "20", "25", "25"]
        assert feed.not_modified
        feed.entries.append(user(99))
        await eventually(lambda: followed.holds(99), "the new entry comes")
        assert followed.follower.condition().entries == 26


async def test_a_feed_without_cursors_is_read_as_a_whole_each_time() -> None:
    """And costs a 304 while nothing changes."""
    body = json.dumps({"entries": [user(1)]}).encode()
    async with (
        serving(key_server.revalidated(body, '"a"')) as server,
        following(server) as followed,
    ):
        await followed.read(3, "success")
        assert followed.holds(1)
        assert "if-none-match" in server.exchanges[-1].headers
        assert "after" not in server.exchanges[-1].target


async def test_nothing_is_trusted_before_the_first_good_reading() -> None:
    """Then everything is, until the feed is stale and on_outage is deny."""
    gate = asyncio.Event()
    feed = Feed(user(1))
    clock = Clock()
    async with (
        serving(key_server.held(gate, feed)) as server,
        following(server, clock=clock, max_stale=60, deny_stale=True) as followed,
    ):
        assert followed.follower.condition().age is None
        assert followed.follower.revocations.trusted_until < clock()
        gate.set()
        await followed.read(1, "success")
        assert followed.trusted()
        server.answer = document(b"", status="503 Service Unavailable")
        await followed.read(1, "failure")
        clock.now += 59
        assert followed.trusted()
        assert not followed.follower.condition().stale
        clock.now += 1
        assert not followed.trusted()
        assert followed.holds(1)
        assert followed.follower.condition().stale
        server.answer = feed
        await eventually(followed.trusted, "the feed is trusted again")


async def test_an_old_feed_goes_on_to_count_where_on_outage_is_keep() -> None:
    """What was revoked stays revoked, what was not passes; the condition says that it is stale."""
    clock = Clock()
    async with (
        serving(Feed(user(1))) as server,
        following(server, clock=clock, max_stale=60) as followed,
    ):
        await followed.read(1, "success")
        server.answer = key_server.closes
        await followed.read(1, "failure")
        clock.now += 1e6
        assert followed.trusted()
        assert followed.holds(1)
        assert followed.follower.condition().stale


MANY = b'{"entries": [' + b", ".join([b'{"jti": "x"}'] * 10) + b'], "cursor": "1"}'

WRONG = {
    "HTML": (document(b"<!doctype html><p>login</p>"), "not JSON but HTML or XML"),
    "an empty body": (document(b""), "it is empty"),
    "a list": (document(b"[]"), "not JSON"),
    "no entries": (document(b'{"cursor": "1"}'), "it has no `entries`"),
    "entries that are an object": (document(b'{"entries": {}}'), "`entries` is not a list"),
    "entries twice": (document(b'{"entries": [], "entries": []}'), "a key twice"),
    "a cursor that is a number": (document(b'{"entries": [], "cursor": 7}'), "`cursor` is not"),
    "a cursor that is long": (
        document(b'{"entries": [], "cursor": "%s"}' % (b"x" * 2000)),
        "`cursor` is not text of at most 1024 characters",
    ),
    "half a surrogate pair": (document(b'{"entries": [], "cursor": "\\ud800"}'), "surrogate"),
    "a page that ends early": (document(MANY[:-30]), "it ends early"),
    "two values": (document(b'{"entries": []} {}'), "more than one JSON value"),
    "not UTF-8": (document(b'{"entries": ["\xff"]}'), "not UTF-8"),
    "deep nesting": (document(b'{"entries": [' + b"[" * 100_000), "not JSON"),
    "one endless entry": (document(b'{"entries": ["' + b"x" * 300_000 + b'"]}'), "characters"),
    "a number without end": (document(b'{"entries": [' + b"9" * 300_000 + b"]}"), "not JSON"),
    "NaN": (document(b'{"entries": [{"user_id": "1", "not_before": NaN}]}'), "not JSON"),
    "gzip": (document(MANY, headers={"Content-Encoding": "gzip"}), "compressed"),
    "a redirect": (document(b"", status="302 Found"), "redirects are not followed"),
    "401": (document(b"", status="401 Unauthorized"), "status 401"),
    "404": (document(b"", status="404 Not Found"), "status 404"),
    "500": (document(b"", status="500 Internal Server Error"), "status 500"),
    "a closed connection": (key_server.closes, "closed without an answer"),
    "a reset": (key_server.reset_in_body, "the body ended early"),
    "endless headers": (key_server.endless_headers, "not valid HTTP"),
    "an entry of a wrong type": (document(b'{"entries": [7]}'), "an entry is not an object"),
    "two wrong entries": (document(b'{"entries": [7, {}]}'), "2 entries are wrong"),
    "a wrong time": (
        document(b'{"entries": [{"user_id": "1", "not_before": "now"}]}'),
        "no not_before that is a number",
    ),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_answer_closes_what_was_closed_and_says_why(
    what: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Entries of before stay; the failure is one line, and its cause the condition's."""
    answer, cause = WRONG[what]
    async with serving(Feed(user(1))) as server, following(server) as followed:
        await followed.read(1, "success")
        server.answer = answer
        await followed.read(3, "failure")
        condition = followed.follower.condition()
    assert followed.holds(1)
    assert cause in condition.problem
    lines = warnings_in(caplog.records)
    assert len(lines) == 1
    assert cause in lines[0]


@pytest.mark.parametrize("what", WRONG)
async def test_a_wrong_first_answer_opens_nothing(what: str) -> None:
    """The feed is not read, so nothing is trusted."""
    async with serving(WRONG[what][0]) as server, following(server) as followed:
        await followed.read(1, "failure")
        assert not followed.trusted()


@pytest.mark.parametrize("answer", [key_server.never, key_server.drips_head, key_server.drips_body])
async def test_a_slow_answer_is_given_up(
    answer: key_server.Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bound holds from the name lookup to the last byte."""
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.1)
    async with serving(answer) as server, following(server) as followed:
        await followed.read(1, "failure")
        assert "no complete answer within" in followed.follower.condition().problem
    assert interface.ANSWER_SECONDS == 10


async def test_the_entries_of_a_page_count_although_one_of_them_is_wrong() -> None:
    """The cursor stays, so the page is read again until it is right."""
    feed = Feed(user(1), {"user_id": "2"}, user(3))
    async with serving(feed) as server, following(server) as followed:
        await followed.read(2, "failure")
        assert followed.holds(1, 3)
        assert not followed.trusted()
        assert set(feed.asked) == {None}
        feed.entries[1] = user(2)
        await eventually(followed.trusted, "the feed is good")
        assert followed.holds(1, 2, 3)


async def test_a_feed_that_went_backwards_reopens_nothing_and_is_read_from_its_start() -> None:
    """Zervi was restored from an old copy: it does not know the cursor, or names an earlier one."""
    feed = Feed(*(user(number) for number in range(10)))
    async with serving(feed) as server, following(server) as followed:
        await followed.read(1, "success")
        feed.entries = [user("new")]
        await eventually(lambda: followed.holds("new"), "the restored feed is read")
        assert followed.holds(*range(10))
        await followed.read(1, "success")

        async def earlier(exchange: Exchange) -> None:
            whole = "after" not in exchange.target
            entries = [user("newer")] if whole else []
            await document(json.dumps({"entries": entries, "cursor": "0"}).encode())(exchange)

        server.answer = earlier
        await eventually(lambda: followed.holds("newer"), "the feed is read from its start")


async def test_a_cursor_from_the_future_hides_entries_for_an_hour_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of the feed is read each hour, whatever its cursor."""
    entries = [user(1)]

    async def answer(exchange: Exchange) -> None:
        new = [] if "after" in exchange.target else entries
        await document(json.dumps({"entries": new, "cursor": "999999"}).encode())(exchange)

    clock = Clock()
    async with serving(answer) as server, following(server, clock=clock) as followed:
        await followed.read(2, "success")
        entries.append(user(2))
        await followed.read(2, "success")
        assert not followed.holds(2)
        clock.now += following_room.WHOLE_SECONDS * 1.2
        await eventually(lambda: followed.holds(2), "the whole feed is read")


async def test_a_cursor_that_runs_in_a_circle_ends_the_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So do pages without end; what they had counts."""
    numbers = count()

    async def circle(exchange: Exchange) -> None:
        body = {"entries": [user(1)], "cursor": str(next(numbers) % 3)}
        await document(json.dumps(body).encode())(exchange)

    async def endless(exchange: Exchange) -> None:
        body = {"entries": [user(2)], "cursor": str(next(numbers))}
        await document(json.dumps(body).encode())(exchange)

    async with serving(circle) as server, following(server) as followed:
        await followed.read(1, "failure")
        assert "its cursor repeats" in followed.follower.condition().problem
        monkeypatch.setattr(http, "MAX_PAGES", 5)
        server.answer = endless
        await followed.read(2, "failure")
        assert "more than 5 pages" in followed.follower.condition().problem
        assert followed.holds(1, 2)
    assert interface.MAX_CURSOR == 1024


async def test_a_feed_of_10_million_entries_is_refused_in_bounded_memory(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In one answer it is longer than a page may be; in many it has more than the bound."""
    monkeypatch.setattr(revocations, "MAX_ENTRIES", 1000)
    numbers = count()

    async def pages(exchange: Exchange) -> None:
        place = next(numbers) * 500
        entries = [user(place + number) for number in range(500)]
        body = {"entries": entries, "cursor": str(place)}
        await document(json.dumps(body).encode())(exchange)

    async def one(exchange: Exchange) -> None:
        await exchange.send(key_server.head(headers={"Transfer-Encoding": "chunked"}))
        part = b", ".join([b'{"jti": "%d"}' % number for number in range(10_000)])
        first = b'{"entries": ['
        for number in range(1000):
            data = (first if not number else b", ") + part
            await exchange.send(b"%x\r\n%s\r\n" % (len(data), data))

    async with serving(pages) as server, following(server) as followed:
        await followed.read(1, "failure")
        assert followed.follower.condition().problem == "more than 1,000 entries"
        assert followed.follower.condition().entries == 1000
        assert not followed.trusted()
        server.answer = one
        tracemalloc.start()
        await followed.read(2, "failure")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert followed.follower.condition().problem == "the answer is larger than 16 MiB"
        assert peak < 64 * 1024 * 1024
    assert any("more than 1,000 entries" in line for line in warnings_in(caplog.records))


async def test_reading_a_large_page_never_holds_the_event_loop() -> None:
    """Other tasks get their turns while 20,000 entries are taken."""
    feed = Feed(*(user(number) for number in range(20_000)), page=20_000)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with serving(feed) as server, following(server) as followed:
        task = asyncio.create_task(other())
        await followed.read(1, "success")
        task.cancel()
    assert followed.holds(19_999)
    assert turns >= 20_000 / http.ENTRIES_A_TURN


async def test_the_token_is_read_anew_for_each_request(tmp_path: Path) -> None:
    """Kubernetes rotates it; without it the reading fails and says so, without a secret."""
    file = tmp_path / "token"
    file.write_text("first\n")
    async with (
        serving(Feed()) as server,
        following(server, source={"token_file": file}) as followed,
    ):
        await followed.read(1, "success")
        assert server.exchanges[-1].headers["authorization"] == "Bearer first"
        file.write_text("second")
        await followed.read(2, "success")
        assert server.exchanges[-1].headers["authorization"] == "Bearer second"
        for content in ("", "two words", "x" * 9000):
            file.write_text(content)
            await followed.read(2, "failure")
            assert "`token` is not visible ASCII" in followed.follower.condition().problem
        file.unlink()
        await followed.read(2, "failure")
        assert "cannot be read: no such file" in followed.follower.condition().problem


async def test_tls_trusts_the_named_authority_only(tmp_path: Path) -> None:
    """A certificate of another one is a failure whose line says what to do."""
    tls = server_tls(Authority("ours"), tmp_path)
    (tmp_path / "other.crt").write_bytes(Authority("other").pem)
    async with serving(Feed(user(1)), tls) as server:
        good = {"tls": TlsFiles(tmp_path / "ca.crt")}
        async with following(server, source=good) as followed:
            await followed.read(1, "success")
        bad = {"tls": TlsFiles(tmp_path / "other.crt")}
        async with following(server, source=bad) as followed:
            await followed.read(1, "failure")
            assert "certificate does not verify" in followed.follower.condition().problem


async def test_another_feed_takes_over_and_nothing_that_was_closed_opens() -> None:
    """Its entries are added; until it was read, the former reading counts, up to max_stale."""
    clock = Clock()
    first, second = Feed(user(1)), Feed(user(2))
    async with (
        serving(first) as one,
        serving(second) as other,
        following(one, clock=clock, max_stale=60, deny_stale=True) as followed,
    ):
        await followed.read(1, "success")
        other.answer = document(b"", status="503 Service Unavailable")
        await followed.follower.change(settings(other.url, max_stale=60, deny_stale=True))
        await followed.read(1, "failure")
        assert followed.trusted()
        assert followed.holds(1)
        clock.now += 60
        assert not followed.trusted()
        other.answer = second
        await eventually(followed.trusted, "the other feed is read")
        assert followed.holds(1, 2)
        assert second.asked[0] is None


async def test_other_settings_of_the_same_feed_keep_its_cursor() -> None:
    """And its entries; the issuers and the time to retain are the new ones."""
    feed = Feed(user(1))
    async with serving(feed) as server, following(server) as followed:
        await followed.read(2, "success")
        await followed.follower.change(settings(server.url, issuers=frozenset({"b"}), retain=60.0))
        await followed.read(1, "success")
        assert feed.asked.count(None) == 1
        assert followed.follower.revocations.issuers == {"b"}
        assert followed.follower.revocations.retain == 60
        assert followed.holds(1)


async def test_entries_that_the_feed_dropped_go_after_retain() -> None:
    """Not before, and not those that it still lists."""
    clock = Clock()
    feed = Feed(user(1), user(2))
    async with serving(feed) as server, following(server, clock=clock, retain=7200) as followed:
        await followed.read(1, "success")
        feed.entries = [user(2), user(3)]
        for _ in range(2):
            clock.now += following_room.WHOLE_SECONDS * 1.2
            await followed.read(2, "success")
        assert not followed.holds(1)
        assert followed.holds(2, 3)


def test_the_bound_of_a_million_is_the_tables() -> None:
    """Pages of a hundred entries are read to their end."""
    assert http.MAX_PAGES * 100 == revocations.MAX_ENTRIES
