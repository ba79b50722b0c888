"""One running sidecar, from its start to its end.

Start: read the policy, listen (not ready), fetch key sets, become ready, register with Looma.
SIGTERM or Ctrl-C: become not ready, deregister, keep answering while Envoy drains, stop. A second
signal ends the draining.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar import __version__
from sidecar.app import process, tracing, wiring
from sidecar.app.listeners import Listeners
from sidecar.app.looking_up import LookingUp
from sidecar.app.placing import Placing
from sidecar.app.probing import Probing
from sidecar.app.promotion import Candidate
from sidecar.app.registration import Registration
from sidecar.app.reload import Reloader
from sidecar.app.revoking import Revoking
from sidecar.config import Config, ConfigError, changed_keys, needs_restart, read_files
from sidecar.core.decision import DecisionRecord
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.keys import KeySet
from sidecar.documents.findings import Severity
from sidecar.extauthz.respond import Responder
from sidecar.net.clock import steady
from sidecar.net.logs import once_a_minute
from sidecar.ops.decision_log import DecisionLog
from sidecar.ops.logs import configure_logging, set_level
from sidecar.ops.metrics import Metrics
from sidecar.ops.readiness import Health, State
from sidecar.ops.routes import ops_routes
from sidecar.review import lint
from sidecar.transport.interface import ListenError
from sidecar.zervi.keyring import KeyRing

if TYPE_CHECKING:
    from sidecar.core.placement.place import Placements

_log = logging.getLogger(__name__)

MAX_FINDINGS = 10  # of a failed reload in the log: a table may have thousands
LOG_SECONDS = 0.5  # for each of the two logs if its reader has stopped


def serve(path: Path) -> int:
    """Run the sidecar with the configuration at ``path``.

    Returns 1 for an invalid configuration, after writing its errors to standard error. Otherwise
    the process ends here: with 0 after a clean end, with 1 if it cannot start.
    """
    try:
        files = read_files(path, os.environ)
        config = files.config(lint.findings(files))
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)  # noqa: T201 -- the log is not configured yet
        return 1
    log = configure_logging(config.settings.log.level)
    for warning in config.warnings:
        _log.warning("%s", warning, extra=once_a_minute(str(warning)))
    with asyncio.Runner(loop_factory=process.new_event_loop) as runner:
        code = 0
        try:
            runner.run(Sidecar(path, config).run())
            _log.info("stopped")
        except (ListenError, tracing.MissingExtraError) as error:
            _log.error("cannot start: %s", error)
            code = 1
        finally:
            log.close(LOG_SECONDS)
        # All is closed. The runner and the interpreter would still wait for threads, and one that
        # is blocked in a file system or a resolver must not delay the end of a pod.
        os._exit(code)


class Sidecar:
    """One running sidecar."""

    def __init__(self, path: Path, config: Config) -> None:
        self._path = path
        self._config = config
        self._sources = wiring.key_sources(config)
        self._started = config.settings
        self._issuers = [issuer.name for issuer in config.issuers]
        self._health = Health(self._issuers, **wiring.components(config))
        self._decisions = DecisionLog(wiring.decision_log(config))
        self._metrics = Metrics(
            __version__,
            token_cache_entries=lambda: self._service.cached_tokens,
            token_cache_bytes=lambda: self._service.cached_token_bytes,
            ready=self._health.readiness,
            decision_log_dropped=lambda: self._decisions.dropped,
        )
        self._keys = KeyRing(
            self._sources,
            wiring.key_refreshing(config),
            on_keys=self._on_keys,
            on_refresh=self._on_refresh,
            wall=time.time,
        )
        self._candidate = Candidate(config, self._metrics.shadow_decision)
        self._looking_up = LookingUp(self._health, self._metrics)
        self._looking_up.follow(config)
        self._service = tracing.service_class(config)(
            wiring.snapshot(config),
            Responder(wiring.answers(config)),
            self._keys,
            self._record,
            lambda deliver: asyncio.get_running_loop().call_soon(deliver),
            wiring.service(config),
            self._candidate.shadow,
            self._looking_up.source,
        )
        self._listeners = Listeners(config)
        self._reloader = Reloader(
            path, config, os.environ, self._apply, self._refuse, self._listeners.renew_certificates
        )
        self._registration = Registration(
            lambda: self._service.snapshot, self._health, self._metrics
        )
        self._revoking = Revoking(self._health, self._metrics)
        self._probing = Probing(self._health, self._metrics, self._registration.upstream)
        self._placing = Placing(
            lambda: self._service.snapshot.policy, self._place, self._health, self._metrics
        )
        self._recorders = [self._metrics.records, self._decisions.records, self._placing.records]
        self._tracer = tracing.tracer(config, self._metrics)

    async def run(self) -> None:
        """Serve until a signal, drain, stop. Raises ListenError if it cannot start."""
        signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, signals.put_nowait, number)
        loop.add_signal_handler(signal.SIGHUP, self._reloader.now)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(self._decisions.close, LOG_SECONDS)
            stack.push_async_callback(self._placing.close)
            stack.push_async_callback(self._revoking.close)
            revocations = await self._revoking.start(self._config)
            self._service.swap(self._service.snapshot._replace(revocations=revocations))
            await self._placing.follow(self._config)  # no Check before there are placements
            if self._tracer is not None:
                self._recorders.append(self._tracer.records)
                tracing.start(stack, self._tracer)
            await self._listen(stack)
            self._note_policy()
            for work in (self._reloader.run(), self._announce()):
                stack.callback(asyncio.create_task(work).cancel)
            await self._keys.start()
            stack.push_async_callback(self._keys.close)
            stack.push_async_callback(self._looking_up.close)
            stack.push_async_callback(self._probing.close)
            stack.push_async_callback(self._registration.close)
            await self._follow_outside()
            process.shorten_pauses()
            number = await signals.get()
            self._health.drain(f"draining since {number.name}")
            leaving = asyncio.create_task(self._registration.leave())
            await self._wait_for_envoy(signals)
            await leaving

    async def _announce(self) -> None:
        """Log once that the sidecar is ready, and its policy."""
        while not self._health.ready:
            await self._health.changed()
        policy = self._service.snapshot.policy
        _log.info(
            "ready: version %s, policy %s, %d routes",
            __version__,
            policy.digest,
            len(policy.routes),
        )

    async def _listen(self, stack: contextlib.AsyncExitStack) -> None:
        routes = ops_routes(self._health, self._metrics)
        await self._listeners.start(stack, self._service.methods(), self._health, routes)
        if self._config.settings.listen.admin is not None:
            from sidecar.app.admin import admin_routes  # where it is configured

            commands = admin_routes(
                self._health, self._registration, self._service, self._candidate, self._decide_by
            )
            await self._listeners.start_admin(stack, commands)
        if self._config.settings.listen.page is not None:
            from sidecar.app.page import NodePage  # where it is configured

            state = self._service, self._health, self._metrics, self._candidate
            page = NodePage(self._path, lambda: self._config, *state)
            self._recorders.append(page.recent.records)
            await self._listeners.start_page(stack, page)

    async def _wait_for_envoy(self, signals: asyncio.Queue[signal.Signals]) -> None:
        """Wait until Envoy's connections are closed, ``drain`` is over or a signal arrives."""
        drain = self._config.settings.drain
        _log.info("draining for at most %g s; a second signal ends it now", drain)

        async def signalled() -> None:
            await signals.get()

        ends = [asyncio.create_task(self._listeners.idle()), asyncio.create_task(signalled())]
        _, pending = await asyncio.wait(ends, timeout=drain, return_when=asyncio.FIRST_COMPLETED)
        for end in pending:
            end.cancel()
        await asyncio.gather(*pending, return_exceptions=True)

    async def _apply(self, fresh: Config) -> None:
        """Put a reloaded configuration in force: all of it between two requests."""
        sources, pace = wiring.key_sources(fresh), wiring.key_refreshing(fresh)
        await self._keys.prepare(sources, pace)
        await self._revoking.change(fresh)
        self._say_what_changed(fresh)
        new = [source not in self._sources for source in sources]
        self._keys.take(sources, pace)
        self._config, self._sources = fresh, sources
        self._issuers = [issuer.name for issuer in fresh.issuers]
        settings = fresh.settings
        self._health.expect(self._issuers, **wiring.components(fresh))
        self._looking_up.follow(fresh)
        self._decisions.settings = wiring.decision_log(fresh)
        set_level(settings.log.level)
        policy = self._candidate.take(fresh)
        issuers = [
            issuer._replace(keys=self._keys.keys_of(source))
            for issuer, source in zip(fresh.issuers, sources, strict=True)
        ]
        was = self._service.snapshot.policy.digest
        self._service.reload(
            wiring.snapshot(fresh)._replace(
                policy=policy,
                issuers=tuple(issuers),
                placements=self._service.snapshot.placements,
                revocations=self._revoking.revocations,
            ),
            Responder(wiring.answers(fresh)),
            wiring.service(fresh),
            self._candidate.shadow,
            self._looking_up.source,
        )
        self._revoking.show()
        self._metrics.policy_reload("success")
        self._metrics.keep_issuers({issuer.name for issuer in issuers if issuer.keys})
        self._note_policy(was)
        for index, issuer in enumerate(issuers):
            if issuer.keys is not None and new[index]:
                self._note_keys(index, issuer.keys)
            elif new[index] and not issuer.secrets:
                self._health.set(self._health.issuers[index], State.WAITING, "no keys yet")
        await self._follow_outside()

    async def _follow_outside(self) -> None:
        """Probe the upstream, and report to the registry, as the configuration says."""
        await self._probing.follow(wiring.probe(self._config))
        await self._registration.follow(self._config)
        await self._placing.follow(self._config)

    def _say_what_changed(self, fresh: Config) -> None:
        """Log the changed keys of ``sidecar.yaml``, never their values, and new warnings."""
        for key in filter(needs_restart, changed_keys(self._started, fresh.settings)):
            _log.warning("`%s` changed: takes effect after a restart", key)
        changed = changed_keys(self._config.settings, fresh.settings)
        if reloaded := [key for key in changed if not needs_restart(key)]:
            _log.info("sidecar.yaml reloaded: %s", ", ".join(reloaded))
        secrets = [
            [issuer.secrets for issuer in config.issuers] for config in (self._config, fresh)
        ]
        if secrets[0] != secrets[1]:
            _log.info("secrets reloaded")
        known = set(map(str, self._config.warnings))
        for warning in fresh.warnings:
            if str(warning) not in known:
                _log.warning("%s", warning, extra=once_a_minute(str(warning)))

    def _decide_by(self, snapshot: Snapshot) -> None:
        """Put a snapshot with another policy in force."""
        was = self._service.snapshot.policy.digest
        self._service.swap(snapshot)
        self._note_policy(was)

    def _place(self, placements: "Placements | None") -> None:
        snapshot = self._service.snapshot
        if placements is not snapshot.placements:
            self._service.swap(snapshot._replace(placements=placements))

    def _refuse(self, error: ConfigError) -> None:
        """Keep the policy in force and report the errors of the new one."""
        errors = [each for each in error.findings if each.severity is Severity.ERROR]
        for finding in errors[:MAX_FINDINGS]:
            _log.error("not reloaded: %s", finding, extra=once_a_minute(str(finding)))
        if (more := len(errors) - MAX_FINDINGS) > 0:
            _log.error("not reloaded: %d more errors; zervi-sidecar check lists them all", more)
        self._metrics.policy_reload("failure")
        kept = self._service.snapshot.policy.digest
        detail = f"{kept} is kept; not reloaded: {errors[0]}"
        self._health.set("policy", State.DEGRADED, detail)

    def _note_policy(self, was: str = "") -> None:
        """Show the policy in force; ``was`` is the digest of the former one."""
        policy = self._service.snapshot.policy
        if was:
            former = "unchanged" if policy.digest == was else f"was {was}"
            _log.info("policy %s is in force (%s)", policy.digest, former)
        promoted = " (promoted candidate)" if self._candidate.promoted else ""
        self._metrics.policy_loaded(policy.digest, time.time())
        self._health.set(
            "policy", State.READY, f"{len(policy.routes)} routes, {policy.digest}{promoted}"
        )
        self._placing.policy_changed()
        for index, issuer in enumerate(self._config.issuers):
            if issuer.secrets:
                self._health.set(self._health.issuers[index], State.READY, "a shared secret")

    def _on_keys(self, index: int, keys: KeySet) -> None:
        snapshot = self._service.snapshot
        issuers = list(snapshot.issuers)
        issuers[index] = issuers[index]._replace(keys=keys)
        self._service.swap(snapshot._replace(issuers=tuple(issuers)))
        self._note_keys(index, keys)

    def _note_keys(self, index: int, keys: KeySet) -> None:
        fetched_at = time.time() - (steady() - keys.fetched_at)  # by the wall clock
        self._metrics.jwks_keys(self._issuers[index], len(keys.keys), fetched_at)
        self._health.set(self._health.issuers[index], State.READY, f"keys: {len(keys.keys)}")

    def _on_refresh(self, index: int, result: str, detail: str) -> None:
        self._metrics.jwks_refresh(self._issuers[index], result)
        if result != "failure":
            return
        keys = self._service.snapshot.issuers[index].keys
        if keys is None:
            self._health.set(self._health.issuers[index], State.WAITING, detail)
            return
        age = steady() - keys.fetched_at
        state = State.FAILED if age > self._service.snapshot.max_stale else State.DEGRADED
        self._health.set(self._health.issuers[index], state, f"keys are {age:.0f} s old: {detail}")

    def _record(self, records: Sequence[DecisionRecord]) -> None:
        for recorder in self._recorders:
            recorder(records)
