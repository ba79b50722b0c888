"""The schema of ``sidecar.yaml``: every key with its type and default. docs/configuration.md says what each means.

Durations are seconds here, files are paths relative to the configuration's directory, header names are lower-case.
What concerns more than one key at a time is in ``rules``.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from sidecar.config.addresses import Address, HttpUrl, ProbeUrl, TcpAddress
from sidecar.config.headers import HeaderName, IdentityHeader, QueryName, RemovedHeader, TokenWord
from sidecar.config.types import (
    Algorithm,
    EnvironmentName,
    FilePath,
    Listed,
    NonEmpty,
    OctalText,
    Text,
    UpToThree,
    between,
)

AllowedPath = Literal[
    "semicolon",
    "encoded_slash",
    "double_slash",
    "encoded_hash",
    "encoded_question",
    "encoded_percent",
    "encoded_dot",
]


class Section(BaseModel):
    """A mapping in the file: known keys alone, no conversion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Tls(Section):
    """``listen.tls``; with ``client_ca_file`` a client must show a certificate that it signed."""

    cert_file: FilePath
    key_file: FilePath
    client_ca_file: FilePath | None = None


class Listen(Section):
    """``listen``: where the sidecar is reached. ``socket_mode`` is a file mode."""

    authz: Address = "127.0.0.1:9001"
    transport: Literal["grpcio", "h2"] = "grpcio"
    health: Address | None = None
    ops: TcpAddress = "127.0.0.1:9002"
    socket_mode: OctalText = 0o660
    tls: Tls | None = None


class Claims(Section):
    """``zervi.claims`` and an issuer's own: which claims hold what, in order of preference."""

    subject: NonEmpty[Text] = ("user_id", "sub")
    username: NonEmpty[Text] = ("username",)
    email: NonEmpty[Text] = ("email",)
    roles: NonEmpty[Text] = ("role", "roles")
    permissions: NonEmpty[Text] = ("permissions",)


class Issuer(Section):
    """One of ``zervi.issuers``: exactly one of the two ``jwks_*`` and the two ``secret_*`` is given."""

    issuer: Text
    jwks_url: HttpUrl | None = None
    jwks_file: FilePath | None = None
    secret_env: UpToThree[EnvironmentName] | None = None
    secret_file: UpToThree[FilePath] | None = None
    audiences: NonEmpty[Text] | None = None
    algorithms: NonEmpty[Algorithm] = ("RS256", "ES256", "EdDSA")
    ca_file: FilePath | None = None
    allow_missing_issuer: bool = False
    claims: Claims | None = None
    role_permissions: dict[Text, Listed[Text]] | None = None
    unsafe_allow_weak_secret: bool = False


class TokenPlace(Section):
    """One of ``zervi.token_sources``: exactly one of ``header``, ``cookie`` and ``query`` is given."""

    header: HeaderName | None = None
    scheme: TokenWord | None = None
    cookie: TokenWord | None = None
    query: QueryName | None = None


class Jwks(Section):
    """``zervi.jwks``: how key sets are fetched. Seconds."""

    refresh: Annotated[float, between("1s", "24h")] = 300.0
    timeout: Annotated[float, between("100ms", "1m")] = 3.0
    max_stale: Annotated[float, between("1s", "720h")] = 86400.0
    cooldown: Annotated[float, between("1s", "1h")] = 30.0
    unknown_key_wait: Annotated[float, between("0s", "10s")] = 0.25
    snapshot_file: FilePath | None = None


class TokenCache(Section):
    """``zervi.token_cache``: how many verified tokens are remembered, and for how many seconds at most."""

    max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_ttl: Annotated[float, between("1s", "24h")] = 300.0


class Zervi(Section):
    """``zervi``: who signs tokens, and how they are read. ``leeway`` in seconds."""

    issuers: NonEmpty[Issuer]
    leeway: Annotated[float, between("0s", "5m")] = 30.0
    claims: Claims = Claims()
    role_permissions: dict[Text, Listed[Text]] = {}
    token_sources: NonEmpty[TokenPlace] = (TokenPlace(header="authorization", scheme="Bearer"),)
    jwks: Jwks = Jwks()
    token_cache: TokenCache = TokenCache()


class IdentityHeaderNames(Section):
    """``policy.identity_headers``: the header that carries each part of the principal to the upstream."""

    subject: IdentityHeader = "x-user-id"
    username: IdentityHeader = "x-username"
    email: IdentityHeader = "x-user-email"
    roles: IdentityHeader = "x-user-role"
    permissions: IdentityHeader = "x-user-permissions"
    issuer: IdentityHeader = "x-user-issuer"
    service: IdentityHeader = "x-service-id"


class PolicySection(Section):
    """``policy``: the route table, and how requests are held against it."""

    file: FilePath
    cors_preflight: bool = True
    ignore_case: bool = False
    allow_paths: Listed[AllowedPath] = ()
    identity_headers: IdentityHeaderNames = IdentityHeaderNames()
    remove_headers: Listed[RemovedHeader] = (
        "x-service-token",
        "x-http-method-override",
        "x-http-method",
        "x-method-override",
        "x-original-url",
        "x-rewrite-url",
    )
    forward_authorization: bool = True


class Service(Section):
    """``looma.service``: the upstream as the registry lists it, after ``${NAME}`` was replaced."""

    name: Text
    type: Text = "basic-server"
    id: Text = "{name}-{host}-{port}"
    address: Text
    port: Annotated[int, Field(ge=1, le=65535)]
    node: Text = ""
    cluster: Text = ""
    version: Text = ""
    environment: Text = ""


class Probe(Section):
    """``looma.probe``: how the upstream's health is found out. Seconds."""

    url: ProbeUrl
    interval: Annotated[float, between("1s", "1h")] = 10.0
    timeout: Annotated[float, between("10ms", "1m")] = Field(
        default_factory=lambda before: min(3.0, before.get("interval", 3.0))
    )


class RegistryToken(Section):
    """``looma.token``: ``file``, ``env``, or the three keys of a login at Zervi."""

    file: FilePath | None = None
    env: EnvironmentName | None = None
    login_url: HttpUrl | None = None
    service_id: Text | None = None
    secret_env: EnvironmentName | None = None


class RegistryPaths(Section):
    """``looma.paths``: where the registry's operations are, for ``kind: http``."""

    registration: Text = Field(default="/cluster/register", alias="register")
    heartbeat: Text = "/cluster/heartbeat/{service_id}"
    deregister: Text = "/cluster/deregister/{service_id}"
    metrics: Text = "/cluster/metrics/{service_id}"


class Looma(Section):
    """``looma``: whom to tell of the upstream's health. ``heartbeat`` in seconds."""

    kind: Literal["http", "etcd", "consul"] = "http"
    url: HttpUrl
    service: Service
    probe: Probe
    heartbeat: Annotated[float, between("1s", "100s")] = 30.0
    token: RegistryToken | None = None
    paths: RegistryPaths = RegistryPaths()
    metrics: bool = False


class Log(Section):
    """``log``: what is written, to standard error (operation) and standard output (decisions)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    decisions: Literal["all", "denied", "none"] = "denied"


class Settings(Section):
    """The whole of ``sidecar.yaml``. ``drain`` in seconds."""

    listen: Listen = Listen()
    zervi: Zervi
    policy: PolicySection
    looma: Looma | None = None
    drain: Annotated[float, between("0s", "1h")] = 15.0
    log: Log = Log()
