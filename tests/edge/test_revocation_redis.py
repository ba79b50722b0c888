"""The feed of revocations in a real server of Redis' protocol, through kill and restart."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from sidecar.zervi.revocation import redis as room
from sidecar.zervi.revocation import resp
from tests.edge.key_server import MEGABYTE
from tests.edge.revocation_rig import following, user, warnings_in
from tests.edge.valkey_server import Valkey, running
from tests.support.waiting import eventually

SLOWLY = 300.0  # seconds between two readings: only a message is quicker


async def revoke(server: Valkey, *entries: object, tell: bool = False, score: float = 0) -> None:
    async with server.client() as client:
        for entry in entries:
            member = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
            await client.zadd(room.KEY, {member: score or time.time()})
            if tell:
                await client.publish(room.KEY, member)


async def test_entries_come_from_the_set_and_then_only_what_is_new(tmp_path: Path) -> None:
    """More than a page of them, with equal scores; later readings begin before the last score."""
    async with running(tmp_path) as server:
        now = time.time()
        async with server.client() as client:
            members = {json.dumps(user(number)): now for number in range(2500)}
            await client.zadd(room.KEY, members)
        async with following(server.url, poll=1.0) as followed:
            await followed.read(1, "success")
            assert followed.holds(*range(2500))
            await revoke(server, user("new"), score=now + 1)
            await revoke(server, user("late"), score=now - room.OVERLAP_SECONDS / 2)
            await eventually(lambda: followed.holds("new", "late"), "what is new comes")


async def test_a_published_entry_counts_at_once(tmp_path: Path) -> None:
    """The set is not read for it."""
    async with running(tmp_path) as server, following(server.url, poll=SLOWLY) as followed:
        await followed.read(1, "success")
        async with server.client() as client:
            await eventually_subscribed(client)
            await client.publish(room.KEY, json.dumps(user(1)))
            await eventually(lambda: followed.holds(1), "the message is taken")
        assert len(followed.results) <= 2


async def eventually_subscribed(client: redis.asyncio.Redis) -> None:
    for _ in range(1000):
        if dict(await client.pubsub_numsub(room.KEY))[room.KEY.encode()]:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody subscribed")


async def test_a_message_that_is_no_entry_leads_to_a_reading(tmp_path: Path) -> None:
    """A writer that publishes just a word is understood too."""
    async with running(tmp_path) as server, following(server.url, poll=1.0) as followed:
        await followed.read(1, "success")
        async with server.client() as client:
            await eventually_subscribed(client)
            for message in (b"changed", b"", b"\xff", b'{"user_id": 7}', b"7", b"x" * 100_000):
                await client.publish(room.KEY, message)
            await revoke(server, user(1))
        await eventually(lambda: followed.holds(1), "the set is read")


async def test_kill_and_restart_lose_no_entry(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was read stays meanwhile; after the restart readings and messages go on."""
    async with running(tmp_path) as server, following(server.url) as followed:
        await revoke(server, user(1))
        await eventually(lambda: followed.holds(1), "the entry comes")
        await server.kill()
        await eventually(lambda: followed.follower.condition().problem, "the outage is noticed")
        assert followed.trusted()
        assert followed.holds(1)
        await followed.read(3, "failure")
        await server.start()
        await eventually(lambda: not followed.follower.condition().problem, "it is read again")
        await revoke(server, user(2))
        await eventually(lambda: followed.holds(2), "a new entry comes")
        async with server.client() as client:
            await eventually_subscribed(client)
    assert 1 <= len(warnings_in(caplog.records)) <= 3
    assert "connection" in warnings_in(caplog.records)[0]


async def test_a_set_that_was_emptied_reopens_nothing(tmp_path: Path) -> None:
    """A failover may lose entries, and so may a person."""
    async with running(tmp_path) as server, following(server.url) as followed:
        await revoke(server, user(1))
        await eventually(lambda: followed.holds(1), "the entry comes")
        async with server.client() as client:
            await client.flushall()
        await followed.read(3, "success")
        assert followed.holds(1)


async def test_a_score_from_the_future_hides_no_later_entry(tmp_path: Path) -> None:
    """Nor does one without end."""
    async with running(tmp_path) as server, following(server.url) as followed:
        await revoke(server, user(1), score=1e18)
        await revoke(server, user(2), score=float("inf"))
        await revoke(server, user(3), score=float("-inf"))
        await eventually(lambda: followed.holds(1, 2), "the entries come")
        await revoke(server, user(4))
        await eventually(lambda: followed.holds(4), "a later one comes")


async def test_a_server_that_is_full_or_read_only_is_read(tmp_path: Path) -> None:
    """The sidecar writes nothing; who revokes gets the server's error."""
    async with running(tmp_path) as server, following(server.url) as followed:
        await revoke(server, user(1))
        async with server.client() as client:
            await client.config_set("maxmemory", "1")
            with pytest.raises(redis.ResponseError):
                await revoke(server, user(2))
            await client.config_set("maxmemory", "0")
            await client.config_set("min-replicas-to-write", "1")
            with pytest.raises(redis.ResponseError):
                await revoke(server, user(3))
        await followed.read(2, "success")
        assert followed.holds(1)


async def test_a_replica_is_read_while_it_has_its_master(tmp_path: Path) -> None:
    """Without one its entries may be old, so that is a failure."""
    for name in ("master", "replica"):
        (tmp_path / name).mkdir()
    async with running(tmp_path / "master") as master:
        await revoke(master, user(1))
        replica_of = ("--replicaof", f"127.0.0.1 {master.port}", "--repl-diskless-sync-delay", "0")
        async with (
            running(tmp_path / "replica", *replica_of) as replica,
            following(replica.url) as followed,
        ):
            await eventually(lambda: followed.holds(1), "the replica is read")
            await master.kill()
            await eventually(
                lambda: "lost its master" in followed.follower.condition().problem, "it is noticed"
            )


