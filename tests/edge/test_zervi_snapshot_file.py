"""The snapshot file: a restart while Zervi is down still serves, and no other user can write it."""

import json
import logging
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.core.tokens.keys import KeySet
from sidecar.zervi import snapshot_file
from sidecar.zervi.interface import JwksFile, JwksUrl
from sidecar.zervi.snapshot_file import SnapshotFile, encode
from tests.edge.key_server import document, serving
from tests.edge.zervi_rig import ALGORITHMS, ISSUER, SETTINGS, Clock, key_set, public, running
from tests.support.ports import free_port
from tests.support.signing import ec_key, ed_key, jwk, jwks, rsa_key
from tests.support.waiting import eventually

NOW = Clock().now
SOURCE = JwksUrl(ISSUER, ALGORITHMS, "http://127.0.0.1:1/jwks.json")


def parsed(body: bytes, fetched_at: float = NOW - 60) -> KeySet:
    return parse_key_set(body, algorithms=ALGORITHMS, fetched_at=fetched_at)


def stored(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


def modes(directory: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}


async def restored(path: Path, *sources: JwksUrl) -> dict[int, KeySet]:
    """Start with this snapshot file while every issuer is down; return the keys at the start."""
    settings = SETTINGS._replace(snapshot_file=path)
    async with running(*(sources or (SOURCE,)), settings=settings) as rig:
        return dict(rig.keys)


async def test_a_restart_while_the_issuer_is_away_serves_its_last_good_keys(tmp_path: Path) -> None:
    """The keys come back with the age that they have, and a later good set replaces them."""
    settings = SETTINGS._replace(snapshot_file=tmp_path / "keys.json")
    async with serving(document(key_set("a"))) as server:
        source = JwksUrl(ISSUER, ALGORITHMS, server.url)
        async with running(source, settings=settings) as rig:
            await rig.fetched()
            first = rig.keys[0]
        await server.stop()
        async with running(source, settings=settings) as rig:
            assert rig.keys[0].thumbprints == first.thumbprints
            assert rig.keys[0].fetched_at == first.fetched_at
            await rig.fetched("failure")
            assert rig.kids == {"a"}
            server.answer = document(key_set("b"))
            await server.start()
            await rig.fetched()
            assert rig.kids == {"b"}
    assert set((await restored(tmp_path / "keys.json", source))[0].by_kid) == {"b"}


async def test_the_file_is_for_its_owner_alone_and_nothing_is_left_beside_it(
    tmp_path: Path,
) -> None:
    """Mode 0600, replaced whole, also over what a killed process left."""
    path = tmp_path / "keys.json"
    stored(tmp_path / "keys.json.new", b"half a fi", 0o644)
    settings = SETTINGS._replace(snapshot_file=path)
    async with (
        serving(document(key_set("a"))) as server,
        running(JwksUrl(ISSUER, ALGORITHMS, server.url), settings=settings) as rig,
    ):
        await rig.fetched()
    assert modes(tmp_path) == {"keys.json": 0o600}


async def test_only_keys_in_force_are_written(tmp_path: Path) -> None:
    """A private or secret member of the issuer's document never reaches the disk, nor its URL."""
    path = tmp_path / "keys.json"
    settings = SETTINGS._replace(snapshot_file=path)
    leaky = {**public("leaky"), "d": "cHJpdmF0ZQ"}
    secret = {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"}
    async with serving(document(jwks(public("a"), leaky, secret))) as server:
        source = JwksUrl(ISSUER, ALGORITHMS, server.url + "?password=query-secret")
        async with running(source, settings=settings) as rig:
            await rig.fetched()
    content = path.read_text()
    assert '"a"' in content
    for never in ("cHJpdmF0ZQ", "c2VjcmV0", "leaky", "query-secret", f":{server.port}"):
        assert never not in content


async def test_several_issuers_share_the_file_and_keep_their_entries(tmp_path: Path) -> None:
    """A good fetch of one issuer does not lose what is kept of another that is down."""
    path = tmp_path / "keys.json"
    away = JwksUrl("https://away.test", ALGORITHMS, f"http://127.0.0.1:{free_port()}/")
    stored(path, encode({away: parsed(key_set("kept"))}))
    settings = SETTINGS._replace(snapshot_file=path)
    async with serving(document(key_set("a"))) as server:
        here = JwksUrl(ISSUER, ALGORITHMS, server.url)
        async with running(None, away, here, settings=settings) as rig:
            await eventually(lambda: 2 in rig.keys, "the other issuer's keys")
    again = await restored(path, away, here)
    assert set(again[0].by_kid) == {"kept"}
    assert set(again[1].by_kid) == {"a"}


async def test_every_kind_of_key_comes_back_as_it_was(tmp_path: Path) -> None:
    """Type, curve, kid (or none), algorithms and thumbprint survive."""
    document = jwks(
        jwk(rsa_key(), kid="rsa"),
        jwk(rsa_key(), kid="rsa-ps", alg="PS256"),
        jwk(ec_key(), kid='钥匙 " \\ \u2028'),
        jwk(ec_key("P-384"), kid="ec-384"),
        jwk(ec_key("P-521"), kid="ec-521"),
        jwk(ed_key()),
        jwk(ed_key("Ed448"), kid="ed448"),
        *(jwk(rsa_key("two"), kid="two of six", alg=alg) for alg in ("RS512", "PS256")),
        *(jwk(key, kid="type") for key in (rsa_key("t"), ec_key(name="t"))),
    )
    before = parsed(document)
    after = (await restored(stored(tmp_path / "k", encode({SOURCE: before}))))[0]
    assert len(before.keys) == 10
    assert [key[:3] for key in after.keys] == [key[:3] for key in before.keys]
    assert after.by_kid.keys() == before.by_kid.keys()


@pytest.mark.parametrize("mode", [0o660, 0o606, 0o622])
async def test_a_file_that_others_could_have_written_is_not_used(tmp_path: Path, mode: int) -> None:
    """A user who can write keys can make tokens."""
    path = stored(tmp_path / "k", encode({SOURCE: parsed(key_set("a"))}), mode)
    assert await restored(path) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
async def test_another_users_file_is_not_used(tmp_path: Path) -> None:
    """The file must be this process's own."""
    path = stored(tmp_path / "k", encode({SOURCE: parsed(key_set("a"))}))
    os.chown(path, 12345, -1)
    assert await restored(path) == {}


async def test_a_link_or_a_pipe_in_the_files_place_is_not_followed(tmp_path: Path) -> None:
    """Nothing but a regular file at this very path is read."""
    target = stored(tmp_path / "k", encode({SOURCE: parsed(key_set("a"))}))
    link, pipe = tmp_path / "link", tmp_path / "pipe"
    link.symlink_to(target)
    os.mkfifo(pipe, 0o600)
    assert await restored(link) == {}
    assert await restored(pipe) == {}


@pytest.mark.parametrize(
    ("fetched_at", "used"),
    [
        (NOW, True),
        (NOW - SETTINGS.max_stale + 1, True),
        (NOW - SETTINGS.max_stale, False),
        (NOW + 1, False),
        (0, False),
        (-1, False),
        (1e308, False),
    ],
)
async def test_keys_from_the_future_or_too_old_are_not_used(
    tmp_path: Path, fetched_at: float, used: bool
) -> None:
    """Only an age between none and max_stale counts."""
    keys = parsed(key_set("a"), fetched_at)
    path = stored(tmp_path / "k", encode({SOURCE: keys}))
    assert bool(await restored(path)) is used


async def test_keys_of_another_issuer_url_or_algorithm_are_not_used(tmp_path: Path) -> None:
    """An entry counts for the issuer and the very URL that it came from, under today's config."""
    path = stored(tmp_path / "k", encode({SOURCE: parsed(key_set("a"))}))
    assert await restored(path, SOURCE._replace(issuer="https://other.test")) == {}
    assert await restored(path, SOURCE._replace(url=SOURCE.url + "?v=2")) == {}
    assert await restored(path, SOURCE._replace(algorithms=frozenset({"RS256"}))) == {}
    assert set(await restored(path)) == {0}


def tampered(change: Callable[[Any], None]) -> bytes:
    content = json.loads(encode({SOURCE: parsed(key_set("a"))}))
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 100,
        b"[]",
        b"{}",
        b'{"issuers": {}}',
        b'{"sha256": null, "issuers": []}',
        encode({SOURCE: parsed(key_set("a"))})[:-20],
        encode({SOURCE: parsed(key_set("a"))}) + b"x",
        tampered(lambda content: content.pop("sha256")),
        tampered(lambda content: content["issuers"][0].update(fetched_at=NOW)),
        tampered(lambda content: content["issuers"][0]["keys"][0].update(kid="b")),
        tampered(lambda content: content["issuers"].append(7)),
        b" " * 1024 * 1024,
        b"[" * 100_000,
    ],
    ids=range(14),
)
async def test_a_damaged_file_is_not_used_and_written_anew(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Torn, empty, changed or senseless: one line for the operator, and the start goes on."""
    path = stored(tmp_path / "k", content)
    settings = SETTINGS._replace(snapshot_file=path)
    async with serving(document(key_set("a"))) as server:
        source = JwksUrl(ISSUER, ALGORITHMS, server.url)
        async with running(source, settings=settings) as rig:
            assert rig.keys == {}
            await rig.fetched()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert set((await restored(path, source))[0].by_kid) == {"a"}


async def test_no_more_of_the_file_is_read_than_it_can_need(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file beyond any that was written is refused for its size."""
    assert await restored(stored(tmp_path / "k", b" " * 1024 * 1024)) == {}
    assert "larger than 512 KiB" in caplog.text


@pytest.mark.parametrize("keys", [None, {}, [], [7], [{"kty": "oct", "k": "x"}], ["a"] * 101])
async def test_an_entry_passes_the_same_parser_as_an_answer(
    tmp_path: Path, keys: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file with a correct checksum, whose entry is not a usable key set, is not used."""
    monkeypatch.setattr(snapshot_file, "_digest", lambda entries: "always right")
    content = tampered(lambda content: content["issuers"][0].update(keys=keys))
    assert await restored(stored(tmp_path / "k", content)) == {}


@pytest.mark.parametrize("fetched_at", [None, "1", [], True, {}])
async def test_an_entry_without_a_sane_time_is_not_used(
    tmp_path: Path, fetched_at: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fetched_at is a number of seconds."""
    monkeypatch.setattr(snapshot_file, "_digest", lambda entries: "always right")
    content = tampered(lambda content: content["issuers"][0].update(fetched_at=fetched_at))
    assert await restored(stored(tmp_path / "k", content)) == {}


async def test_a_file_that_cannot_be_written_costs_one_line_and_no_keys(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Fetching goes on, one warning is logged, and a repaired directory is used."""
    directory = tmp_path / "missing"
    settings = SETTINGS._replace(refresh=1.0, snapshot_file=directory / "k")
    async with (
        serving(document(key_set("a"))) as server,
        running(JwksUrl(ISSUER, ALGORITHMS, server.url), settings=settings) as rig,
    ):
        for _ in range(5):
            await rig.fetched()
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "no such file or directory" in caplog.text
        directory.mkdir()
        await eventually((directory / "k").exists, "the file is written")


async def test_what_changes_while_the_file_is_written_is_written_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file ends up with the latest set, however writing and fetching overlap."""
    writing, go_on = threading.Event(), threading.Event()
    write = snapshot_file.write

    def slow_disk(path: Path, content: bytes) -> None:
        writing.set()
        go_on.wait(10)
        write(path, content)

    monkeypatch.setattr(snapshot_file, "write", slow_disk)
    file = SnapshotFile(tmp_path / "k", [SOURCE], SETTINGS.max_stale)
    file.put(SOURCE, parsed(key_set("a")))
    await eventually(writing.is_set, "the first set is being written")
    file.put(SOURCE, parsed(key_set("b")))
    file.put(SOURCE, parsed(key_set("c")))
    go_on.set()
    await file.close()
    assert set((await restored(tmp_path / "k"))[0].by_kid) == {"c"}


async def test_a_jwks_file_is_not_kept_a_second_time(tmp_path: Path) -> None:
    """What is a file already needs no copy."""
    keys = tmp_path / "jwks.json"
    keys.write_bytes(key_set("a"))
    settings = SETTINGS._replace(snapshot_file=tmp_path / "k")
    async with running(JwksFile(ISSUER, ALGORITHMS, keys), settings=settings) as rig:
        await rig.fetched()
    assert not (tmp_path / "k").exists()


@pytest.mark.parametrize("jump", [-7200.0, 0.0, 7200.0])
async def test_a_set_is_written_with_the_wall_clock_s_time_and_read_as_old_as_it_is(
    tmp_path: Path, jump: float
) -> None:
    """However far the wall clock had jumped from the steady one that a process goes by."""
    keys = parsed(key_set("a"), fetched_at=NOW - 60)
    one = SnapshotFile(tmp_path / "k", [SOURCE], SETTINGS.max_stale, lambda: jump)
    one.put(SOURCE, keys)
    await one.close()
    (entry,) = json.loads((tmp_path / "k").read_bytes())["issuers"]
    assert entry["fetched_at"] == NOW - 60 + jump
    # The next process's steady clock began somewhere else, the wall clock went on.
    other = SnapshotFile(tmp_path / "k", [SOURCE], SETTINGS.max_stale, lambda: -5.0)
    (found,) = (await other.load(NOW + jump + 5.0)).values()
    assert found.fetched_at == NOW + jump + 5.0 - 60
