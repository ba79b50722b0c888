"""The key ring: revalidation, ageing, files, what is reported."""

import os
from pathlib import Path

import pytest

from sidecar.core.tokens.keys import KeySet
from sidecar.zervi import local_file, schedule
from sidecar.zervi.interface import JwksFile
from sidecar.zervi.keyring import KeyRing
from tests.edge import key_server
from tests.edge.key_server import document, revalidated, serving
from tests.edge.zervi_rig import (
    ALGORITHMS,
    ISSUER,
    SETTINGS,
    key_set,
    running,
    source,
)
from tests.support.waiting import eventually

GOOD = document(key_set("a"))
FREQUENT = SETTINGS._replace(refresh=1.0)


async def test_a_304_makes_the_keys_as_fresh_as_a_new_answer_would() -> None:
    """An unchanged document costs no body and renews fetched_at; the keys are the same objects."""
    async with (
        serving(revalidated(key_set("a"), '"v1"')) as server,
        running(source(server.url), settings=FREQUENT) as rig,
    ):
        await rig.fetched()
        first = rig.keys[0]
        assert first.fetched_at == rig.clock.now
        rig.clock.now += 100
        await eventually(lambda: rig.keys[0].fetched_at == rig.clock.now, "fresh keys")
        assert rig.count("not_modified") > 0
        assert rig.keys[0].keys is first.keys
        assert "if-none-match" not in server.exchanges[0].headers
        assert server.exchanges[1].headers["if-none-match"] == '"v1"'


async def test_a_changed_document_is_taken_in_spite_of_the_etag() -> None:
    """A new ETag brings a new body, and is the one that is sent from then on."""
    async with (
        serving(revalidated(key_set("a"), '"v1"')) as server,
        running(source(server.url), settings=FREQUENT) as rig,
    ):
        await rig.fetched()
        server.answer = revalidated(key_set("b"), 'W/"v2"')
        await rig.fetched("success")
        assert rig.kids == {"b"}
        await rig.fetched("not_modified")
        assert server.exchanges[-1].headers["if-none-match"] == 'W/"v2"'


async def test_the_etag_of_a_refused_document_is_not_kept() -> None:
    """Else a later 304 would mean a document that was never taken."""
    async with (
        serving(revalidated(key_set("a"), '"good"')) as server,
        running(source(server.url)) as rig,
    ):
        await rig.fetched()
        server.answer = revalidated(b"{}", '"bad"')
        assert await rig.ask() is False
        server.answer = revalidated(key_set("b"), '"good again"')
        await rig.fetched()
        assert server.exchanges[-1].headers["if-none-match"] == '"good"'
        assert rig.kids == {"b"}


@pytest.mark.parametrize("etag", ["v1", '"a\x80"', '"' + "x" * 500 + '"', '"a" "b"', ""])
async def test_an_etag_that_cannot_be_sent_back_is_left_alone(etag: str) -> None:
    """A malformed entity tag costs the server its 304, and nothing else."""
    async with (
        serving(document(key_set("a"), headers={"ETag": etag})) as server,
        running(source(server.url)) as rig,
    ):
        await rig.fetched()
        assert await rig.ask() is True
        assert "if-none-match" not in server.exchanges[1].headers