WRONG_MEMBERS = {
    "not JSON": b"rubbish",
    "not an entry": b'{"user": 7}',
    "a list": b"[" * 1000,
    "not UTF-8": b"\xff\xfe",
    "empty": b"",
    "huge": b'{"jti": "' + b"x" * MEGABYTE + b'"}',
}


@pytest.mark.parametrize("what", WRONG_MEMBERS)
async def test_a_wrong_member_hides_no_other(what: str, tmp_path: Path) -> None:
    """The others count, and the reading fails until it is gone."""
    async with running(tmp_path) as server:
        member = WRONG_MEMBERS[what]
        await revoke(server, user(1), member, user(2))
        async with following(server.url) as followed:
            await followed.read(1, "failure")
            assert followed.holds(1, 2)
            assert not followed.trusted()
            assert "1 entry is wrong" in followed.follower.condition().problem
            async with server.client() as client:
                await client.zrem(room.KEY, member)
            await eventually(followed.trusted, "the set is good")


async def test_more_than_a_few_huge_members_are_refused_unread(tmp_path: Path) -> None:
    """Reading past them has a bound too."""
    async with running(tmp_path) as server:
        await revoke(server, *(b"%d" % number * (2 * MEGABYTE) for number in range(6)))
        async with following(server.url) as followed:
            await followed.read(1, "failure")
            assert "not Redis' protocol" in followed.follower.condition().problem
    assert resp.MAX_DISCARDED < 12 * MEGABYTE


@pytest.mark.parametrize("kind", ["text", "list", "hash", "stream"])
async def test_other_data_under_the_key_is_an_error_that_says_so(
    kind: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is trusted, and the data stay as they are."""
    async with running(tmp_path) as server:
        async with server.client() as client:
            if kind == "text":
                await client.set(room.KEY, "x" * MEGABYTE)
            elif kind == "list":
                await client.rpush(room.KEY, "x")
            elif kind == "hash":
                await client.hset(room.KEY, "x", "y")
            else:
                await client.xadd(room.KEY, {"x": "y"})
        async with following(server.url) as followed:
            await followed.read(1, "failure")
            assert not followed.trusted()
    assert "holds other data than a sorted set" in warnings_in(caplog.records)[0]


async def test_a_wrong_password_is_an_error_without_the_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So is a missing one; the right one is read anew for each connection."""
    file = tmp_path / "password"
    async with running(tmp_path, "--requirepass", "the-right-one") as server:
        async with following(server.url) as followed:
            await followed.read(1, "failure")
        file.write_text("the-wrong-one")
        async with following(server.url, source={"token_file": file}) as followed:
            await followed.read(1, "failure")
            assert followed.follower.condition().problem == "wrong user or password"
            file.write_text("the-right-one")
            await eventually(followed.trusted, "the right password is used")
        monkeypatch.setenv("FEED_PASSWORD", "the-right-one")
        async with following(server.url, source={"token_env": "FEED_PASSWORD"}) as followed:
            await followed.read(1, "success")
    assert "-one" not in caplog.text


async def test_a_user_without_permission_is_an_error_that_names_the_commands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With those commands only, it works."""
    file = tmp_path / "password"
    file.write_text("secret-of-reader")
    source = {"username": "reader", "token_file": file}
    async with running(tmp_path) as server, server.client() as client:
        await client.acl_setuser("reader", enabled=True, passwords=["+secret-of-reader"])
        async with following(server.url, source=source) as followed:
            await followed.read(1, "failure")
            assert "no permission" in followed.follower.condition().problem
            advice = next(line for line in warnings_in(caplog.records) if "+zscan" in line)
            rules = advice.partition("allow the user ")[2].split()
            command: Any = client.execute_command
            await command("ACL", "SETUSER", "reader", *rules)
            await eventually(followed.trusted, "the user may read")
            await eventually_subscribed(client)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n", b"*999999999\r\n", b"$999999999\r\n",
        b"*2\r\n" * 30_000, b"+" + b"x" * MEGABYTE, b":1\r\n" * 10, b"$-5\r\n",
        b"*-7\r\n", b"\0" * 99,
    ],
)  # fmt: skip
async def test_what_is_no_redis_is_an_error_in_bounded_memory(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever answers on that port."""
    monkeypatch.setattr(room, "ANSWER_SECONDS", 0.5)

    async with answering(answer) as url, following(url) as followed:
        await followed.read(2, "failure")
        assert not followed.trusted()


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[str]:
    """Answer whatever comes with these bytes, on a port of its own; return its URL."""
    connections: set[asyncio.StreamWriter] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        with suppress(ConnectionError):
            while await reader.read(65536):
                writer.write(answer)
                await writer.drain()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in connections:
            writer.transport.abort()


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a slow feed over HTTP is."""
    monkeypatch.setattr(room, "ANSWER_SECONDS", 0.1)
    async with answering(b"") as url, following(url) as followed:
        await followed.read(1, "failure")
        assert "no answer within" in followed.follower.condition().problem


async def test_a_flood_of_messages_does_not_stop_the_event_loop(tmp_path: Path) -> None:
    """Nor does it lead to a flood of readings."""
    async with running(tmp_path) as server, following(server.url, poll=1.0) as followed:
        await followed.read(1, "success")
        async with server.client() as client:
            await eventually_subscribed(client)
            for _ in range(20):
                async with client.pipeline(transaction=False) as pipe:
                    for _ in range(500):
                        pipe.publish(room.KEY, "changed")
                    await pipe.execute()
        await followed.read(1, "success")
        assert len(followed.results) < 10
