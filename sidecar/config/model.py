"""The schema of ``sidecar.yaml``: every key with its kind and its default.

What each key means is in docs/configuration.md. Durations are seconds here, files are relative to
the configuration's directory, header names are lower-case. Rules about more than one key
are in ``rules``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from sidecar.config.addresses import (
    address,
    base_url,
    client_name,
    http_url,
    loopback_address,
    probe_url,
    service_address,
    tcp_address,
    unix_address,
)
from sidecar.config.answers import ChallengeSection, CorsSection, IdentityHeaderNames
from sidecar.config.claims import ClaimsSection, IssuerClaims
from sidecar.config.gateway import GatewaySection
from sidecar.config.headers import changeable_header
from sidecar.config.labels import LABELS
from sidecar.config.lookups import IntrospectionSection, PermissionsSection
from sidecar.config.removed import REMOVED
from sidecar.config.revocation import RevocationSection
from sidecar.config.token_places import ServiceTokenPlace, TokenPlace
from sidecar.config.token_rules import AUDIENCE_CLAIMS, OneName, ServiceWhen
from sidecar.core.paths.canonical import ALLOWABLE
from sidecar.core.paths.upstreams import GENERIC, UPSTREAMS
from sidecar.core.routes.table import PreflightMode
from sidecar.core.tokens.jws import MAX_TOKEN_BYTES
from sidecar.documents.kinds import (
    Choice,
    Duration,
    File,
    Flag,
    Integer,
    Kind,
    List,
    Mapped,
    Optional,
    Size,
    Text,
)
from sidecar.documents.schema import Section
from sidecar.documents.values import (
    algorithm,
    environment_name,
    file_mode,
    grant_pattern,
    id_template,
    node_path,
    registry_path,
    subject_expression,
)

_ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")
_SEGMENT = Choice(("segment",))
_TEXTS = List(Text(), min_items=1)
_GRANTS = Mapped(List(Text()))
_GRANTABLE = Optional(List(Text(grant_pattern), max_items=256, unique=True))
_UPSTREAM = Choice(
    tuple(UPSTREAMS),
    hint="docs/upstreams.md has the value for each server; for other software, leave the key out",
)
_PREFLIGHT = Choice(
    ("answer", "forward", "off"),
    former={
        True: "write forward for what true did, or answer to let the sidecar answer",
        False: "write off",
    },
)


def _names(name: Kind) -> Optional:
    """Up to three names, or one without a list: an old secret, a new one, and one in reserve."""
    return Optional(List(name, min_items=1, max_items=3, or_one=True, unique=True))


@dataclass(frozen=True, kw_only=True)
class Tls:
    """``listen.tls``; with ``client_ca_file`` a client must send a certificate signed by it.

    With ``client_names`` it must have one of these names too.
    """

    cert_file: Annotated[Path, File()]
    key_file: Annotated[Path, File(shown=False)]
    client_ca_file: Annotated[Path | None, Optional(File())] = None
    client_names: Annotated[
        tuple[str, ...] | None, Optional(List(Text(client_name), min_items=1, unique=True))
    ] = None


@dataclass(frozen=True, kw_only=True)
class Listen:
    """``listen``: the addresses of the sidecar. ``socket_mode`` is a file mode."""

    authz: Annotated[str, Text(address)] = "127.0.0.1:9001"
    transport: Annotated[Literal["grpcio", "h2"], Choice(("grpcio", "h2"))] = "h2"
    health: Annotated[str | None, Optional(Text(address))] = None
    ops: Annotated[str, Text(tcp_address)] = "127.0.0.1:9002"
    admin: Annotated[str | None, Optional(Text(unix_address))] = None
    page: Annotated[str | None, Optional(Text(loopback_address))] = None
    socket_mode: Annotated[int, Text(file_mode)] = 0o660
    tls: Annotated[Tls | None, Optional(Section(Tls))] = None


@dataclass(frozen=True, kw_only=True)
class IssuerSection:
    """One of ``zervi.issuers``: exactly one source of keys or a secret is given."""

    issuer: Annotated[str, Text()]
    jwks_url: Annotated[str | None, Optional(Text(http_url))] = None
    discovery: Annotated[bool, Flag()] = False
    jwks_file: Annotated[Path | None, Optional(File())] = None
    jwks_token_file: Annotated[Path | None, Optional(File(shown=False))] = None
    secret_env: Annotated[tuple[str, ...] | None, _names(Text(environment_name, shown=False))] = (
        None
    )
    secret_file: Annotated[tuple[Path, ...] | None, _names(File(shown=False))] = None
    audiences: Annotated[tuple[str, ...] | None, Optional(_TEXTS)] = None
    algorithms: Annotated[tuple[str, ...], List(Text(algorithm), min_items=1, unique=True)] = (
        _ALGORITHMS
    )
    ca_file: Annotated[Path | None, Optional(File())] = None
    allow_missing_issuer: Annotated[bool, Flag()] = False
    claims: Annotated[IssuerClaims, Section(IssuerClaims)] = field(default_factory=IssuerClaims)
    role_permissions: Annotated[Mapping[str, tuple[str, ...]] | None, Optional(_GRANTS)] = None
    grantable: Annotated[tuple[str, ...] | None, _GRANTABLE] = None
    grantable_roles: Annotated[tuple[str, ...] | None, _GRANTABLE] = None
    subject_pattern: Annotated[str | None, Optional(Text(subject_expression))] = None
    token_types: Annotated[
        tuple[str, ...], List(Choice(("access", "id")), min_items=1, unique=True)
    ] = ("access",)
    audience_claims: Annotated[tuple[OneName, ...], AUDIENCE_CLAIMS] = ("aud",)
    service_when: Annotated[tuple[ServiceWhen, ...], List(Section(ServiceWhen), max_items=32)] = ()
    introspection: Annotated[
        IntrospectionSection | None, Optional(Section(IntrospectionSection))
    ] = None
    unsafe_allow_weak_secret: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class Jwks:
    """``zervi.jwks``: how key sets are fetched. Seconds."""

    refresh: Annotated[float, Duration("1s", "24h")] = 300.0
    timeout: Annotated[float, Duration("100ms", "1m")] = 3.0
    max_stale: Annotated[float, Duration("1s", "720h")] = 86400.0
    cooldown: Annotated[float, Duration("1s", "1h")] = 30.0
    unknown_key_wait: Annotated[float, Duration("0s", "10s")] = 0.25
    snapshot_file: Annotated[Path | None, Optional(File())] = None
    proxy_from_environment: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class TokenCache:
    """``zervi.token_cache``: how many verified tokens are kept, up to how many bytes of them.

    ``max_ttl`` is in seconds.
    """

    max_entries: Annotated[int, Integer(1, 1_000_000)] = 10_000
    max_bytes: Annotated[int, Size("1MiB", "4GiB")] = 32 * 1024 * 1024
    max_ttl: Annotated[float, Duration("1s", "24h")] = 300.0


@dataclass(frozen=True, kw_only=True)
class Zervi:
    """``zervi``: who signs tokens, and how they are read. ``leeway`` in seconds."""

    issuers: Annotated[tuple[IssuerSection, ...], List(Section(IssuerSection), min_items=1)]
    leeway: Annotated[float, Duration("0s", "5m")] = 30.0
    claims: Annotated[ClaimsSection, Section(ClaimsSection)] = field(default_factory=ClaimsSection)
    role_permissions: Annotated[Mapping[str, tuple[str, ...]], _GRANTS] = field(
        default_factory=dict
    )
    token_sources: Annotated[
        tuple[TokenPlace, ...], List(Section(TokenPlace), min_items=1, unique=True)
    ] = (TokenPlace(header="authorization", scheme="Bearer"),)
    token_max_bytes: Annotated[int, Size("1KiB", "32KiB")] = MAX_TOKEN_BYTES
    service_token_sources: Annotated[
        tuple[ServiceTokenPlace, ...], List(Section(ServiceTokenPlace), unique=True)
    ] = ()
    jwks: Annotated[Jwks, Section(Jwks)] = Jwks()
    permissions: Annotated[PermissionsSection | None, Optional(Section(PermissionsSection))] = None
    token_cache: Annotated[TokenCache, Section(TokenCache)] = TokenCache()
    revocation: Annotated[RevocationSection | None, Optional(Section(RevocationSection))] = None


@dataclass(frozen=True, kw_only=True)
class ShadowSection:
    """``policy.shadow``: a candidate policy that is evaluated but answers no request."""

    file: Annotated[Path, File()]
    percent: Annotated[int, Integer(1, 100)] = 100
    promotable: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class EncodedSection:
    """``policy.encoded``: the encoded characters that the upstream keeps inside a segment."""

    slash: Annotated[Literal["segment"] | None, Optional(_SEGMENT)] = None
    hash: Annotated[Literal["segment"] | None, Optional(_SEGMENT)] = None


@dataclass(frozen=True, kw_only=True)
class PolicySection:
    """``policy``: the route table, and how requests are matched with it."""

    file: Annotated[Path, File()]
    cors_preflight: Annotated[PreflightMode, _PREFLIGHT] = "answer"
    cors: Annotated[CorsSection | None, Optional(Section(CorsSection))] = None
    ignore_case: Annotated[bool, Flag()] = False
    upstream: Annotated[str, _UPSTREAM] = GENERIC
    allow_paths: Annotated[
        tuple[str, ...], List(Choice(tuple(sorted(ALLOWABLE))), unique=True)
    ] = ()
    encoded: Annotated[EncodedSection, Section(EncodedSection)] = EncodedSection()
    identity_headers: Annotated[IdentityHeaderNames, Section(IdentityHeaderNames)] = field(
        default_factory=IdentityHeaderNames
    )
    remove_headers: Annotated[tuple[str, ...], List(Text(changeable_header), unique=True)] = REMOVED
    forward_authorization: Annotated[bool, Flag()] = True
    challenge: Annotated[ChallengeSection, Section(ChallengeSection)] = field(
        default_factory=ChallengeSection
    )
    shadow: Annotated[ShadowSection | None, Optional(Section(ShadowSection))] = None


@dataclass(frozen=True, kw_only=True)
class Probe:
    """``upstream.probe``: how the upstream's health is checked. Seconds."""

    url: Annotated[str, Text(probe_url)]
    interval: Annotated[float, Duration("1s", "1h")] = 10.0
    timeout: Annotated[float, Duration("10ms", "1m")] = 3.0