async def test_a_short_max_age_brings_the_next_fetch_forward(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Keys that the issuer calls fresh for a moment are fetched again before `refresh` is over."""
    monkeypatch.setattr(schedule, "MIN_MAX_AGE", 1.0)
    answer = document(key_set("a"), headers={"Cache-Control": "max-age=1"})
    async with serving(answer) as server, running(source(server.url)) as rig:
        await rig.fetched()
        await rig.fetched()


async def test_a_long_max_age_does_not_put_the_next_fetch_off() -> None:
    """`refresh` is the most, whatever the issuer says."""
    answer = document(key_set("a"), headers={"Cache-Control": "max-age=31536000"})
    async with serving(answer) as server, running(source(server.url), settings=FREQUENT) as rig:
        await rig.fetched()
        await rig.fetched()


async def test_keys_are_as_old_as_the_question_that_brought_them() -> None:
    """What the issuer changes while an answer travels is not in it."""

    async def slow(exchange: key_server.Exchange) -> None:
        rig.clock.now += 50
        await GOOD(exchange)

    async with serving(slow) as server, running(source(server.url)) as rig:
        asked_at = rig.clock.now
        await rig.fetched()
        assert rig.keys[0].fetched_at == asked_at


async def test_health_hears_when_the_last_good_keys_are_too_old() -> None:
    """Once the keys are older than max_stale, the reports of failures say so."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = key_server.closes
        rig.clock.now += SETTINGS.max_stale - 1
        assert await rig.ask() is False
        assert rig.last == ("failure", "the connection was closed without an answer")
        rig.clock.now += 2
        await rig.fetched("failure")
        assert rig.last[1].endswith("; its keys are older than max_stale")


async def test_the_keys_age_is_looked_at_when_it_runs_out() -> None:
    """A fetch is due when the keys stop counting, even where the refresh would come much later."""
    settings = SETTINGS._replace(max_stale=0.2)
    async with serving(GOOD) as server, running(source(server.url), settings=settings) as rig:
        await rig.fetched()
        await rig.fetched()


async def test_a_file_is_read_instead_of_a_url_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """jwks_file: its keys, its changes, its absence and its return; unchanged is not_modified."""
    monkeypatch.setattr(local_file, "FILE_REFRESH", 0.1)
    path = tmp_path / "jwks.json"
    async with running(JwksFile(ISSUER, ALGORITHMS, path)) as rig:
        await rig.fetched("failure")
        assert rig.last == ("failure", "the file cannot be read: no such file or directory")
        path.write_bytes(key_set("a"))
        await rig.fetched()
        assert rig.kids == {"a"}
        await rig.fetched("not_modified")
        path.write_bytes(key_set("b"))
        await rig.fetched()
        assert rig.kids == {"b"}
        path.write_bytes(key_set("c")[:-1])
        await rig.fetched("failure")
        assert rig.kids == {"b"}
        path.write_bytes(key_set("c"))
        await rig.fetched()
        assert rig.kids == {"c"}


async def test_a_key_that_a_file_lacks_has_it_read_at_once(tmp_path: Path) -> None:
    """An unknown key is looked for in the file too."""
    path = tmp_path / "jwks.json"
    path.write_bytes(key_set("a"))
    async with running(JwksFile(ISSUER, ALGORITHMS, path)) as rig:
        await rig.fetched()
        path.write_bytes(key_set("b"))
        assert await rig.ask("b") is True
        assert rig.kids == {"b"}


@pytest.mark.parametrize("kind", ["directory", "pipe", "huge", "device"])
async def test_a_path_that_is_no_file_of_keys_is_a_failure(tmp_path: Path, kind: str) -> None:
    """Neither a directory nor a pipe nor an endless file holds the engine up."""
    path = tmp_path / "jwks.json"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path = Path("/dev/zero")
    else:
        path.write_bytes(b" " * (key_server.MEGABYTE))
    async with running(JwksFile(ISSUER, ALGORITHMS, path)) as rig:
        await rig.fetched("failure")
        assert rig.kids == set()


def test_no_more_of_a_file_is_read_than_its_reader_wants(tmp_path: Path) -> None:
    """One byte over the limit is enough to refuse the rest."""
    path = tmp_path / "jwks.json"
    path.write_bytes(b"x" * 1000)
    assert local_file.read_regular_file(path, 10) == b"x" * 11


async def test_an_error_in_a_callback_does_not_end_the_refreshing() -> None:
    """Whatever goes wrong while keys are handed on, the next fetch comes, and the keys with it."""
    swapped: list[KeySet] = []
    results: list[str] = []

    def on_keys(_index: int, keys: KeySet) -> None:
        if not results:
            raise RuntimeError("not yet")
        swapped.append(keys)

    async with serving(GOOD) as server:
        ring = KeyRing(
            [source(server.url)],
            SETTINGS,
            on_keys=on_keys,
            on_refresh=lambda _index, result, detail: results.append(f"{result}: {detail}"),
        )
        await ring.start()
        await eventually(lambda: swapped, "the second fetch")
        await ring.close()
    assert results[0] == "failure: internal error RuntimeError"
