"""The key sets of all issuers, refreshed in the background."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

from sidecar.core.tokens.keys import KeySet
from sidecar.net.clock import steady
from sidecar.zervi.interface import Fetcher, JwksFile, JwksUrl, RefreshSettings, Source
from sidecar.zervi.key_log import KeyLog
from sidecar.zervi.local_file import FILE_REFRESH, FileFetcher
from sidecar.zervi.refresher import Refresher
from sidecar.zervi.snapshot_file import SnapshotFile

OnKeys = Callable[[int, KeySet], None]
OnRefresh = Callable[[int, str, str], None]


class KeyRing:
    """Keeps the key sets. ``sources`` are in the order of the issuers, None for a shared secret.

    ``on_keys(index, key_set)`` is called with every good set.
    ``on_refresh(index, result, detail)`` is called after every fetch, for metrics and health:
    ``result`` is success, not_modified or failure, ``detail`` a short text without secrets.
    ``clock`` returns seconds since the epoch and never jumps; ``wall`` is the wall clock
    (None: the same as ``clock``). It belongs to one event loop.
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
        self._clock = clock
        self._refreshers: dict[int, Refresher] = {}
        ahead = (lambda: 0.0) if wall is None else (lambda: wall() - clock())
        self._snapshot_file = _snapshot_file(sources, settings, ahead)
        for index, source in enumerate(sources):
            if source is None:
                continue
            fetcher, pace = _fetcher(source, settings)
            self._refreshers[index] = Refresher(
                fetcher,
                source.algorithms,
                pace,
                on_keys=partial(self._good_keys, index),
                on_refresh=partial(on_refresh, index),
                log=KeyLog(source.issuer, fetcher.where),
                clock=clock,
                random=random or Random(),  # noqa: S311 -- jitter, no secret
            )

    async def start(self) -> None:
        """Load the snapshot file and start fetching; does not wait for an answer."""
        if self._snapshot_file is not None:
            for index, keys in (await self._snapshot_file.load(self._clock())).items():
                self._on_keys(index, keys)
                self._refreshers[index].restore(keys)
        for refresher in self._refreshers.values():
            refresher.start()

    async def close(self) -> None:
        """Cancel every fetch and close all tasks, timers and sockets. May be called again."""
        await asyncio.gather(*(refresher.close() for refresher in self._refreshers.values()))
        if self._snapshot_file is not None:
            await self._snapshot_file.close()

    def refresh_for(self, issuer: int, kid: str | None) -> Awaitable[bool] | bool:
        """Fetch for a key that is not in an issuer's set; see ``Refresher.refresh_for``.

        False for an issuer with a shared secret.
        """
        refresher = self._refreshers.get(issuer)
        return False if refresher is None else refresher.refresh_for(kid)

    def _good_keys(self, index: int, keys: KeySet) -> None:
        self._on_keys(index, keys)
        if self._snapshot_file is not None and index in self._snapshot_file.sources:
            self._snapshot_file.put(index, keys)


def _snapshot_file(
    sources: Sequence[Source | None],
    settings: RefreshSettings,
    ahead: Callable[[], float],
) -> SnapshotFile | None:
    if settings.snapshot_file is None:
        return None
    fetched = {index: source for index, source in enumerate(sources) if isinstance(source, JwksUrl)}
    return SnapshotFile(settings.snapshot_file, fetched, settings.max_stale, ahead)


def _fetcher(source: Source, settings: RefreshSettings) -> tuple[Fetcher, RefreshSettings]:
    match source:
        case JwksFile(path=path):
            pace = settings._replace(refresh=min(settings.refresh, FILE_REFRESH))
            return FileFetcher(path), pace
        case JwksUrl(url=url, ca_file=ca_file):
            # h11 costs memory and start time; files and secrets do not need it.
            from sidecar.zervi.fetch import HttpFetcher

            return HttpFetcher(url, ca_file), settings
