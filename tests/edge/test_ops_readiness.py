"""What health follows from, and that every change of it is heard."""

import asyncio

import pytest

from sidecar.ops.readiness import AUTHORIZATION, Health, State


class Clock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ready(*issuers: str, looma: bool = False) -> Health:
    """Return health with a policy and keys of the first issuer."""
    health = Health(issuers or ("zervi",), upstream=looma, looma=looma)
    health.set("policy", State.READY)
    health.set(health.issuers[0], State.READY)
    return health


def test_at_first_nothing_serves_but_the_process_lives() -> None:
    health = Health(["zervi"])
    assert not health.ready
    assert health.statuses() == {
        "": False,
        AUTHORIZATION: False,
        "liveness": True,
        "upstream": False,
    }
    assert health.overall.state is State.WAITING
    assert health.overall.detail == "no policy is loaded yet"


def test_a_policy_and_one_issuer_with_keys_make_ready() -> None:
    health = Health(["one", "other"])
    health.set("policy", State.READY)
    assert health.overall == (State.WAITING, health.overall.since, "no issuer has usable keys yet")
    health.set("issuer:other", State.READY)
    assert health.ready
    assert health.statuses() == {"": True, AUTHORIZATION: True, "liveness": True, "upstream": True}


def test_an_issuer_without_a_policy_is_not_enough() -> None:
    health = Health(["zervi"])
    health.set("issuer:zervi", State.READY)
    assert not health.ready


@pytest.mark.parametrize("state", [State.FAILED, State.WAITING, State.DEGRADED])
def test_readiness_once_reached_is_not_lost_to_a_component(state: State) -> None:
    health = ready()
    health.set("issuer:zervi", state, "keys are 90000 s old")
    health.set("policy", state, "routes.yaml:3:5: ...")
    assert health.ready
    assert health.overall.state is State.DEGRADED
    assert health.overall.detail == "policy, issuer:zervi"


@pytest.mark.parametrize("state", [State.FAILED, State.WAITING])
def test_an_issuer_that_is_not_usable_makes_nothing_ready(state: State) -> None:
    health = Health(["zervi"])
    health.set("policy", State.READY)
    health.set("issuer:zervi", state)
    assert not health.ready


def test_another_issuers_trouble_shows_as_degraded() -> None:
    health = ready("one", "other")
    health.set("issuer:other", State.FAILED, "refused")
    assert health.ready
    assert health.overall.state is State.DEGRADED
    assert health.overall.detail == "issuer:other"


def test_draining_is_not_serving_for_good_and_live_all_the_while() -> None:
    health = ready(looma=True)
    health.set("upstream", State.READY)
    health.drain("SIGTERM")
    assert health.draining
    assert health.statuses() == {
        "": False,
        AUTHORIZATION: False,
        "liveness": True,
        "upstream": True,
    }
    assert health.overall[::2] == (State.DRAINING, "SIGTERM")
    assert health.readiness() == {
        "sidecar": False,
        "policy": True,
        "issuer:zervi": True,
        "looma": False,
        "upstream": True,
    }
    health.set("policy", State.DEGRADED)
    health.set("policy", State.READY)
    assert not health.ready
    health.drain("again")
    assert health.overall.detail == "SIGTERM"


@pytest.mark.parametrize(
    ("state", "serving"),
    [
        (State.WAITING, False),
        (State.READY, True),
        (State.DEGRADED, True),
        (State.FAILED, False),
    ],
)
def test_upstream_follows_the_probe_and_readiness_does_not(state: State, serving: bool) -> None:
    health = ready(looma=True)
    health.set("upstream", state)
    health.set("looma", state)
    assert health.statuses()["upstream"] is serving
    assert health.ready
    assert health.overall.state is State.READY


def test_an_upstream_that_is_not_probed_is_as_ready_as_the_sidecar() -> None:
    health = ready(looma=False)
    assert health.statuses()["upstream"]
    assert "upstream" not in health.components
    health.drain("SIGTERM")
    assert not health.statuses()["upstream"]


def test_a_component_that_nobody_knows_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        Health(["zervi"]).set("upstream", State.READY)


def test_two_issuers_of_one_name_are_two_components() -> None:
    health = Health(["zervi", "zervi", "other"])
    assert len(set(health.issuers)) == 3
    health.set(health.issuers[1], State.READY)
    assert health.components[health.issuers[0]].state is State.WAITING


def test_since_moves_with_the_state_and_not_with_the_detail() -> None:
    clock = Clock()
    health = Health(["zervi"], clock=clock)
    clock.now += 1
    health.set("issuer:zervi", State.FAILED, "refused")
    clock.now += 1
    health.set("issuer:zervi", State.FAILED, "reset")
    assert health.components["issuer:zervi"] == (State.FAILED, 1001.0, "reset")
    clock.now += 1
    health.set("issuer:zervi", State.READY)
    assert health.components["issuer:zervi"] == (State.READY, 1003.0, "")


async def test_every_waiter_hears_of_a_change() -> None:
    health = Health(["zervi"])
    waiters = [asyncio.ensure_future(health.changed()) for _ in range(10)]
    health.set("policy", State.READY)
    async with asyncio.timeout(10):
        await asyncio.gather(*waiters)


async def test_a_change_between_asking_and_waiting_is_heard() -> None:
    health = Health(["zervi"])
    change = health.changed()
    health.set("policy", State.READY)
    async with asyncio.timeout(10):
        await change


async def test_no_change_is_missed_by_one_who_asks_before_reading() -> None:
    health = Health(["one", "other"], upstream=True)
    seen: list[bool | None] = []

    async def watch() -> None:
        while True:
            change = health.changed()
            seen.append(health.statuses()["upstream"])
            if health.draining:
                return
            await change

    watching = asyncio.ensure_future(watch())
    for turn in range(100):
        health.set("upstream", State.READY if turn % 2 else State.FAILED)
    health.set("upstream", State.READY)
    health.drain()
    async with asyncio.timeout(10):
        await watching
    assert seen[-1] is True


async def test_what_changes_no_state_wakes_nobody() -> None:
    health = ready()
    waiting = asyncio.ensure_future(health.changed())
    health.set("issuer:zervi", State.READY, "5 keys")
    health.set("issuer:zervi", State.READY, "6 keys")
    done, _ = await asyncio.wait({waiting}, timeout=0.05)
    assert not done
    health.set("issuer:zervi", State.DEGRADED)
    await waiting


async def test_waiters_that_leave_are_forgotten_and_take_nobody_with_them() -> None:
    health = ready()
    leaving = [asyncio.ensure_future(health.changed()) for _ in range(100)]
    staying = asyncio.ensure_future(health.changed())
    for _ in range(100):
        health.changed()  # asked for and dropped
    await asyncio.wait({staying}, timeout=0.01)
    for waiter in leaving:
        waiter.cancel()
    await asyncio.wait(leaving)
    assert len(health._change._waiters) == 1  # asyncio's own list: a leak would show only there
    health.drain()
    await staying
