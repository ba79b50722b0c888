"""The entry point of this room: makes a reporter from settings."""

import time
from collections.abc import Callable
from random import SystemRandom
from typing import Literal, NamedTuple

from sidecar.looma.answers import Caller
from sidecar.looma.http import HttpRegistry, Paths
from sidecar.looma.registry import Registry
from sidecar.looma.report import NodeState
from sidecar.looma.reporter import Events, Reporter, ReporterSettings
from sidecar.looma.token import EnvTokens, FileTokens, Login, LoginTokens, Tokens, WithToken
from sidecar.net.trust import TlsFiles

Kind = Literal["http", "etcd", "consul"]

# The header and prefix of the token for each kind of registry.
TOKEN_HEADERS: dict[Kind, tuple[str, str]] = {
    "http": ("Authorization", "Bearer "),
    "etcd": ("Authorization", ""),
    "consul": ("X-Consul-Token", ""),
}

# The TTL of etcd's lease and Consul's check; Looma has the same ratio, 300 s to 30 s.
HEARTBEATS_PER_OWN_TTL = 10


class RegistrySettings(NamedTuple):
    """The registry, the service token (None: not sent) and the TLS files."""

    kind: Kind
    url: str
    paths: Paths = Paths()
    token: FileTokens | EnvTokens | Login | None = None
    tls: TlsFiles = TlsFiles()


class Reporting:
    """Reports one node to the registry."""

    def __init__(
        self,
        registry: RegistrySettings,
        reporter: ReporterSettings,
        node_state: Callable[[], NodeState],
        events: Events,
    ) -> None:
        from sidecar.looma.http_calls import HttpCaller  # h11 and more

        self._http = HttpCaller(registry.tls)
        self._login: LoginTokens | None = None
        self._reporter = Reporter(
            reporter,
            self._registry(registry, reporter),
            node_state,
            events,
            random=SystemRandom(),
            clock=time.time,
        )

    def report(self) -> None:
        """Register and report from now on; call it once, when the sidecar is ready."""
        self._reporter.start()

    def upstream(self, state: str) -> None:
        """Set the upstream's state, as ``Reporter.upstream`` does."""
        self._reporter.upstream(state)

    async def leave(self) -> bool:
        """Deregister, as ``Reporter.leave`` does."""
        return await self._reporter.leave()

    async def close(self) -> None:
        """Stop everything immediately, without deregistering."""
        await self._reporter.close()
        if self._login is not None:
            await self._login.close()

    def _registry(self, settings: RegistrySettings, reporter: ReporterSettings) -> Registry:
        call = self._caller(settings)
        service_id = reporter.service.id
        ttl = HEARTBEATS_PER_OWN_TTL * reporter.heartbeat
        if settings.kind == "http":
            return HttpRegistry(settings.url, settings.paths, service_id, call)
        if settings.kind == "etcd":
            from sidecar.looma.etcd import EtcdRegistry

            return EtcdRegistry(settings.url, service_id, ttl, call)
        from sidecar.looma.consul import ConsulRegistry

        return ConsulRegistry(settings.url, service_id, ttl, call)

    def _caller(self, settings: RegistrySettings) -> Caller:
        if settings.token is None:
            return self._http
        header, prefix = TOKEN_HEADERS[settings.kind]
        tokens: Tokens
        if isinstance(settings.token, Login):
            tokens = self._login = LoginTokens(settings.token, self._http)
        else:
            tokens = settings.token
        return WithToken(self._http, tokens, header, prefix)
