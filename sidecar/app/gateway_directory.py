"""What a gateway knows of its registry: read anew, from a file, or from the gateway before."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from random import SystemRandom
from typing import Final, Self

from sidecar.app import gateway_wiring
from sidecar.app.gateway_snapshot import DirectoryFile
from sidecar.config import Config
from sidecar.config.gateway import GatewaySection
from sidecar.core.placement.directory import Directory
from sidecar.looma.directory.known import Known, Listing
from sidecar.looma.directory.reader import Reader
from sidecar.looma.directory.snapshot import content_of, listing_of
from sidecar.net.clock import steady
from sidecar.ops.readiness import State

# For the registry's first answer before the sidecar listens: Envoy repeats a Check for 3 s.
FIRST_SECONDS: Final = 1.5


class RegistryDirectory:
    """Reads a registry from ``start`` to ``close``; without one it is empty.

    ``heard`` is called after each answer and each failure, with the answer's refused entries (None
    for a failure) and whether the directory changed.
    """

    def __init__(
        self,
        config: Config,
        section: GatewaySection,
        targets: Callable[[], Iterable[str]],
        heard: Callable[[int | None, bool], None],
    ) -> None:
        self.listed_at: float | None = None  # by the steady clock
        self.failure = ""  # why the last answer is not newer
        self._looma = looma = config.settings.looma
        self._empty_grace = section.empty_grace
        self._admission = gateway_wiring.admission(section)
        self._known = Known(section.empty_grace)
        self._own = True  # whether what is known came from this registry
        self._heard = heard
        self._first = asyncio.Event()
        self._file: DirectoryFile | None = None
        if section.snapshot_file is not None and looma is not None:
            self._file = DirectoryFile(section.snapshot_file, looma)
        registry = gateway_wiring.directory(config, targets)
        self.reader: Reader | None = None
        if registry is not None:
            self.reader = Reader(registry, self._take, self._fail, SystemRandom())
        allocations = gateway_wiring.allocations(section)
        self.assigning: Reader | None = None  # reads allocations of another than the registry
        if allocations is not None:
            self.assigning = Reader(allocations, self._assign, self._fail_assigning, SystemRandom())
        self._assigned = allocations is None  # whether there was an answer
        self._unassigned = ""  # why the last one is not newer
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, former: Self | None) -> None:
        """Begin with what ``former`` knew, or with ``gateway.snapshot_file``, and read on.

        Where nothing is known yet, wait for the registry's first answer, but not for long.
        """
        if self.reader is None:
            return
        if former is not None:
            await self._take_over(former)
        elif self._file is not None:
            await self._restore(self._file)
        self._tasks.append(asyncio.create_task(self.reader.run(), name="directory"))
        if self.assigning is not None:
            self._tasks.append(asyncio.create_task(self.assigning.run(), name="allocations"))
        if self._file is not None:
            keep = self._file.keep(self._state)
            self._tasks.append(asyncio.create_task(keep, name="directory-file"))
        if self.waiting:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIRST_SECONDS):
                    await self._first.wait()

    async def close(self) -> None:
        """Stop, and save what is known."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._file is not None:
            await self._file.save(self._state())

    @property
    def waiting(self) -> bool:
        """Say whether nothing is known yet."""
        return self.reader is not None and (self.listed_at is None or not self._assigned)

    @property
    def next_change(self) -> float | None:
        """Return when an instance's grace ends, by the steady clock."""
        return self._known.next_change()

    def directory(self) -> Directory:
        """Return what is known at this moment."""
        return self._known.directory(steady())

    def state(self) -> tuple[State, str]:
        """Return the state of the directory, with a detail for the operator."""
        if self.reader is None:
            return State.READY, "gateway.services"
        if self.listed_at is None or not self._assigned:
            return State.WAITING, self.failure or self._unassigned
        if self._unassigned:
            return State.DEGRADED, self._unassigned
        if self.failure:
            return State.DEGRADED, f"{steady() - self.listed_at:.0f} s old: {self.failure}"
        return State.READY, "listed"

    async def _take_over(self, former: Self) -> None:
        """Go on with what is known under another configuration, as far as this one admits it."""
        if former.listed_at is None:
            return
        content = content_of(former.directory())
        self._known.take(await asyncio.to_thread(listing_of, content, self._admission), steady())
        self.listed_at, self.failure = former.listed_at, former.failure
        self._assigned = True
        if former._looma != self._looma:
            self._own, self.failure = False, "`looma` changed, and was not read yet"

    async def _restore(self, file: DirectoryFile) -> None:
        found = await file.load(self._admission)
        if found is not None:
            listing, age = found
            self._known.take(listing, steady())
            self.listed_at, self.failure = steady() - age, "from gateway.snapshot_file"
            self._assigned = True

    def _state(self) -> tuple[Directory, float] | None:
        """Return the directory and its age in seconds, None where nothing was listed."""
        if self.listed_at is None or not self._own:
            return None
        return self.directory(), steady() - self.listed_at

    def _take(self, listing: Listing | None) -> None:
        changed = self.listed_at is None
        self.listed_at, self.failure = steady(), ""
        if listing is not None:
            if not self._own:
                # What another registry listed does not vanish from this one.
                kept = self._known.directory(self.listed_at).allocations
                self._known, self._own, changed = Known(self._empty_grace), True, True
                if self.assigning is not None:
                    self._known.take(Listing((), allocations=kept), self.listed_at)
            changed |= self._known.take(listing, self.listed_at)
        self._settled()
        self._heard(0 if listing is None else listing.refused, changed)

    def _fail(self, detail: str) -> None:
        self.failure = detail
        self._first.set()
        self._heard(None, False)

    def _assign(self, listing: Listing | None) -> None:
        changed = not self._assigned
        self._assigned, self._unassigned = True, ""
        if listing is not None:
            changed |= self._known.take(listing, steady())
        self._settled()
        self._heard(None, changed)

    def _fail_assigning(self, detail: str) -> None:
        self._unassigned = f"allocations: {detail}"
        self._first.set()
        self._heard(None, False)

    def _settled(self) -> None:
        if not self.waiting:
            self._first.set()
