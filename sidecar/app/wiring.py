"""Converts the configuration to the settings of each room."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from sidecar.config import Config
from sidecar.config.answers import CorsSection
from sidecar.config.lookups import PermissionsSection
from sidecar.config.model import IssuerSection, Looma
from sidecar.config.removed import REMOVED, REMOVED_WITH_HOSTS
from sidecar.config.revocation import FeedToken
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.lookups import PermissionRule
from sidecar.extauthz.cors import Cors
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Challenge
from sidecar.looma.http import Paths
from sidecar.looma.identity import Service, service_id
from sidecar.looma.reporter import ReporterSettings
from sidecar.looma.reporting import RegistrySettings
from sidecar.looma.token import EnvTokens, FileTokens, Login
from sidecar.net.proxy import Proxies
from sidecar.net.trust import TlsFiles
from sidecar.ops.decision_log import LogSettings
from sidecar.transport.interface import ListenError, Tls
from sidecar.upstream.probe import ProbeSettings
from sidecar.zervi.interface import JwksFile, JwksUrl, RefreshSettings, Source
from sidecar.zervi.revocation.interface import FeedSettings, FeedSource

if TYPE_CHECKING:
    from sidecar.zervi.look_up import PermissionsSource, VerdictSource


def snapshot(config: Config) -> Snapshot:
    """Return the snapshot at the start: no issuer has keys yet."""
    zervi = config.settings.zervi
    return Snapshot(
        policy=config.policy,
        issuers=config.issuers,
        token_sources=config.token_sources,
        identity_headers=config.identity_headers,
        leeway=zervi.leeway,
        max_stale=zervi.jwks.max_stale,
        cache_ttl=zervi.token_cache.max_ttl,
        candidate=config.shadow,
        token_max_bytes=zervi.token_max_bytes,
        permissions=_permission_rule(zervi.permissions),
        opaque_issuer=next(
            (index for index, issuer in enumerate(config.issuers) if issuer.introspection), None
        ),
        service_token_sources=config.service_token_sources,
    )


def decision_log(config: Config) -> LogSettings:
    """Return which decisions are logged, and how much of them."""
    log = config.settings.log
    return LogSettings(log.decisions, log.replayable, config.token_sources)


def _permission_rule(section: PermissionsSection | None) -> PermissionRule | None:
    if section is None:
        return None
    return PermissionRule(section.when == "always", frozenset(section.issuers))


def answers(config: Config) -> AnswerSettings:
    """Return which headers an allowed request loses and gets."""
    policy = config.settings.policy
    return AnswerSettings(
        identity_headers=config.identity_headers,
        remove_headers=policy.remove_headers,
        forward_authorization=policy.forward_authorization,
        token_sources=(*config.token_sources, *config.service_token_sources),
        cors=_cors(policy.cors),
        challenge=Challenge(policy.challenge.realm, policy.challenge.resource_metadata),
        # An explicit list in the configuration is used unchanged.
        remove_with_hosts=REMOVED_WITH_HOSTS if policy.remove_headers == REMOVED else (),
        claim_headers=tuple(
            dict.fromkeys(name for issuer in config.issuers for name in issuer.claims.headers)
        ),
    )


def _cors(section: CorsSection | None) -> Cors | None:
    if section is None:
        return None
    return Cors(
        frozenset(section.origins),
        section.methods,
        section.headers,
        section.credentials,
        int(section.max_age),
    )


def service(config: Config) -> ServiceSettings:
    """Return the Check service's bounds."""
    zervi = config.settings.zervi
    cache = zervi.token_cache
    return ServiceSettings(cache.max_entries, zervi.jwks.unknown_key_wait, cache.max_bytes)


def key_sources(
    config: Config, environ: Mapping[str, str] = os.environ
) -> tuple[Source | None, ...]:
    """Return the source of each issuer's keys; None for an issuer with a secret."""
    consent = config.settings.zervi.jwks.proxy_from_environment
    proxies = Proxies.of(environ) if consent else None
    return tuple(_key_source(issuer, proxies) for issuer in config.settings.zervi.issuers)


def _key_source(issuer: IssuerSection, proxies: Proxies | None) -> Source | None:
    algorithms = frozenset(issuer.algorithms)
    url = issuer.jwks_url
    if issuer.discovery:
        # OpenID Connect Discovery, section 4: a slash at the issuer's end is left out.
        url = issuer.issuer.removesuffix("/") + "/.well-known/openid-configuration"
    if url is not None:
        return JwksUrl(
            issuer.issuer,
            algorithms,
            url,
            issuer.ca_file,
            issuer.discovery,
            issuer.jwks_token_file,
            proxies,
        )
    if issuer.jwks_file is not None:
        return JwksFile(issuer.issuer, algorithms, issuer.jwks_file)
    return None


def key_refreshing(config: Config) -> RefreshSettings:
    """Return how key sets are refreshed."""
    jwks = config.settings.zervi.jwks
    return RefreshSettings(
        jwks.refresh, jwks.timeout, jwks.max_stale, jwks.cooldown, jwks.snapshot_file
    )


