"""Look-ups at one source: single-flight, bounded, with ages, refreshed before they are needed."""

import asyncio
import logging
from random import Random
from typing import Any

import pytest

from sidecar.core.tokens.lookups import Answer, Ended, Granted
from sidecar.zervi import asking
from sidecar.zervi.answers import AnswerCache, Entry
from sidecar.zervi.asking import Asking, Found, Pace
from sidecar.zervi.interface import FetchError
from tests.support.waiting import eventually

A, B = Granted(("a",)), Granted(("b",))


class Source:
    """A source whose answers wait for their test."""

    where = "http://zervi.test/x"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.result: Any = Found(A)
        self.gate = asyncio.Event()
        self.gate.set()

    async def find(self, key: str, token: bytes) -> Found:
        self.asked.append(key)
        await self.gate.wait()
        if isinstance(self.result, Exception):
            raise self.result
        assert isinstance(self.result, Found)
        return self.result


class Rig:
    """Look-ups with a clock that a test moves."""

    def __init__(self, ttl: float = 60.0, max_stale: float = 600.0) -> None:
        self.now = 1000.0
        self.source = Source()
        self.results: list[tuple[str, str]] = []
        self.changes = 0
        self.asking: Asking[str] = Asking(
            "permissions",
            self.source,
            Pace(ttl, max_stale),
            on_result=lambda *result: self.results.append(result),
            on_change=self.changed,
            clock=lambda: self.now,
            random=Random(1),
        )

    def changed(self) -> None:
        self.changes += 1

    async def ask(self, key: str = "7") -> Ended:
        ended = self.asking.ask(key)
        return ended if isinstance(ended, Ended) else await ended

    def get(self, key: str = "7") -> Answer:
        answer = self.asking.get(key)
        assert answer is not None
        return answer

    async def fail(self) -> None:
        self.source.result = FetchError("down", "check it")
        assert await self.ask() is Ended.FAILED


async def test_however_many_wait_a_question_is_asked_once() -> None:
    rig = Rig()
    rig.source.gate.clear()
    waiting = [asyncio.ensure_future(rig.ask()) for _ in range(100)]
    await eventually(lambda: rig.source.asked, "the question is asked")
    rig.source.gate.set()
    assert set(await asyncio.gather(*waiting)) == {Ended.ANSWERED}
    assert rig.source.asked == ["7"]


async def test_who_stops_waiting_does_not_end_the_look_up() -> None:
    rig = Rig()
    rig.source.gate.clear()
    waiting = asyncio.ensure_future(rig.ask())
    await eventually(lambda: rig.source.asked, "the question is asked")
    waiting.cancel()
    other = asyncio.ensure_future(rig.ask())
    rig.source.gate.set()
    assert await other is Ended.ANSWERED
    assert rig.source.asked == ["7"]


async def test_an_answer_is_fresh_for_ttl_and_stale_up_to_max_stale() -> None:
    """From the moment of the question: later changes are not in it."""
    rig = Rig()
    rig.source.gate.clear()
    waiting = asyncio.ensure_future(rig.ask())
    await eventually(lambda: rig.source.asked, "the question is asked")
    rig.now += 2
    rig.source.gate.set()
    await waiting
    answer = rig.get()
    assert (answer.value, answer.fresh_until, answer.stale_until) == (A, 1060.0, 1600.0)
    assert rig.asking.size[2] == 0
    rig.now = 1060.0
    assert rig.asking.size[2] == 1


async def test_only_another_value_is_a_change() -> None:
    """What was decided by the former one is decided again immediately."""
    rig = Rig()
    for found, changes in ((Found(A), 0), (Found(A), 0), (Found(B), 1), (Found(B), 1)):
        rig.source.result = found
        assert await rig.ask() is Ended.ANSWERED
        assert rig.changes == changes
    rig.source.result = Found(A, negative=True)
    await rig.ask()
    assert rig.changes == 2


async def test_an_answer_that_grants_nothing_is_short_and_never_stale() -> None:
    """And it replaces a former one immediately."""
    rig = Rig()
    await rig.ask()
    rig.source.result = Found(None, negative=True)
    await rig.ask()
    answer = rig.get()
    until = rig.now + asking.NEGATIVE_SECONDS
    assert (answer.value, answer.fresh_until, answer.stale_until) == (None, until, until)


