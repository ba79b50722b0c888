"""The key sets of all issuers, refreshed in the background."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from random import Random

from sidecar.core.tokens.keys import KeySet
from sidecar.net.clock import steady
from sidecar.zervi.interface import Fetcher, JwksFile, JwksUrl, RefreshSettings, Source
from sidecar.zervi.key_log import KeyLog
from sidecar.zervi.local_file import FILE_REFRESH, FileFetcher
from sidecar.zervi.refresher import Refresher
from sidecar.zervi.snapshot_file import SnapshotFile

# For the first keys of a new issuer: the rest of a reload, such as a removed issuer, waits for it.
PREPARE_SECONDS = 3.0

OnKeys = Callable[[int, KeySet], None]
OnRefresh = Callable[[int, str, str], None]


class KeyRing:
    """Keeps the key sets. ``sources`` are in the order of the issuers, None for a shared secret.

    ``on_keys(index, key_set)`` is called with every good set.
    ``on_refresh(index, result, detail)`` is called after every fetch, for metrics and health:
    ``result`` is success, not_modified or failure, ``detail`` a short text without secrets.
    ``clock`` returns seconds since the epoch and never jumps; ``wall`` is the wall clock
    (None: the same as ``clock``). It belongs to one event loop.

    Other sources and settings come in two steps: ``prepare`` fetches, ``take`` swaps. A source that
    stays keeps its key set and is not fetched again.
    """

    def __init__(
        self,
        sources: Sequence[Source | None],
        settings: RefreshSettings,
        *,
        on_keys: OnKeys,
        on_refresh: OnRefresh,
        clock: Callable[[], float] = steady,
        wall: Callable[[], float] | None = None,
        random: Random | None = None,
    ) -> None:
        self._on_keys = on_keys
        self._on_refresh = on_refresh
        self._clock = clock
        self._ahead = (lambda: 0.0) if wall is None else (lambda: wall() - clock())
        self._random = random
        self._settings = settings
        self._places = _places(sources)  # the sources in force, with their issuers' indices
        self._refreshers = {source: self._refresher(source, settings) for source in self._places}
        self._snapshot_file: SnapshotFile | None = None
        self._change_snapshot_file()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Load the snapshot file and start fetching; does not wait for an answer."""
        if self._snapshot_file is not None:
            for source, keys in (await self._snapshot_file.load(self._clock())).items():
                self._on_keys(self._places[source], keys)
                self._refreshers[source].restore(keys)
        for refresher in self._refreshers.values():
            refresher.start()

    async def prepare(self, sources: Sequence[Source | None], settings: RefreshSettings) -> None:
        """Fetch the first key sets of new sources, for at most ``PREPARE_SECONDS``."""
        fetches = []
        for source in _places(sources):
            if source not in self._refreshers:
                refresher = self._refreshers[source] = self._refresher(source, settings)
                fetches.append(refresher.start())
        if fetches:
            await asyncio.wait(fetches, timeout=min(settings.timeout, PREPARE_SECONDS))

    def take(self, sources: Sequence[Source | None], settings: RefreshSettings) -> None:
        """Use these prepared sources from now on; the others are closed."""
        changed = settings != self._settings
        before, self._places, self._settings = self._places, _places(sources), settings
        for source in [each for each in self._refreshers if each not in self._places]:
            self._close_later(self._refreshers.pop(source).close())
        for source in before.keys() & self._places.keys():
            if changed:
                self._refreshers[source].change(_pace(source, settings))
        if changed or before.keys() != self._places.keys():
            self._change_snapshot_file()
            for source in self._places:
                if (keys := self.keys_of(source)) is not None:
                    self._save(source, keys)

    def keys_of(self, source: Source | None) -> KeySet | None:
        """Return the last good key set of a source; None for a shared secret."""
        refresher = None if source is None else self._refreshers.get(source)
        return None if refresher is None else refresher.keys

    async def close(self) -> None:
        """Cancel every fetch and close all tasks, timers and sockets. May be called again."""
        closing = (refresher.close() for refresher in self._refreshers.values())
        await asyncio.gather(*closing, *self._closing)
        if self._snapshot_file is not None:
            await self._snapshot_file.close()

    def refresh_for(self, issuer: int, kid: str | None) -> Awaitable[bool] | bool:
        """Fetch for a key that is not in an issuer's set; see ``Refresher.refresh_for``.

        False for an issuer with a shared secret.
        """
        for source, index in self._places.items():
            if index == issuer:
                return self._refreshers[source].refresh_for(kid)
        return False

    def _refresher(self, source: Source, settings: RefreshSettings) -> Refresher:
        fetcher = _fetcher(source)
        return Refresher(
            fetcher,
            source.algorithms,
            _pace(source, settings),
            on_keys=partial(self._good_keys, source),
            on_refresh=partial(self._refreshed, source),
            log=KeyLog(source.issuer, fetcher.where),
            clock=self._clock,
            random=self._random or Random(),  # noqa: S311 -- jitter, no secret
        )

    def _good_keys(self, source: Source, keys: KeySet) -> None:
        if source in self._places:
            self._on_keys(self._places[source], keys)
            self._save(source, keys)

    def _refreshed(self, source: Source, result: str, detail: str) -> None:
        if source in self._places:
            self._on_refresh(self._places[source], result, detail)

    def _save(self, source: Source, keys: KeySet) -> None:
        if self._snapshot_file is not None and isinstance(source, JwksUrl):
            self._snapshot_file.put(source, keys)

    def _change_snapshot_file(self) -> None:
        path, stale = self._settings.snapshot_file, self._settings.max_stale
        fetched = [source for source in self._places if isinstance(source, JwksUrl)]
        if self._snapshot_file is None:
            if path is not None:
                self._snapshot_file = SnapshotFile(path, fetched, stale, self._ahead)
        elif path is not None:
            self._snapshot_file.change(path, fetched)
        else:
            self._close_later(self._snapshot_file.close())
            self._snapshot_file = None

    def _close_later(self, closing: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(closing)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _places(sources: Sequence[Source | None]) -> dict[Source, int]:
    return {source: index for index, source in enumerate(sources) if source is not None}


def _pace(source: Source, settings: RefreshSettings) -> RefreshSettings:
    if isinstance(source, JwksFile):
        return settings._replace(refresh=min(settings.refresh, FILE_REFRESH))
    return settings


def _fetcher(source: Source) -> Fetcher:
    match source:
        case JwksFile(path=path):
            return FileFetcher(path)
        case JwksUrl():
            return http_fetcher(source)


def http_fetcher(source: JwksUrl) -> Fetcher:
    """Return what fetches an issuer's key set over HTTP."""
    # h11 costs memory and start time; files and secrets do not need it.
    from sidecar.zervi.discovery import DiscoveryFetcher
    from sidecar.zervi.fetch import HttpFetcher

    return DiscoveryFetcher(source) if source.discovery else HttpFetcher(source)
