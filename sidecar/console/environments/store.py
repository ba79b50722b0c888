"""Environments in SQLite: what is written here before and after a step is what a crash leaves.

One process at a time has the file (``locking_mode=EXCLUSIVE``, https://sqlite.org/pragma.html).
Every change is durable before its method returns (WAL with ``synchronous=FULL``).
"""

import asyncio
import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, ParamSpec, TypeVar

from sidecar.console.environments.model import (
    FORTH,
    Environment,
    Progress,
    State,
    Step,
    StepState,
    Wanted,
)

MAX_LIVE: Final = 100_000
"""Environments at a time; each takes some 500 bytes of the file."""

KEPT: Final = 1_000
"""Environments that are failed or deleted and still shown."""

_VERSION: Final = 1
_SCHEMA: Final = """
CREATE TABLE environments (
  id TEXT PRIMARY KEY, username TEXT NOT NULL, email TEXT NOT NULL, requirements TEXT NOT NULL,
  state TEXT NOT NULL, created_by TEXT NOT NULL, created_at REAL NOT NULL, changed_at REAL NOT NULL,
  user_id TEXT NOT NULL DEFAULT '', service_id TEXT NOT NULL DEFAULT '',
  error TEXT NOT NULL DEFAULT '');
CREATE UNIQUE INDEX one_each ON environments (username)
  WHERE state NOT IN ('failed', 'deleted');
CREATE INDEX by_change ON environments (changed_at);
CREATE TABLE steps (
  environment TEXT NOT NULL REFERENCES environments (id) ON DELETE CASCADE, step TEXT NOT NULL,
  state TEXT NOT NULL, tries INTEGER NOT NULL, error TEXT NOT NULL,
  PRIMARY KEY (environment, step)) WITHOUT ROWID;
"""
_COLUMNS: Final = (
    "id, username, email, requirements, state, created_by, created_at, changed_at, user_id, "
    "service_id, error"
)

_BEFORE: Final = {
    State.READY: (State.CREATING,),
    State.UNDOING: (State.CREATING,),
    State.FAILED: (State.UNDOING,),
    State.DELETING: (State.CREATING, State.READY),
    State.DELETED: (State.DELETING,),
}
"""The states before each: who enters one may have read the former state before it changed."""

P = ParamSpec("P")
T = TypeVar("T")


class StoreError(Exception):
    """The file cannot be used; the message is for the operator."""


class FullError(Exception):
    """There are MAX_LIVE environments."""


class Created(NamedTuple):
    """An environment, and whether it is new: another one may have the same username."""

    environment: Environment
    is_new: bool


