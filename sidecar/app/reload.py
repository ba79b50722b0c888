"""Reloads changed files, without a restart and without a gap."""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from itertools import starmap
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from sidecar.app import process
from sidecar.config import Config, ConfigError, ConfigFiles, read_files
from sidecar.config.model import Settings, Tls
from sidecar.core.routes.table import Policy

POLL_SECONDS = 2.0  # short for a person who edits; ConfigMaps and Secrets take a minute anyway
HANG_SECONDS = 60.0  # a warning each time a file system does not answer for so long

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)


class Reloader:
    """Watches the content of ``sidecar.yaml`` and of the files that it names.

    It compares content, not times: Kubernetes swaps a symlink, an editor replaces the file, rsync
    keeps its time. ``apply`` gets a valid configuration, ``refuse`` the errors of an invalid one;
    reading and compiling run in a thread. ``renew`` reads certificates first: they expire, and an
    error in the policy must not delay that.
    """

    def __init__(
        self,
        path: Path,
        config: Config,
        environ: Mapping[str, str],
        apply: Callable[[Config], Awaitable[None]],
        refuse: Callable[[ConfigError], None],
        renew: Callable[[], Awaitable[None]],
    ) -> None:
        self._path = path
        self._environ = environ
        self._apply = apply
        self._refuse = refuse
        self._renew = renew
        tls = config.settings.listen.tls
        # Certificates are those of the start, whatever `listen.tls` says now.
        self._always = (path, *_certificates(tls))
        self._files = self._named_in(config.settings)
        self._seen = _digests(self._files)
        self._asked = asyncio.Event()
        if any(starmap(_has_changed, _policies(config))):
            self._asked.set()  # it changed during the start

    def now(self) -> None:
        """Reload without waiting for a change (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until the task is cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._asked.wait()
            seen = await _off_the_loop(_digests, self._files)
            if seen == self._seen and not self._asked.is_set():
                continue
            self._asked.clear()
            self._seen = seen
            await self._reload()

    async def _reload(self) -> None:
        try:
            await self._renew()
            config = (await self._read()).config()
            process.keep_objects()
            await self._apply(config)
        except ConfigError as error:
            self._refuse(error)
        except Exception as error:  # noqa: BLE001 -- the old policy goes on; the watch must too
            _log.error("not reloaded: internal error %s", type(error).__name__)

    async def _read(self) -> ConfigFiles:
        """Read all files, and once more where ``sidecar.yaml`` names others than before.

        So a change that comes while these are read for the first time is not missed. A file that a
        refused configuration names is watched too: it may be put right there.
        """
        files = await _off_the_loop(read_files, self._path, self._environ)
        if files.settings is None or (named := self._named_in(files.settings)) == self._files:
            return files
        self._files = named
        self._seen = await _off_the_loop(_digests, named)
        return await _off_the_loop(read_files, self._path, self._environ)

    def _named_in(self, settings: Settings) -> tuple[Path, ...]:
        """Return the watched files.

        Tokens for the registry and for key sets are not among them: they are read for each call.
        """
        files = [*self._always, *_certificates(settings.listen.tls), settings.policy.file]
        if settings.policy.shadow is not None:
            files.append(settings.policy.shadow.file)
        for issuer in settings.zervi.issuers:
            files += issuer.secret_file or ()
            files += filter(None, (issuer.jwks_file, issuer.ca_file))
        if (looma := settings.looma) is not None:
            files += filter(None, (looma.ca_file, looma.cert_file, looma.key_file))
        return tuple(dict.fromkeys(files))


def _certificates(tls: Tls | None) -> Iterable[Path]:
    return () if tls is None else filter(None, (tls.cert_file, tls.key_file, tls.client_ca_file))


async def _off_the_loop(work: Callable[[*Arguments], Result], *args: *Arguments) -> Result:
    """Call a function that reads files in a thread; while it is blocked, start no other."""
    reading = asyncio.create_task(asyncio.to_thread(work, *args))
    while not (await asyncio.wait([reading], timeout=HANG_SECONDS))[0]:
        _log.warning("reading the configuration is blocked; keeping the current one")
    return reading.result()


def _policies(config: Config) -> Iterable[tuple[Path, Policy]]:
    """Return the policy and the candidate, if any, each with its file."""
    section = config.settings.policy
    yield section.file, config.policy
    if section.shadow is not None and config.shadow is not None:
        yield section.shadow.file, config.shadow


def _has_changed(file: Path, policy: Policy) -> bool:
    """Return whether a policy's file has changed since it was read."""
    found = _digest(file)
    return found is not None and not found.hex().startswith(policy.digest)


def _digests(files: Iterable[Path]) -> tuple[bytes | None, ...]:
    """Return a digest of each file's content, None for an unreadable one."""
    return tuple(map(_digest, files))


def _digest(file: Path) -> bytes | None:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").digest()
    except OSError:
        return None
