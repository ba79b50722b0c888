"""The guard around the Check service: whatever the service does, the transport gets a denial."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from unittest import mock

import pytest

from sidecar.extauthz.guard import Guard

DENIAL = b"no"


def _raise(error: BaseException) -> None:
    raise error


async def _later(answer: object) -> object:
    return answer


async def _raise_later(error: BaseException) -> None:
    raise error


async def _stubborn() -> bytes:
    """Never end, and take no notice of being cancelled the first time."""
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    try:
        return await asyncio.shield(never)
    except asyncio.CancelledError:
        return await asyncio.wait_for(asyncio.shield(never), 1)


async def ask(check: Callable[..., object], deadline: float | None = None) -> bytes:
    """Ask as a transport does."""
    answer = Guard(check, DENIAL).answer(b"message", deadline)  # type: ignore[arg-type]  # -- faulty on purpose
    return answer if isinstance(answer, bytes) else await answer


async def test_an_answer_passes_as_it_is() -> None:
    """Immediately or later, with the same message and deadline."""
    asked = mock.Mock(return_value=b"yes")
    assert await ask(asked, 7.0) == b"yes"
    asked.assert_called_once_with(b"message", 7.0)
    assert await ask(lambda *_: _later(b"yes")) == b"yes"


@pytest.mark.parametrize(
    "check",
    [
        lambda *_: _raise(RuntimeError()),
        lambda *_: _raise(RecursionError()),
        lambda *_: None,
        lambda *_: b"",
        lambda *_: bytearray(b"x"),
        lambda *_: "yes",
        lambda *_: object(),
        lambda *_: _raise_later(RuntimeError()),
        lambda *_: _raise_later(asyncio.CancelledError()),
        lambda *_: _later(b""),
        lambda *_: _later(None),
        lambda *_: _later(True),
    ],
)
async def test_anything_else_is_the_denial(check: Callable[..., object]) -> None:
    """An error, a cancellation, nothing, or not bytes."""
    assert await ask(check) == DENIAL


@pytest.mark.parametrize("left", [0.05, -1.0])
async def test_what_is_not_there_before_the_deadline_is_the_denial(left: float) -> None:
    """And what was waited for is cancelled, whether it obeys or not."""
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    deadline = time.monotonic() + left
    assert await ask(lambda *_: never, deadline) == DENIAL
    assert never.cancelled()
    stubborn = asyncio.ensure_future(_stubborn())
    assert await ask(lambda *_: stubborn, time.monotonic() + left) == DENIAL
    assert not stubborn.done()
    stubborn.cancel()
    await asyncio.wait([stubborn])


async def test_a_caller_that_leaves_takes_the_work_with_it() -> None:
    """Cancelling the wait cancels what is waited for."""
    never: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    answer = Guard(lambda *_: never, DENIAL).answer(b"", None)
    assert isinstance(answer, Awaitable)
    waiting = asyncio.ensure_future(answer)
    await asyncio.wait([waiting], timeout=0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert never.cancelled()
