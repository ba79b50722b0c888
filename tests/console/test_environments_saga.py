"""An environment is whole or nothing, whatever fails and wherever the console ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.console.environments.model import (
    BACK,
    FORTH,
    Environment,
    State,
    Step,
    StepState,
    Wanted,
)
from sidecar.console.environments.saga import MAX_TRIES, Saga, StepError
from sidecar.console.environments.store import Store, StoreError

ALICE = Wanted("alice", "alice@example.com", {"zone": "a"})


class CrashError(BaseException):
    """The process ends here."""


class World:
    """Zervi and Looma as their contracts say: each key is done once, and not after it is undone.

    ``failures`` are how the next calls go: ``before`` and ``after`` the call has done its work,
    ``refused`` for good, ``crash-before`` and ``crash-after``; then all succeed.
    """

    def __init__(self, failures: tuple[str, ...] = ()) -> None:
        self.failures = list(failures)
        self.made: dict[str, str] = {}
        self.undone: set[str] = set()
        self.calls: list[str] = []
        self.started = asyncio.Event()
        self.gate: asyncio.Event | None = None

    async def do(self, step: Step, environment: Environment) -> str:
        key = environment.key(step)
        mode = await self._begins(f"do {step}")
        if key in self.undone:
            raise StepError("the key is undone", is_final=True)
        self.made[key] = f"{step}-of-{environment.id}"
        self._ends(mode)
        return self.made[key]

    async def undo(self, step: Step, environment: Environment) -> None:
        key = environment.key(step)
        mode = await self._begins(f"undo {step}", refuses=False)
        self.undone.add(key)
        self.made.pop(key, None)
        self._ends(mode)

    async def _begins(self, call: str, *, refuses: bool = True) -> str:
        self.calls.append(call)
        self.started.set()
        if self.gate is not None:
            await self.gate.wait()
        mode = self.failures.pop(0) if self.failures else ""
        if mode == "crash-before":
            raise CrashError
        if mode == "before" or (mode == "refused" and not refuses):
            raise StepError("no answer")
        if mode == "refused":
            raise StepError("HTTP status 409", is_final=True)
        return mode

    @staticmethod
    def _ends(mode: str) -> None:
        if mode == "crash-after":
            raise CrashError
        if mode == "after":
            raise StepError("no answer")


def clock() -> float:
    return 1_800_000_000.0


@asynccontextmanager
async def running(store: Store, world: World) -> AsyncIterator[Saga]:
    saga = Saga(store, world, wait=lambda _failures: 0.0)
    await saga.start()
    try:
        yield saga
    finally:
        await saga.stop()


async def until_settled(store: Store, world: World, identifier: str) -> Environment:
    """Start consoles until one ends without a crash; return the environment."""
    while True:
        async with running(store, world) as saga:
            await saga.settled(identifier)
        found = await store.get(identifier)
        assert found is not None
        if not found.state.is_moving:
            return found


@pytest.fixture(name="store")
def new_store(tmp_path: Path) -> Any:
    store = Store(tmp_path / "environments.db", clock)
    yield store
    store.close()


async def test_an_environment_is_created_step_by_step_and_deleted_in_reverse(store: Store) -> None:
    world = World()
    async with running(store, world) as saga:
        created = await saga.create(ALICE, "bob")
        assert created.is_new
        await saga.settled(created.environment.id)
        ready = await store.get(created.environment.id)
        assert ready is not None
        assert (ready.state, ready.created_by) == (State.READY, "bob")
        assert ready.user_id == f"user-of-{ready.id}"
        assert ready.service_id == f"server-of-{ready.id}"
        await saga.delete(ready.id)
        await saga.settled(ready.id)
        gone = await store.get(ready.id)
    assert gone is not None
    assert gone.state is State.DELETED
    assert not world.made
    assert world.calls == [f"do {step}" for step in FORTH] + [f"undo {step}" for step in BACK]


async def test_two_who_create_the_same_get_one(store: Store) -> None:
    world = World()
    async with running(store, world) as saga:
        first, second = await asyncio.gather(saga.create(ALICE, "a"), saga.create(ALICE, "b"))
        assert first.environment.id == second.environment.id
        assert {first.is_new, second.is_new} == {True, False}
        await saga.settled(first.environment.id)
    assert len(world.made) == len(FORTH)


async def test_what_is_refused_for_good_is_undone_and_may_be_created_again(store: Store) -> None:
    world = World(("", "", "refused"))
    created = await store.create(ALICE, "bob")
    failed = await until_settled(store, world, created.environment.id)
    assert (failed.state, failed.error) == (State.FAILED, "permissions: HTTP status 409")
    assert not world.made
    again = await store.create(ALICE, "bob")
    assert again.is_new
    assert (await until_settled(store, world, again.environment.id)).state is State.READY


async def test_a_step_forth_is_tried_a_few_times_and_a_step_back_until_it_succeeds(
    store: Store,
) -> None:
    world = World(("", *["before"] * (MAX_TRIES + 5 * MAX_TRIES)))
    created = await store.create(ALICE, "bob")
    failed = await until_settled(store, world, created.environment.id)
    assert failed.state is State.FAILED
    assert world.calls.count("do server") == MAX_TRIES
    assert world.calls.count("undo revocation") == 5 * MAX_TRIES + 1
    assert not world.made


async def test_deleting_during_the_creation_undoes_what_is_under_way(store: Store) -> None:
    world = World()
    world.gate = asyncio.Event()
    async with running(store, world) as saga:
        created = await saga.create(ALICE, "bob")
        await world.started.wait()
        deleting = await saga.delete(created.environment.id)
        assert deleting is not None
        assert deleting.state is State.DELETING
        world.gate.set()
        await saga.settled(created.environment.id)
    assert world.calls == ["do user", "undo revocation", "undo user"]
    assert not world.made


async def test_deleting_at_the_moment_of_ready_is_not_lost(store: Store) -> None:
    """However far the saga has come when `delete` is called."""
    for turns in range(60):
        world = World()
        async with running(store, world) as saga:
            created = await saga.create(Wanted(f"user{turns}"), "bob")
            for _ in range(turns):
                await asyncio.sleep(0)
            await saga.delete(created.environment.id)
            await saga.settled(created.environment.id)
            found = await store.get(created.environment.id)
        assert found is not None
        assert (found.state, world.made) == (State.DELETED, {})


@pytest.mark.parametrize("late", [State.READY, State.UNDOING])
async def test_a_deletion_just_before_the_saga_notes_a_state_is_not_lost(
    store: Store, monkeypatch: pytest.MonkeyPatch, late: State
) -> None:
    """The saga has read that it is created, and what it writes comes after the deletion."""
    enter = store.enter
    world = World(("", "refused") if late is State.UNDOING else ())

    async def after_a_deletion(identifier: str, state: State, error: str = "") -> None:
        if state is late:
            await enter(identifier, State.DELETING)
        await enter(identifier, state, error)

    monkeypatch.setattr(store, "enter", after_a_deletion)
    created = await store.create(ALICE, "bob")
    found = await until_settled(store, world, created.environment.id)
    assert (found.state, world.made) == (State.DELETED, {})


_MODES = st.sampled_from(["", "", "before", "after", "refused", "crash-before", "crash-after"])


@given(st.lists(_MODES, max_size=12), st.booleans())
@settings(max_examples=80, deadline=None)
def test_it_ends_whole_or_as_nothing(modes: list[str], deleted: bool) -> None:
    """Whichever calls fail before or after they are done, and after which the console ends."""

    async def scenario(store: Store) -> None:
        world = World(tuple(modes))
        created = await store.create(ALICE, "bob")
        if deleted:
            async with running(store, world) as saga:
                await saga.settled(created.environment.id)
                await saga.delete(created.environment.id)
        found = await until_settled(store, world, created.environment.id)
        whole = found.state is State.READY
        assert set(world.made) == ({found.key(step) for step in FORTH} if whole else set())
        assert whole or found.state.is_final
        assert not (whole and deleted)
        if not deleted and "refused" not in modes and len(modes) < MAX_TRIES:
            assert whole

    with TemporaryDirectory() as directory, closing(Store(Path(directory, "e.db"), clock)) as store:
        asyncio.run(scenario(store))


async def test_a_restart_goes_on_with_what_the_file_has(tmp_path: Path) -> None:
    """Nothing but the file is left of the former process."""
    path = tmp_path / "environments.db"
    world = World(("", "crash-after"))
    store = Store(path, clock)
    created = await store.create(ALICE, "bob")
    async with running(store, world) as saga:
        await saga.settled(created.environment.id)
    store.close()
    store = Store(path, clock)
    left = await store.get(created.environment.id)
    assert left is not None
    assert left.progress(Step.SERVER).state is StepState.DOING
    assert (await until_settled(store, world, created.environment.id)).state is State.READY
    store.close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert world.calls == ["do user", "do server", "do server", "do permissions"]


def test_a_second_console_on_the_same_file_does_not_start(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="another process uses it; run one console"):
        Store(tmp_path / "environments.db", clock)


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + bytes(200)])
def test_a_file_that_is_no_database_is_an_error_and_is_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match="cannot be used: "):
        Store(path, clock)
    assert path.read_bytes() == content
    with pytest.raises(StoreError, match="cannot be used: "):
        Store(tmp_path / "missing" / "x.db", clock)