async def test_an_answer_does_not_outlive_what_it_is_about() -> None:
    rig = Rig()
    rig.source.result = Found({}, life=10.0)
    await rig.ask()
    assert (rig.get().fresh_until, rig.get().stale_until) == (1010.0, 1010.0)


async def test_an_answer_in_use_is_renewed_before_it_expires() -> None:
    """The same value keeps its mark, so that what was made of it stays."""
    rig = Rig()
    await rig.ask()
    first = rig.get()
    rig.now += 60 * asking.REFRESH_FROM - 1
    rig.get()
    assert len(rig.source.asked) == 1
    rig.now += 60 * (asking.REFRESH_TO - asking.REFRESH_FROM) + 1
    for _ in range(10):
        assert rig.get() == first
    await eventually(lambda: rig.get() != first, "a newer answer")
    assert len(rig.source.asked) == 2
    assert (rig.get().mark, rig.get().fresh_until) == (first.mark, rig.now + 60)
    rig.now += 60 * asking.REFRESH_TO
    rig.source.result = Found(B)
    rig.get()
    await eventually(lambda: rig.get().value == B, "another answer")
    assert rig.get().mark != first.mark


async def test_an_answer_that_nobody_uses_is_not_renewed() -> None:
    rig = Rig()
    await rig.ask()
    rig.now += 60 * asking.REFRESH_TO
    assert rig.asking.peek("7") is not None
    await asyncio.sleep(0)
    assert rig.source.asked == ["7"]


async def test_after_a_failure_the_former_answer_stays_and_the_question_pauses() -> None:
    rig = Rig()
    await rig.ask()
    former = rig.get()
    rig.now += 61
    await rig.fail()
    assert await rig.ask() is Ended.FAILED
    assert len(rig.source.asked) == 2, "the second failure was remembered"
    assert rig.asking.peek("7") == former
    rig.now += asking.RETRY_CAP
    rig.source.result = Found(A)
    assert await rig.ask() is Ended.ANSWERED


async def test_several_failures_in_a_row_pause_every_question_and_one_answer_ends_that() -> None:
    rig = Rig()
    rig.source.result = FetchError("down", "check it")
    for number in range(asking.FAILURES_IN_A_ROW):
        assert not rig.asking.failing
        await rig.ask(str(number))
    assert rig.asking.failing
    asked = len(rig.source.asked)
    assert await rig.ask("another") is Ended.FAILED
    assert len(rig.source.asked) == asked
    rig.now += asking.RETRY_CAP
    rig.source.gate.clear()
    first = asyncio.ensure_future(rig.ask("a probe"))
    await eventually(lambda: len(rig.source.asked) > asked, "one question as a probe")
    assert await rig.ask("meanwhile") is Ended.FAILED
    rig.source.result = Found(A)
    rig.source.gate.set()
    assert await first is Ended.ANSWERED
    assert await rig.ask("meanwhile") is Ended.ANSWERED
    assert rig.results[-1] == ("answered", "")


async def test_one_bad_question_does_not_pause_the_others() -> None:
    """A client may have a subject that Zervi chokes on."""
    rig = Rig()
    for number in range(3 * asking.FAILURES_IN_A_ROW):
        rig.source.result = FetchError("bad", "check it")
        await rig.ask("bad")
        rig.now += asking.RETRY_CAP
        rig.source.result = Found(A)
        assert await rig.ask(str(number)) is Ended.ANSWERED


async def test_any_number_of_bad_questions_does_not_pause_the_others() -> None:
    """Everybody can invent tokens; but what was answered before is not a bad question."""
    rig = Rig()
    await rig.ask("known")
    rig.now += 61
    rig.source.result = FetchError("status 400", "check it", answered=True)
    for number in range(3 * asking.FAILURES_IN_A_ROW):
        await rig.ask(str(number))
    assert rig.asking.failing
    rig.source.result = Found(A)
    assert await rig.ask("known") is Ended.ANSWERED
    assert await rig.ask("new") is Ended.ANSWERED
    known = [f"k{number}" for number in range(asking.FAILURES_IN_A_ROW)]
    for key in known:
        await rig.ask(key)
    rig.now += 61
    rig.source.result = FetchError("status 500", "check it", answered=True)
    for key in known:
        await rig.ask(key)
    rig.source.result = Found(A)
    assert await rig.ask("another") is Ended.FAILED


