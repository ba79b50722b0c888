"""What the page shows, collected at one moment on the event loop and rendered in a thread."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sidecar.core.snapshot import Snapshot
from sidecar.ops.metrics import Values
from sidecar.ops.page.history import Interval
from sidecar.ops.page.recent import Entry, Filter
from sidecar.ops.page.texts import Language
from sidecar.ops.readiness import Component


class About(NamedTuple):
    """What this sidecar is: its ``mode`` is sidecar or gateway, ``node`` its name at the registry.

    ``started`` is in seconds since the epoch.
    """

    version: str
    mode: str
    node: str
    started: float
    addresses: tuple[tuple[str, str], ...]


class Shadowed(NamedTuple):
    """The candidate policy, if one is compared, and the comparison so far."""

    digest: str | None
    compared: int
    different: int
    promoted: bool


class Facts(NamedTuple):
    """Everything at one moment.

    ``now`` is seconds since the epoch, ``steady`` the same by the clock of ``KeySet.fetched_at``.
    ``shadow`` is None without ``policy.shadow``.
    """

    about: About
    now: float
    steady: float
    overall: Component
    components: Mapping[str, Component]
    values: Values
    snapshot: Snapshot
    shadow: Shadowed | None
    intervals: Sequence[Interval]
    entries: Sequence[Entry]
    skipped: int


class View(NamedTuple):
    """What a viewer asks for: a language, which decisions, and which routes from which on."""

    language: Language
    decisions: Filter = Filter()
    routes: str = ""
    first: int = 0
