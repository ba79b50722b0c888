"""One state per component, and the health of the gRPC services that follows from them."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple

AUTHORIZATION = "envoy.service.auth.v3.Authorization"
DIRECTORY = "directory"
REVOCATION = "revocation"


class State(StrEnum):
    """State of a component."""

    WAITING = "waiting"  # not usable yet
    READY = "ready"
    DEGRADED = "degraded"  # usable with older data, or only in part
    FAILED = "failed"
    DRAINING = "draining"  # only the sidecar as a whole: about to end

    @property
    def usable(self) -> bool:
        """Whether the component is usable."""
        return self in _USABLE


_SOURCES = (DIRECTORY, REVOCATION)  # of what a decision needs beside policy and keys

_USABLE = frozenset({State.READY, State.DEGRADED})


class Component(NamedTuple):
    """A component's state, ``since`` in seconds since the epoch, and details for the operator."""

    state: State
    since: float
    detail: str = ""


class Health:
    """The states of all components, and the services' health that follows from them.

    The components are ``policy``, ``issuer:<name>`` for each issuer, ``upstream`` where it is
    probed, ``looma`` where there is a registry, ``directory`` in a gateway, ``revocation`` where
    there is a feed, and ``lookups``, which are ready until they fail. The service becomes
    ready when a policy is loaded, one issuer has usable keys, and directory and feed were read,
    and stays ready until ``drain``. The others do not count.
    Implements the transport's ``HealthSource``.
    """

    def __init__(
        self,
        issuers: Sequence[str],
        *,
        upstream: bool = False,
        looma: bool = False,
        directory: bool = False,
        lookups: Sequence[str] = (),
        revocation: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._started = clock()
        self._ready_since: float | None = None
        self._draining: Component | None = None
        self._change = asyncio.Event()
        self._components: dict[str, Component] = {}
        self.expect(
            issuers,
            upstream=upstream,
            looma=looma,
            directory=directory,
            revocation=revocation,
            lookups=lookups,
        )

    def expect(
        self,
        issuers: Sequence[str],
        *,
        upstream: bool,
        looma: bool,
        directory: bool = False,
        lookups: Sequence[str] = (),
        revocation: bool = False,
    ) -> None:
        """Have these components from now on; those that stay keep their state.

        An upstream that is probed from now on is as ready as before until its first probe ends.
        """
        self.issuers = _component_names(issuers)
        optional = {
            "upstream": upstream,
            "looma": looma,
            DIRECTORY: directory,
            REVOCATION: revocation,
        }
        names = ["policy", *self.issuers, *(name for name, there in optional.items() if there)]
        new = dict.fromkeys(names, Component(State.WAITING, self._clock()))
        if self.ready and upstream:
            new["upstream"] = Component(State.READY, self._clock(), "not probed yet")
        self._lookups = tuple(lookups)
        new |= dict.fromkeys(lookups, Component(State.READY, self._clock(), "not asked yet"))
        self._components = {name: self._components.get(name, new[name]) for name in new}
        self._notify()

    def set(self, component: str, state: State, detail: str = "") -> None:
        """Set a component's state; ``since`` changes only with the state. Raises KeyError."""
        former = self._components[component]
        if former.state is state and former.detail == detail:
            return
        since = former.since if former.state is state else self._clock()
        self._components[component] = Component(state, since, detail)
        if self._ready_since is None and self._can_serve():
            self._ready_since = self._clock()
        if former.state is not state:
            self._notify()

    def drain(self, detail: str = "") -> None:
        """Become not ready, for good; the process still answers. May be called again."""
        if self._draining is None:
            self._draining = Component(State.DRAINING, self._clock(), detail)
            self._notify()

    @property
    def draining(self) -> bool:
        """Whether ``drain`` was called."""
        return self._draining is not None

    @property
    def ready(self) -> bool:
        """Whether requests should be sent here."""
        return self._ready_since is not None and self._draining is None

    @property
    def overall(self) -> Component:
        """The state of the sidecar as a whole; the detail says what it waits for."""
        if self._draining is not None:
            return self._draining
        if self._ready_since is None:
            return Component(State.WAITING, self._started, self._waits_for())
        degraded = [
            name
            for name in ("policy", *_SOURCES, *self.issuers, *self._lookups)
            if name in self._components and self._components[name].state is not State.READY
        ]
        if degraded:
            since = min(self._components[name].since for name in degraded)
            return Component(State.DEGRADED, since, ", ".join(degraded))
        return Component(State.READY, self._ready_since)

    @property
    def components(self) -> Mapping[str, Component]:
        """Every component by name."""
        return MappingProxyType(self._components)

    def readiness(self) -> dict[str, bool]:
        """Whether each component is usable; ``sidecar`` is the whole."""
        usable = {name: component.state.usable for name, component in self._components.items()}
        return {"sidecar": self.ready, **usable}

    def statuses(self) -> Mapping[str, bool | None]:
        """Every gRPC service's health by name: True serving, False not serving, None unknown.

        An upstream that is not probed serves while the sidecar is ready: nothing speaks against it,
        and a pod whose Basic Server has this as its readiness probe becomes ready.
        """
        upstream = self._components.get("upstream")
        return {
            "": self.ready,
            AUTHORIZATION: self.ready,
            "liveness": True,
            "upstream": self.ready if upstream is None else upstream.state.usable,
        }

    def changed(self) -> Awaitable[None]:
        """Return an awaitable for the next change after this call."""
        return _Change(self._change)

    def _can_serve(self) -> bool:
        needed = [name for name in ("policy", *_SOURCES) if name in self._components]
        return all(self._components[name].state.usable for name in needed) and any(
            self._components[name].state.usable for name in self.issuers
        )

    def _waits_for(self) -> str:
        if not self._components["policy"].state.usable:
            return "no policy is loaded yet"
        if not any(self._components[name].state.usable for name in self.issuers):
            return "no issuer has usable keys yet"
        revocation = self._components.get(REVOCATION)
        if revocation is not None and not revocation.state.usable:
            return "the feed of revocations is not read yet"
        return "the registry has not answered yet"

    def _notify(self) -> None:
        self._change.set()
        self._change = asyncio.Event()


class _Change:
    """Awaits an event; holds no task or future before it is awaited."""

    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def __await__(self) -> Generator[Any, None, None]:
        yield from self._event.wait().__await__()


def _component_names(issuers: Sequence[str]) -> tuple[str, ...]:
    """Name the issuers' components; two issuers may share a name (one with keys, one a secret)."""
    names: list[str] = []
    for issuer in issuers:
        name = f"issuer:{issuer}"
        while name in names:
            name += "'"
        names.append(name)
    return tuple(names)