async def test_beyond_the_limits_a_question_is_not_asked() -> None:
    """At most 32 at a time, of which a quarter is for questions with a former answer."""
    rig = Rig()
    await rig.ask("known")
    rig.now += 61
    rig.source.gate.clear()
    strangers = [asyncio.ensure_future(rig.ask(str(number))) for number in range(40)]
    await eventually(lambda: rig.results.count(("overloaded", "")) == 16, "16 are refused")
    known = asyncio.ensure_future(rig.ask("known"))
    await eventually(lambda: rig.source.asked[-1] == "known", "the known question is asked")
    rig.source.gate.set()
    ends = await asyncio.gather(*strangers)
    assert (ends.count(Ended.ANSWERED), ends.count(Ended.OVERLOADED)) == (24, 16)
    assert await known is Ended.ANSWERED


async def test_questions_are_at_most_fifty_a_second() -> None:
    rig = Rig()
    seconds = 20
    for tick in range(seconds * 10):
        for number in range(20):
            await rig.ask(f"{tick}-{number}")
        rig.now += 0.1
    assert len(rig.source.asked) <= asking.PER_SECOND * (seconds + 1)


async def test_an_answer_that_is_older_than_ttl_is_renewed_before_fresh_ones() -> None:
    """Where more answers are in use than can be renewed within ``ttl``."""
    rig = Rig()
    await rig.ask("old")
    rig.now += 61
    for number in range(2 * asking.RENEWALS_AT_ONCE):
        await rig.ask(str(number))
    fresh = [await rig.ask(str(number)) for number in range(2 * asking.RENEWALS_AT_ONCE)]
    assert fresh.count(Ended.ANSWERED) == asking.RENEWALS_AT_ONCE - asking.AHEAD_LEAVES
    assert await rig.ask("old") is Ended.ANSWERED


async def test_invented_questions_do_not_displace_good_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their answers and failures have a cache of their own, bounded in bytes."""
    monkeypatch.setattr(asking, "MAX_NEGATIVE_BYTES", 10_000)
    rig = Rig()
    await rig.ask("good")
    for number in range(1000):
        rig.source.result = Found(None, negative=True)
        if number % 2:
            rig.source.result = FetchError("bad", "check it")
        await rig.ask(f"invented-{number}")
        rig.now += 1.0
    entries, size, _stale = rig.asking.size
    assert entries < 30
    assert size < 20_000
    assert rig.asking.peek("good") is not None


def test_the_answer_that_was_not_used_for_longest_goes_first() -> None:
    cache: AnswerCache[str] = AnswerCache(5000)
    for number in range(20):
        if number:
            cache.move_to_end("0")
        cache.put(str(number), Entry(Answer(A, b"1", 0, 0), b""))
    assert cache.get("0") is not None
    assert cache.get("1") is None
    assert cache.bytes <= 5000
    for number in range(20):
        cache.drop(str(number))
    assert (len(cache), cache.bytes) == (0, 0)


async def test_a_source_that_raises_anything_else_is_a_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig()
    rig.source.result = RuntimeError("the secret is 42")
    with caplog.at_level(logging.WARNING):
        assert await rig.ask() is Ended.FAILED
    assert "the secret" not in caplog.text
    assert rig.results == [("failed", "internal error RuntimeError")]


async def test_a_slow_source_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "TIMEOUT", 0.01)
    rig = Rig()
    rig.source.gate.clear()
    assert await rig.ask() is Ended.FAILED
    assert rig.results == [("failed", "no complete answer within 0.01 s")]


async def test_closing_ends_every_look_up() -> None:
    rig = Rig()
    rig.source.gate.clear()
    waiting = asyncio.ensure_future(rig.ask())
    await eventually(lambda: rig.source.asked, "the question is asked")
    await rig.asking.close()
    assert await waiting is Ended.FAILED
    assert await rig.ask("another") is Ended.FAILED
