"""The paced requests of `make bench`, and the other requests beside them."""

import asyncio
import contextlib
from pathlib import Path

import aiohttp
import pytest

from bench.crowd import REFUSED, Crowd, KeyServer, load, made_up
from bench.load import LoadError
from bench.paced import NO_ANSWER, Stream, ask
from bench.processes import CommandError
from demo.minting import new_key, sign, user_claims
from sidecar.core.tokens import jws


async def by_token(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request with its token as the status, in two pieces; close on a 0."""
    with contextlib.suppress(asyncio.IncompleteReadError):
        while (status := (await reader.readuntil(b"\r\n\r\n")).split()[-1].decode()) != "0":
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{".encode())
            await writer.drain()
            writer.write(b"}")
    writer.close()


async def asked(tokens: Path, *statuses: str) -> dict[int, int]:
    """Return the count of each status for a hundred requests over three connections."""
    await asyncio.to_thread(tokens.write_text, "\n".join(statuses))
    async with await asyncio.start_server(by_token, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        (answers,) = await ask(Stream(url, tokens, rate=1_000, seconds=0.1, connections=3))
    assert len(answers.took) == sum(answers.statuses.values())
    return dict(answers.statuses)


async def test_every_token_is_used_in_turn_and_every_answer_is_counted(tmp_path: Path) -> None:
    assert await asked(tmp_path / "tokens", "200", "401", "200", "503") == {
        200: 50,
        401: 25,
        503: 25,
    }


async def test_a_request_without_an_answer_is_counted(tmp_path: Path) -> None:
    """The other connections send the rest; without any connection the run fails."""
    assert await asked(tmp_path / "tokens", *["200"] * 99, "0") == {200: 99, NO_ANSWER: 1}
    with pytest.raises(CommandError):
        await ask(Stream("http://127.0.0.1:1/x", tmp_path / "tokens", 1_000, 0.1, 3))


async def test_an_unexpected_answer_ends_the_run(tmp_path: Path) -> None:
    """An unknown kid that is allowed is worse than slow."""
    async with await asyncio.start_server(by_token, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        for good, others, right in (
            ("200", "401", True),
            ("200", "200", False),
            ("503", "401", False),
        ):
            crowd = Crowd(iter([others] * 100), REFUSED)
            with contextlib.nullcontext() if right else pytest.raises(LoadError):
                assert (await load(url, good, tmp_path, crowd, 0.1)).requests == 130


def test_a_made_up_token_differs_only_in_its_kid() -> None:
    good = sign(user_claims("alice"), new_key("a"))
    read, known = jws.read(made_up(good, 7).encode()), jws.read(good.encode())
    assert (read.alg, read.kid) == (known.alg, "made-up-7")
    assert (read.claims, read.signature) == (known.claims, known.signature)


async def test_keys_that_are_fetched_too_often_end_the_run() -> None:
    """The first fetch and a burst of two are allowed; a fourth is one too many."""
    keys = KeyServer(b"{}")
    async with keys.serving(), aiohttp.ClientSession() as session:
        for _ in range(4):
            keys.check()
            async with session.get(keys.url) as answer:
                assert await answer.text() == "{}"
        with pytest.raises(LoadError):
            keys.check()
