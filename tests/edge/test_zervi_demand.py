"""Keys that a set lacks: one shared fetch, rationed so that made-up kids cost nothing."""

import asyncio
import tracemalloc

from sidecar.zervi.schedule import DEMAND_BURST
from tests.edge import key_server
from tests.edge.key_server import document, held, serving
from tests.edge.zervi_rig import SETTINGS, key_set, running, source
from tests.support.waiting import eventually

GOOD = document(key_set("a"))
SPENT = 1 + DEMAND_BURST  # the fetch at the start and the whole ration


async def test_a_rotated_key_is_there_once_the_refresh_on_demand_has_ended() -> None:
    """A caller that needs a key that the issuer publishes gets True, and the set holds the key."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = document(key_set("a", "b"))
        assert await rig.ask("b") is True
        assert rig.kids == {"a", "b"}


async def test_rotations_are_not_rationed() -> None:
    """A refresh that brings a new key costs nothing of the ration, however many come in a row."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        for number in range(DEMAND_BURST * 3):
            server.answer = document(key_set("a", f"b{number}"))
            assert await rig.ask(f"b{number}") is True
            assert rig.kids == {"a", f"b{number}"}


async def test_a_key_that_is_no_longer_listed_is_gone_with_the_next_good_set() -> None:
    """A removed key leaves with the set that lacks it: sets are swapped whole."""
    async with serving(document(key_set("a", "b"))) as server, running(source(server.url)) as rig:
        await rig.fetched()
        assert rig.kids == {"a", "b"}
        server.answer = document(key_set("b"))
        assert await rig.ask() is True
        assert rig.kids == {"b"}


async def test_all_who_wait_share_one_fetch() -> None:
    """A hundred questions while a fetch runs make no second one, and all get its answer."""
    gate = asyncio.Event()
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = held(gate, document(key_set("a", "b")))
        asked = [asyncio.ensure_future(rig.ask("b")) for _ in range(100)]
        await eventually(lambda: len(server.exchanges) == 2, "the shared fetch")
        gate.set()
        assert await asyncio.gather(*asked) == [True] * 100
        assert len(server.exchanges) == 2


async def test_a_waiter_that_leaves_does_not_end_the_shared_fetch() -> None:
    """Cancelled waiters take nobody's answer with them, not even the one who began the fetch."""
    gate = asyncio.Event()
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = held(gate, document(key_set("a", "b")))
        first, second, third = (asyncio.ensure_future(rig.ask("b")) for _ in range(3))
        await eventually(lambda: len(server.exchanges) == 2, "the shared fetch")
        first.cancel()
        second.cancel()
        await asyncio.wait([first, second])
        gate.set()
        assert await third is True
        assert len(server.exchanges) == 2
        assert rig.kids == {"a", "b"}


async def test_a_fetch_whose_waiters_all_left_still_counts() -> None:
    """The keys arrive though no caller waits any more."""
    gate = asyncio.Event()
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = held(gate, document(key_set("b")))
        asked = asyncio.ensure_future(rig.ask("b"))
        await eventually(lambda: len(server.exchanges) == 2, "the fetch")
        asked.cancel()
        await asyncio.wait([asked])
        gate.set()
        await rig.fetched()
        assert rig.kids == {"b"}


async def test_a_fetch_that_began_before_the_question_proves_nothing_about_the_key() -> None:
    """A key published while an older answer travels is found by a second fetch, not denied."""
    gate = asyncio.Event()
    async with serving(held(gate, GOOD)) as server, running(source(server.url)) as rig:
        await eventually(lambda: len(server.exchanges) == 1, "the first fetch")
        asked = [asyncio.ensure_future(rig.ask("b")) for _ in range(10)]
        await asyncio.wait(asked, timeout=0)
        server.answer = document(key_set("a", "b"))
        gate.set()
        assert await asyncio.gather(*asked) == [True] * 10
        assert rig.kids == {"a", "b"}
        assert len(server.exchanges) == 2


async def test_a_fetch_under_way_that_brings_the_key_is_enough() -> None:
    """Who joins a fetch that was under way and finds the key asks no second time."""
    gate = asyncio.Event()
    answer = held(gate, document(key_set("a", "b")))
    async with serving(answer) as server, running(source(server.url)) as rig:
        await eventually(lambda: len(server.exchanges) == 1, "the first fetch")
        asked = asyncio.ensure_future(rig.ask("b"))
        await asyncio.wait([asked], timeout=0)
        gate.set()
        assert await asked is True
        assert len(server.exchanges) == 1