@dataclass(frozen=True, kw_only=True)
class UpstreamSection:
    """``upstream``: what the sidecar knows of the Basic Server beside it."""

    probe: Annotated[Probe | None, Optional(Section(Probe))] = None


@dataclass(frozen=True, kw_only=True)
class ServiceSection:
    """``looma.service``: the upstream as the registry lists it, once ``${NAME}`` is filled in."""

    name: Annotated[str, Text()]
    type: Annotated[str, Text()] = "basic-server"
    id: Annotated[str, Text(id_template)] = "{name}-{host}-{port}"
    address: Annotated[str, Text(service_address)]
    port: Annotated[int, Integer(1, 65535)]
    node: Annotated[str, Text()] = ""
    cluster: Annotated[str, Text()] = ""
    version: Annotated[str, Text()] = ""
    environment: Annotated[str, Text()] = ""
    labels: Annotated[Mapping[str, str], LABELS] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class RegistryToken:
    """``looma.token``: ``file``, ``env``, or a login at Zervi by one of the ``secret_*``."""

    file: Annotated[Path | None, Optional(File(shown=False))] = None
    env: Annotated[str | None, Optional(Text(environment_name, shown=False))] = None
    login_url: Annotated[str | None, Optional(Text(http_url))] = None
    service_id: Annotated[str | None, Optional(Text())] = None
    secret_env: Annotated[str | None, Optional(Text(environment_name, shown=False))] = None
    secret_file: Annotated[Path | None, Optional(File(shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class RegistryPaths:
    """``looma.paths``: the paths of the registry's operations, for ``kind: http``."""

    register: Annotated[str, Text(registry_path)] = "/cluster/register"
    heartbeat: Annotated[str, Text(node_path)] = "/cluster/heartbeat/{service_id}"
    deregister: Annotated[str, Text(node_path)] = "/cluster/deregister/{service_id}"
    metrics: Annotated[str, Text(node_path)] = "/cluster/metrics/{service_id}"


@dataclass(frozen=True, kw_only=True)
class Looma:
    """``looma``: the registry that the upstream is reported to. ``heartbeat`` in seconds."""

    MOVED: ClassVar = {"probe": "upstream.probe"}

    kind: Annotated[Literal["http", "etcd", "consul"], Choice(("http", "etcd", "consul"))] = "http"
    url: Annotated[str, Text(base_url)]
    ca_file: Annotated[Path | None, Optional(File())] = None
    cert_file: Annotated[Path | None, Optional(File())] = None
    key_file: Annotated[Path | None, Optional(File(shown=False))] = None
    service: Annotated[ServiceSection, Section(ServiceSection)]
    heartbeat: Annotated[float, Duration("1s", "100s")] = 30.0
    token: Annotated[RegistryToken | None, Optional(Section(RegistryToken))] = None
    paths: Annotated[RegistryPaths, Section(RegistryPaths)] = RegistryPaths()
    metrics: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class TracingSection:
    """``tracing``: where spans of sampled requests are sent."""

    otlp: Annotated[str, Text(base_url)]


@dataclass(frozen=True, kw_only=True)
class Log:
    """``log``: the log of operation (standard error) and of decisions (standard output)."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"], Choice(("debug", "info", "warning", "error"))
    ] = "info"
    decisions: Annotated[Literal["all", "denied", "none"], Choice(("all", "denied", "none"))] = (
        "denied"
    )
    replayable: Annotated[bool, Flag()] = False


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The whole of ``sidecar.yaml``. ``drain`` in seconds."""

    listen: Annotated[Listen, Section(Listen)] = Listen()
    zervi: Annotated[Zervi, Section(Zervi)]
    policy: Annotated[PolicySection, Section(PolicySection)]
    upstream: Annotated[UpstreamSection, Section(UpstreamSection)] = UpstreamSection()
    looma: Annotated[Looma | None, Optional(Section(Looma))] = None
    gateway: Annotated[GatewaySection | None, Optional(Section(GatewaySection))] = None
    drain: Annotated[float, Duration("0s", "1h")] = 15.0
    log: Annotated[Log, Section(Log)] = Log()
    tracing: Annotated[TracingSection | None, Optional(Section(TracingSection))] = None