class Components(TypedDict):
    """Which components of the health are there, beside policy and issuers."""

    upstream: bool
    looma: bool
    directory: bool
    revocation: bool
    lookups: tuple[str, ...]


def components(config: Config) -> Components:
    """Return the components of the health that a configuration has."""
    settings = config.settings
    lookups = [] if settings.zervi.permissions is None else ["permissions"]
    asked = [each.issuer for each in settings.zervi.issuers if each.introspection is not None]
    lookups += [f"introspection:{issuer}" for issuer in dict.fromkeys(asked)]
    return Components(
        upstream=settings.upstream.probe is not None,
        looma=settings.looma is not None,
        directory=settings.gateway is not None,
        revocation=settings.zervi.revocation is not None,
        lookups=tuple(lookups),
    )


def permissions_source(config: Config) -> "PermissionsSource | None":
    """Return where users' permissions are looked up; None: nowhere."""
    section = config.settings.zervi.permissions
    if section is None:
        return None
    from sidecar.zervi.credentials import Bearer, Held  # where it is configured
    from sidecar.zervi.look_up import PermissionsSource

    token = section.token
    credential = None if token is None else Bearer(Held(token.file, token.env))
    return PermissionsSource(
        *(section.url, section.ttl, section.max_stale, section.wait),
        *(credential, section.ca_file),
    )


def verdict_sources(config: Config) -> "tuple[VerdictSource | None, ...]":
    """Return which server each issuer's tokens are asked about at; None: at none."""
    return tuple(map(_verdict_source, config.settings.zervi.issuers))


def _verdict_source(issuer: IssuerSection) -> "VerdictSource | None":
    section = issuer.introspection
    if section is None:
        return None
    from sidecar.zervi.credentials import Bearer, Client, Credential, Held
    from sidecar.zervi.look_up import VerdictSource

    held = section.credentials
    credential: Credential | None = None
    if held is not None and held.client_id is not None:
        credential = Client(held.client_id, Held(held.secret_file, held.secret_env))
    elif held is not None:
        credential = Bearer(Held(held.file, held.env))
    return VerdictSource(
        *(issuer.issuer, section.kind, section.url, section.ttl, section.max_stale),
        *(section.wait, credential, section.ca_file),
    )


def revocation(config: Config) -> FeedSettings | None:
    """Return the feed of revocations, None without one."""
    section = config.settings.zervi.revocation
    if section is None:
        return None
    token = section.token or FeedToken()
    source = FeedSource(
        section.url or section.redis or "",
        TlsFiles(section.ca_file, section.cert_file, section.key_file),
        token.file,
        token.env,
        section.username,
    )
    issuers = section.issuers or [issuer.name for issuer in config.issuers]
    return FeedSettings(
        source,
        frozenset(issuers),
        section.poll,
        section.retain,
        section.max_stale,
        section.on_outage == "deny",
        section.snapshot_file,
    )


def certificates(config: Config) -> Tls | None:
    """Read the files of ``listen.tls``; None without TLS. Raises ListenError."""
    tls = config.settings.listen.tls
    if tls is None:
        return None
    client_ca = tls.client_ca_file
    return Tls(
        _read("cert_file", tls.cert_file),
        _read("key_file", tls.key_file),
        None if client_ca is None else _read("client_ca_file", client_ca),
        tls.client_names or (),
    )


def _read(key: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:  # without the path: it may be a key, pasted by mistake
        raise ListenError(f"listen.tls.{key}: {error.strerror}") from None


def reporter(looma: Looma, version: str) -> ReporterSettings:
    """Return what is reported to the registry, and how often."""
    service = looma.service
    identity = service_id(
        service.id, name=service.name, host=socket.gethostname(), port=service.port
    )
    named = Service(
        identity,
        service.name,
        service.type,
        service.address,
        service.port,
        service.node,
        service.cluster,
        service.version,
        service.environment,
        service.labels,
    )
    return ReporterSettings(named, version, looma.heartbeat, looma.metrics)


def registry(looma: Looma, secret: str | None) -> RegistrySettings:
    """Return the registry and its credentials; ``secret`` is that of a login."""
    paths = looma.paths
    return RegistrySettings(
        looma.kind,
        looma.url,
        Paths(paths.register, paths.heartbeat, paths.deregister, paths.metrics),
        service_token(looma, secret),
        TlsFiles(looma.ca_file, looma.cert_file, looma.key_file),
    )


def service_token(looma: Looma, secret: str | None) -> FileTokens | EnvTokens | Login | None:
    """Return where the registry's token comes from; ``secret`` is that of a login."""
    token = looma.token
    if token is None:
        return None
    if token.file is not None:
        return FileTokens(token.file)
    if token.env is not None:
        return EnvTokens(token.env)
    return Login(token.login_url or "", token.service_id or "", token.secret_file or secret or "")


def probe(config: Config) -> ProbeSettings | None:
    """Return how the upstream is probed; None: it is not."""
    section = config.settings.upstream.probe
    if section is None:
        return None
    return ProbeSettings(section.url, section.interval, section.timeout)