async def test_an_answer_that_is_awaited_late_is_still_about_its_own_question() -> None:
    """The fetch was good; that a later one failed before anybody looked takes nothing back."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = document(key_set("a", "b"))
        answer = rig.ring.refresh_for(0, "b")
        assert not isinstance(answer, bool)
        await rig.fetched()
        server.answer = key_server.closes
        assert await rig.ask("c") is False
        assert await answer is True


async def test_a_question_without_kid_needs_a_fetch_that_began_after_it() -> None:
    """A token without kid may fit whatever the next set holds."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = document(key_set("b"))
        assert await rig.ask(None) is True
        assert rig.kids == {"b"}


async def test_a_flood_of_made_up_kids_spends_the_ration_and_no_more() -> None:
    """10,000 made-up kids together: the burst of fetches, and every one is answered."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        answers = await asyncio.gather(*(rig.ask(f"made-up-{n}") for n in range(10_000)))
        assert set(answers) == {True}
        assert len(server.exchanges) <= SPENT


async def test_a_flood_of_made_up_kids_one_after_the_other_is_answered_at_once() -> None:
    """Past the burst no caller waits, nothing is fetched, and nothing is remembered of any kid."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        for number in range(DEMAND_BURST):
            assert await rig.ask(f"early-{number}") is True
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for number in range(10_000):
                assert rig.ring.refresh_for(0, f"made-up-{number}") is True
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 64 * 1024
        assert len(server.exchanges) == SPENT


async def test_a_flood_while_the_server_is_away_is_answered_with_false() -> None:
    """No good set since the server went: whether the key exists cannot be said."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        server.answer = key_server.closes
        answers = await asyncio.gather(*(rig.ask(f"made-up-{n}") for n in range(1_000)))
        assert set(answers) == {False}
        assert rig.kids == {"a"}


async def test_once_the_ration_is_spent_on_failures_the_answer_is_false_at_once() -> None:
    """The last good set is young, but the fetches since failed: the key may exist by now."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        rig.dice.wait = 3600.0
        server.answer = key_server.closes
        for number in range(DEMAND_BURST):
            assert await rig.ask(f"early-{number}") is False
        assert rig.ring.refresh_for(0, "late") is False
        assert len(server.exchanges) == SPENT


async def test_a_background_fetch_that_falls_due_meanwhile_makes_no_second_one() -> None:
    """While a fetch on demand runs, nothing else is fetched of that issuer."""
    gate = asyncio.Event()
    settings = SETTINGS._replace(refresh=1.0)
    async with serving(GOOD) as server, running(source(server.url), settings=settings) as rig:
        rig.dice.wait = 0.1  # seconds to the next fetch in the background
        await rig.fetched()
        server.answer = held(gate, GOOD)
        asked = asyncio.ensure_future(rig.ask())
        await asyncio.wait([asked], timeout=0.3)
        assert len(server.exchanges) == 2
        gate.set()
        assert await asked is True


async def test_the_ration_grows_again_with_the_cooldown() -> None:
    """Once the cooldown has passed, an unknown key is looked for again."""
    settings = SETTINGS._replace(cooldown=0.05)
    async with serving(GOOD) as server, running(source(server.url), settings=settings) as rig:
        await rig.fetched()
        async with asyncio.timeout(10):
            while len(server.exchanges) < SPENT + 2:
                await asyncio.wait([asyncio.ensure_future(rig.ask())])


async def test_the_unknown_key_of_one_issuer_does_not_fetch_anothers() -> None:
    """Rations and fetches are each issuer's own; an issuer with a secret has nothing to fetch."""
    async with (
        serving(GOOD) as one,
        serving(document(key_set("b"))) as other,
        running(source(one.url), None, source(other.url)) as rig,
    ):
        await eventually(lambda: len(rig.keys) == 2, "both sets")
        for _ in range(SPENT):
            assert await rig.ask("made-up", issuer=0) is True
        assert rig.ring.refresh_for(1, "made-up") is False
        assert len(other.exchanges) == 1
        other.answer = document(key_set("c"))
        assert await rig.ask("c", issuer=2) is True
        assert set(rig.keys[2].by_kid) == {"c"}


async def test_closing_answers_who_waits_and_leaves_no_task_and_no_socket() -> None:
    """After close there is no task but the test's own, and the server sees its connection end."""
    others = asyncio.all_tasks()
    async with serving(key_server.never) as server, running(source(server.url)) as rig:
        asked = asyncio.ensure_future(rig.ask())
        await eventually(lambda: len(server.exchanges) == 1, "the fetch is under way")
        await rig.ring.close()
        assert await asked is False
        assert rig.ring.refresh_for(0, "a") is False
        await rig.ring.close()
    assert asyncio.all_tasks() == others
    assert server.open_connections == 0
    assert rig.results == []