class Store:
    """The file of one console. Its methods run in a thread of their own, one at a time."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, "environments")
        try:
            self._database = self._thread.submit(_opened, path).result()
        except sqlite3.Error as error:
            self._thread.shutdown()
            raise StoreError(f"{path} cannot be used: {_why(error)}") from None
        except (StoreError, OSError) as error:
            self._thread.shutdown()
            raise StoreError(f"{path} cannot be used: {error}") from None

    def close(self) -> None:
        """Close the file; every change is in it already."""
        self._thread.submit(self._database.close).result()
        self._thread.shutdown()

    async def create(self, wanted: Wanted, by: str) -> Created:
        """Begin an environment, or return the one that the username has. Raises FullError."""
        return await self._run(self._create, wanted, by)

    async def get(self, identifier: str) -> Environment | None:
        """Return an environment, None where there is none."""
        return await self._run(self._get, identifier)

    async def newest(self, count: int, before: float = float("inf")) -> Sequence[Environment]:
        """Return up to ``count`` environments that changed last, before that time."""
        return await self._run(self._listed, "changed_at < ?", (before,), count)

    async def moving(self) -> Sequence[Environment]:
        """Return the environments with a step to take."""
        states = tuple(state for state in State if state.is_moving)
        where = f"state IN ({', '.join('?' * len(states))})"
        return await self._run(self._listed, where, states, -1)

    async def enter(self, identifier: str, state: State, error: str = "") -> None:
        """Note a new state, and why a creation failed; nothing if it cannot follow the present."""
        await self._run(self._enter, identifier, state, error)

    async def begin(self, identifier: str, step: Step, state: StepState) -> None:
        """Note that a step is about to be tried."""
        await self._run(self._note, identifier, step, state, "", 1)

    async def failed(self, identifier: str, step: Step, state: StepState, error: str) -> None:
        """Note why a try failed."""
        await self._run(self._note, identifier, step, state, error, 0)

    async def finish(
        self, identifier: str, step: Step, state: StepState, found: Sequence[str] = ()
    ) -> None:
        """Note that a step is done or undone; ``found`` is the id that it answered."""
        await self._run(self._finish, identifier, step, state, found)

    async def _run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in the thread, as one transaction. Raises StoreError."""

        def transaction() -> T:
            with self._database:
                return work(*args, **kwargs)

        try:
            return await asyncio.wrap_future(self._thread.submit(transaction))
        except sqlite3.Error as error:
            raise StoreError(f"the environments cannot be stored: {_why(error)}") from None

    def _create(self, wanted: Wanted, by: str) -> Created:
        live = self._listed(
            "username = ? AND state NOT IN ('failed', 'deleted')", (wanted.username,), 1
        )
        if live:
            return Created(live[0], is_new=False)
        (count,) = self._database.execute("SELECT count(*) FROM environments").fetchone()
        if count >= MAX_LIVE:
            raise FullError
        now, identifier = self._clock(), f"env-{secrets.token_hex(8)}"
        requirements = json.dumps(dict(wanted.requirements), sort_keys=True)
        self._database.execute(
            f"INSERT INTO environments ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', '', '')",  # noqa: S608 -- a constant
            (identifier, wanted.username, wanted.email, requirements, State.CREATING, by, now, now),
        )
        self._database.execute(
            "DELETE FROM environments WHERE id IN (SELECT id FROM environments WHERE state IN "
            "('failed', 'deleted') ORDER BY changed_at DESC LIMIT -1 OFFSET ?)",
            (KEPT,),
        )
        return Created(self._listed("id = ?", (identifier,), 1)[0], is_new=True)

    def _get(self, identifier: str) -> Environment | None:
        found = self._listed("id = ?", (identifier,), 1)
        return found[0] if found else None

    def _listed(self, where: str, values: tuple[Any, ...], count: int) -> list[Environment]:
        rows = self._database.execute(
            f"SELECT {_COLUMNS} FROM environments WHERE {where} "  # noqa: S608 -- constants
            "ORDER BY changed_at DESC, id LIMIT ?",
            (*values, count),
        ).fetchall()
        return [self._environment(row) for row in rows]

    def _environment(self, row: tuple[Any, ...]) -> Environment:
        identifier, username, email, requirements, state, by, created, changed = row[:8]
        user_id, service_id, error = row[8:]
        steps = self._database.execute(
            "SELECT step, state, tries, error FROM steps WHERE environment = ?", (identifier,)
        ).fetchall()
        return Environment(
            *(identifier, Wanted(username, email, json.loads(requirements)), State(state)),
            *(by, created, changed, user_id, service_id, error),
            {Step(step): Progress(StepState(at), tries, why) for step, at, tries, why in steps},
        )

    def _enter(self, identifier: str, state: State, error: str) -> None:
        before = _BEFORE[state]
        self._database.execute(
            "UPDATE environments SET state = ?, changed_at = ?, "  # noqa: S608 -- a number of ?
            "error = CASE ? WHEN '' THEN error ELSE ? END "
            f"WHERE id = ? AND state IN ({', '.join('?' * len(before))})",
            (state, self._clock(), error, error, identifier, *before),
        )

    def _note(self, identifier: str, step: Step, state: StepState, error: str, tries: int) -> None:
        """Note a step's state; ``tries`` begin anew when it turns from doing to undoing."""
        self._database.execute(
            "INSERT INTO steps VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
            "tries = CASE state WHEN excluded.state THEN tries ELSE 0 END + excluded.tries, "
            "state = excluded.state, error = excluded.error",
            (identifier, step, state, tries, error),
        )
        self._touch(identifier)

    def _finish(self, identifier: str, step: Step, state: StepState, found: Sequence[str]) -> None:
        self._database.execute(
            "UPDATE steps SET state = ?, error = '' WHERE environment = ? AND step = ?",
            (state, identifier, step),
        )
        column = {Step.USER: "user_id", Step.SERVER: "service_id"}.get(step)
        if column and found and step in FORTH:
            self._database.execute(
                f"UPDATE environments SET {column} = ? WHERE id = ?",  # noqa: S608 -- of two
                (found[0], identifier),
            )
        self._touch(identifier)

    def _touch(self, identifier: str) -> None:
        self._database.execute(
            "UPDATE environments SET changed_at = ? WHERE id = ?", (self._clock(), identifier)
        )


def _opened(path: Path) -> sqlite3.Connection:
    """Open the file, and make its tables where it is new. Raises sqlite3.Error and StoreError."""
    # It has names and e-mail addresses of users.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=0)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("BEGIN EXCLUSIVE")
        _make_tables(database)
        database.commit()
    except BaseException:
        database.close()
        raise
    return database


def _make_tables(database: sqlite3.Connection) -> None:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version > _VERSION:
        raise StoreError("a newer version of the console wrote it")
    if version == 0:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            database.execute(statement)
        database.execute(f"PRAGMA user_version = {_VERSION}")


def _why(error: sqlite3.Error) -> str:
    if error.sqlite_errorname in ("SQLITE_BUSY", "SQLITE_LOCKED"):
        return "another process uses it; run one console"
    return str(error)
