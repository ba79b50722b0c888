"""Creates and deletes environments step by step, across failures and restarts."""

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Final, Protocol

from sidecar.console.environments.model import (
    BACK,
    FORTH,
    Environment,
    State,
    Step,
    StepState,
    Wanted,
)
from sidecar.console.environments.store import Created, Store, StoreError
from sidecar.net.logs import fault_place

MAX_TRIES: Final = 6
"""Of a step forth, some 30 s; then the creation is undone. A step back is tried until it succeeds:
giving up would leave an orphan."""

FIRST_WAIT: Final = 0.5  # seconds after a failed try; it doubles
MAX_WAIT: Final = 60.0
MAX_RUNNING: Final = 8  # calls at a time; Zervi and Looma serve others too

_TASK: Final = "environment-"

_log = logging.getLogger(__name__)


class StepError(Exception):
    """A try failed; the message is for the operator. ``is_final``: repeating cannot help."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Steps(Protocol):
    """Makes the calls of the steps, each with ``environment.key(step)``."""

    async def do(self, step: Step, environment: Environment) -> str:
        """Take a step; return the id that it answered, if any. Raises StepError."""

    async def undo(self, step: Step, environment: Environment) -> None:
        """Undo a step, whether or not it was done. Raises StepError."""


class Saga:
    """Moves each environment to where it is wanted. ``wait`` returns the pause after n tries."""

    def __init__(
        self, store: Store, steps: Steps, wait: Callable[[int], float] | None = None
    ) -> None:
        self._store = store
        self._steps = steps
        self._wait = wait or _pause
        self._free = asyncio.Semaphore(MAX_RUNNING)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._turned: dict[str, asyncio.Event] = {}

    async def start(self) -> None:
        """Go on with every environment that a former process did not finish."""
        for environment in await self._store.moving():
            self._go_on(environment.id)

    async def stop(self) -> None:
        """Stop immediately; the next start goes on."""
        tasks = list(self._running.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def create(self, wanted: Wanted, by: str) -> Created:
        """Begin an environment, or return the one that the username has already."""
        created = await self._store.create(wanted, by)
        if created.is_new:
            self._go_on(created.environment.id)
        return created

    async def delete(self, identifier: str) -> Environment | None:
        """Begin to delete an environment; return it, None where there is none."""
        environment = await self._store.get(identifier)
        if environment is None or environment.state in (State.DELETING, State.DELETED):
            return environment
        if environment.state in (State.CREATING, State.READY):
            await self._store.enter(identifier, State.DELETING)
            if identifier in self._turned:
                self._turned[identifier].set()
            self._go_on(identifier)
        return await self._store.get(identifier)

    async def settled(self, identifier: str) -> None:
        """Wait until the environment has no step to take, or this is stopped."""
        task = self._running.get(identifier)
        if task is not None:
            await asyncio.wait([task])

    def _go_on(self, identifier: str) -> None:
        running = self._running.get(identifier)
        if running is None or running.done():
            task = asyncio.create_task(self._move(identifier), name=_TASK + identifier)
            self._running[identifier] = task
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        identifier = task.get_name().removeprefix(_TASK)
        if self._running.get(identifier) is task:
            del self._running[identifier]

    async def _move(self, identifier: str) -> None:
        """Take steps until none is left; each time by what the store has."""
        turned = self._turned[identifier] = asyncio.Event()
        failures = 0
        try:
            while True:
                turned.clear()
                try:
                    environment = await self._store.get(identifier)
                    if environment is None or not environment.state.is_moving:
                        if turned.is_set():  # by `delete`, after the store was read
                            continue
                        return
                    done = await self._step(environment)
                except StoreError as error:
                    _log.error("environment %s: %s", identifier, error)
                    done = False
                except Exception as error:  # noqa: BLE001 -- one environment must not stop the others
                    _log.error("environment %s: internal error, %s", identifier, fault_place(error))
                    done = False
                failures = 0 if done else failures + 1
                if not done:
                    await self._pause(turned, failures)
        finally:
            self._turned.pop(identifier, None)

    async def _step(self, environment: Environment) -> bool:
        """Take the next step; False where its try failed."""
        if environment.state is State.CREATING:
            for step in FORTH:
                if environment.progress(step).state is not StepState.DONE:
                    return await self._forth(step, environment)
            await self._store.enter(environment.id, State.READY)
            return True
        for step in BACK:
            if self._is_to_undo(step, environment):
                return await self._back(step, environment)
        ended = State.FAILED if environment.state is State.UNDOING else State.DELETED
        await self._store.enter(environment.id, ended)
        return True

    @staticmethod
    def _is_to_undo(step: Step, environment: Environment) -> bool:
        """Say whether a step may have been done; a revocation is due where there is a user."""
        state = environment.progress(step).state
        if step is Step.REVOCATION:
            return environment.user_id != "" and state is not StepState.UNDONE
        return state not in (StepState.PENDING, StepState.UNDONE)

    async def _forth(self, step: Step, environment: Environment) -> bool:
        identifier = environment.id
        await self._store.begin(identifier, step, StepState.DOING)
        try:
            async with self._free:
                found = await self._steps.do(step, environment)
        except StepError as error:
            await self._store.failed(identifier, step, StepState.DOING, str(error))
            if error.is_final or environment.progress(step).tries + 1 >= MAX_TRIES:
                _log.warning("environment %s: %s fails: %s", identifier, step, error)
                await self._turn_back(identifier, f"{step}: {error}")
                return True
            return False
        await self._store.finish(identifier, step, StepState.DONE, [found] if found else [])
        return True

    async def _turn_back(self, identifier: str, why: str) -> None:
        """Undo a creation that failed, unless it is being deleted meanwhile."""
        environment = await self._store.get(identifier)
        if environment is not None and environment.state is State.CREATING:
            await self._store.enter(identifier, State.UNDOING, why)

    async def _back(self, step: Step, environment: Environment) -> bool:
        await self._store.begin(environment.id, step, StepState.UNDOING)
        try:
            async with self._free:
                await self._steps.undo(step, environment)
        except StepError as error:
            text = "environment %s: %s cannot be undone yet: %s"
            _log.warning(text, environment.id, step, error)
            await self._store.failed(environment.id, step, StepState.UNDOING, str(error))
            return False
        await self._store.finish(environment.id, step, StepState.UNDONE)
        return True

    async def _pause(self, turned: asyncio.Event, failures: int) -> None:
        """Wait before the next try, shorter if the environment is to be deleted meanwhile."""
        try:
            async with asyncio.timeout(self._wait(failures)):
                await turned.wait()
        except TimeoutError:
            pass


def _pause(failures: int) -> float:
    wait: float = min(FIRST_WAIT * 2 ** min(failures - 1, 10), MAX_WAIT)
    return wait * random.uniform(0.85, 1.15)  # noqa: S311 -- jitter
