"""The snapshot file of revocations: what a restart while the feed is down begins with."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.zervi.revocation import kept as room
from tests.edge import key_server
from tests.edge.key_server import document, serving
from tests.edge.revocation_rig import NOW, Clock, Feed, following, user, warnings_in
from tests.support.waiting import eventually


async def written(server: key_server.KeyServer, path: Path, clock: Clock) -> None:
    """Follow the feed until it was read, and end."""
    async with following(server, clock=clock, snapshot_file=path) as followed:
        await followed.read(2, "success")


async def test_a_restart_while_the_feed_is_down_begins_with_the_file(tmp_path: Path) -> None:
    """Trusted while the file is younger than max_stale; the cursor goes on where it was."""
    path, clock = tmp_path / "feed", Clock()
    feed = Feed(user(1), {"jti": "a", "issuer": "other"})
    async with serving(feed) as server:
        await written(server, path, clock)
        assert path.stat().st_mode & 0o777 == 0o600
        server.answer = document(b"", status="503 Service Unavailable")
        clock.now += 599
        async with following(server, clock=clock, snapshot_file=path) as followed:
            assert followed.trusted()
            assert followed.holds(1)
            assert followed.follower.revocations.entries.names_issuers
            server.answer = feed
            asked = len(feed.asked)
            await followed.read(1, "success")
            assert feed.asked[asked] == "2"


@pytest.mark.parametrize("moved", [600, 1e6, -1])
async def test_an_old_file_counts_and_does_not_make_ready(tmp_path: Path, moved: float) -> None:
    """Nor does one from the future; what it revokes stays revoked."""
    path, clock = tmp_path / "feed", Clock()
    async with serving(Feed(user(1))) as server:
        await written(server, path, clock)
        clock.now += moved
        server.answer = key_server.closes
        async with following(server, clock=clock, snapshot_file=path) as followed:
            await followed.read(1, "failure")
            assert followed.holds(1)
            assert not followed.trusted()


async def test_entries_without_a_good_reading_are_kept_and_do_not_make_ready(
    tmp_path: Path,
) -> None:
    """A page with a wrong entry."""
    path = tmp_path / "feed"
    async with serving(Feed(user(1), 7)) as server:
        async with following(server, snapshot_file=path) as followed:
            await followed.read(1, "failure")
        async with following(server, snapshot_file=path) as followed:
            assert followed.holds(1)
            assert not followed.trusted()


def changed(head: dict[str, object], body: bytes) -> bytes:
    """Return a file with a right checksum whatever its head says."""
    head.pop("sha256", None)
    head["sha256"] = room._sum(head, body)
    return json.dumps(head).encode() + b"\n" + body


WRONG: dict[str, Callable[[dict[str, object], bytes], bytes]] = {
    "empty": lambda head, body: b"",
    "binary": lambda head, body: bytes(range(256)) * 100,
    "HTML": lambda head, body: b"<html>",
    "a list": lambda head, body: b"[]\n",
    "a long line": lambda head, body: b"{" * 100_000,
    "cut": lambda head, body: changed(dict(head), body)[:-1],
    "a wrong checksum": lambda head, body: json.dumps(head).encode() + b"\n" + body[::-1],
    "half an entry": lambda head, body: changed(dict(head), body[:-1]),
    "another feed": lambda head, body: changed({**head, "feed_sha256": "x"}, body),
    "a short key": lambda head, body: changed({**head, "key": "ab"}, body),
    "a key of other letters": lambda head, body: changed({**head, "key": "g" * 32}, body),
    "no key": lambda head, body: changed({**head, "key": None}, body),
    "a cursor that is a list": lambda head, body: changed({**head, "cursor": []}, body),
    "a time that is text": lambda head, body: changed({**head, "as_of": "now"}, body),
    "an endless time": lambda head, body: changed({**head, "as_of": 1e999}, body),
    "names_issuers as text": lambda head, body: changed({**head, "names_issuers": "x"}, body),
    "an empty mark": lambda head, body: changed(dict(head), bytes(20)),
    "NaN": lambda head, body: changed(dict(head), b"\1" * 8 + b"\xff" * 8 + b"\1" * 4),
}


@pytest.mark.parametrize("what", WRONG)
async def test_a_damaged_file_is_not_used(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says so; then it is as if there were none."""
    path, clock = tmp_path / "feed", Clock()
    async with serving(Feed(user(1))) as server:
        await written(server, path, clock)
        line, _, body = path.read_bytes().partition(b"\n")
        path.write_bytes(WRONG[what](json.loads(line), body))
        server.answer = key_server.closes
        async with following(server, clock=clock, snapshot_file=path) as followed:
            assert not followed.trusted()
            assert not followed.holds(1)
    assert sum("is not used" in line for line in warnings_in(caplog.records)) == 1


@pytest.mark.parametrize("kind", ["others can write it", "a link", "a pipe", "a directory"])
async def test_a_file_that_others_control_is_not_used(kind: str, tmp_path: Path) -> None:
    """A directory in its place does not stop the start either."""
    path, clock = tmp_path / "feed", Clock()
    async with serving(Feed(user(1))) as server:
        await written(server, path, clock)
        if kind == "others can write it":
            path.chmod(0o622)
        elif kind == "a link":
            path.rename(tmp_path / "other")
            path.symlink_to(tmp_path / "other")
        else:
            path.unlink()
            if kind == "a pipe":
                os.mkfifo(path)
            else:
                path.mkdir()
        server.answer = key_server.closes
        async with following(server, clock=clock, snapshot_file=path) as followed:
            assert not followed.trusted()


async def test_a_file_that_cannot_be_written_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The feed goes on."""
    path = tmp_path / "missing" / "feed"
    async with serving(Feed(user(1))) as server:
        async with following(server, snapshot_file=path) as followed:
            await followed.read(1, "success")
        assert followed.holds(1)
    assert any("cannot be written" in line for line in warnings_in(caplog.records))


async def test_no_name_is_in_the_file(tmp_path: Path) -> None:
    """It has hashes under a key of its own: two files of one feed have no mark in common."""
    bodies = []
    async with serving(Feed(user("someone@jobfirst.local"))) as server:
        for name in ("one", "two"):
            await written(server, tmp_path / name, Clock())
            content = (tmp_path / name).read_bytes()
            assert b"someone" not in content
            assert server.url.encode() not in content
            bodies.append(content.partition(b"\n")[2][:8])
    assert bodies[0] != bodies[1]


async def test_the_file_is_written_again_without_news_before_it_is_too_old(tmp_path: Path) -> None:
    """Else a restart after a quiet hour would begin without it."""
    async with serving(Feed(user(1))) as server:
        clock = Clock()
        async with following(
            server, clock=clock, snapshot_file=tmp_path / "a", max_stale=0.2
        ) as followed:
            await followed.read(2, "success")
            first = await eventually_as_of(tmp_path / "a", 0)
            clock.now += 100
            await followed.read(2, "success")
        assert await eventually_as_of(tmp_path / "a", first) == NOW + 100


async def eventually_as_of(path: Path, after: float) -> float:
    def as_of() -> float:
        if not path.exists():
            return 0.0
        return float(json.loads(path.read_bytes().partition(b"\n")[0])["as_of"])

    await eventually(lambda: as_of() > after, "the file is written")
    return as_of()
