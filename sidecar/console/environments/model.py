"""Environments and their steps as plain values."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class State(StrEnum):
    """Where an environment is between nothing and ready."""

    CREATING = "creating"
    READY = "ready"
    UNDOING = "undoing"  # creation failed, and what was done is undone
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"

    @property
    def is_final(self) -> bool:
        """Whether nothing is left of the environment."""
        return self in (State.FAILED, State.DELETED)

    @property
    def is_moving(self) -> bool:
        """Whether a step is still to be taken."""
        return self in (State.CREATING, State.UNDOING, State.DELETING)


class Step(StrEnum):
    """One change at Zervi or Looma."""

    USER = "user"
    SERVER = "server"
    PERMISSIONS = "permissions"
    REVOCATION = "revocation"  # only on the way back


FORTH: Final = (Step.USER, Step.SERVER, Step.PERMISSIONS)
BACK: Final = (Step.REVOCATION, Step.PERMISSIONS, Step.SERVER, Step.USER)
"""Tokens first: a client that holds one must not see an environment that is half deleted."""


class StepState(StrEnum):
    """What is known of a step; ``DOING`` and ``UNDOING`` are written before the call."""

    PENDING = "pending"
    DOING = "doing"
    DONE = "done"
    UNDOING = "undoing"
    UNDONE = "undone"


class Progress(NamedTuple):
    """A step of one environment; ``error`` is why the last try failed, empty if it did not."""

    state: StepState = StepState.PENDING
    tries: int = 0
    error: str = ""


class Wanted(NamedTuple):
    """What an environment is created for; ``requirements`` are labels that its server must have."""

    username: str
    email: str = ""
    requirements: Mapping[str, str] = {}


class Environment(NamedTuple):
    """One environment. Times are seconds since the epoch.

    ``user_id`` and ``service_id`` are Zervi's and Looma's answers, empty before. ``error`` is why
    the creation failed.
    """

    id: str
    wanted: Wanted
    state: State
    created_by: str
    created_at: float
    changed_at: float
    user_id: str = ""
    service_id: str = ""
    error: str = ""
    steps: Mapping[Step, Progress] = {}

    def progress(self, step: Step) -> Progress:
        """Return what is known of a step."""
        return self.steps.get(step, Progress())

    def key(self, step: Step) -> str:
        """Return the step's own key, which no other environment has."""
        return f"{self.id}.{step}"
