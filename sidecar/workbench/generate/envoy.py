"""Envoy's bootstrap for a sidecar or a gateway, from ``sidecar.yaml``.

The templates are beside this module; a test holds ``envoy/`` equal to its output.
"""

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from sidecar.config import Config
from sidecar.config.gateway import GatewaySection
from sidecar.documents.findings import BadValueError
from sidecar.gateway.files import CLUSTERS, ROUTES
from sidecar.gateway.resources import grpc_timeout_max
from sidecar.net.addresses import TcpAddress
from sidecar.workbench.generate import blocks, remember, traces
from sidecar.workbench.generate.addresses import check_distinct, next_port, numeric, of_sidecar
from sidecar.workbench.generate.names import expression, quoted_lines
from sidecar.workbench.generate.template import Values, fill, template
from sidecar.workbench.touched import touched

PORT: Final = 10000  # without a registry that says at which port clients reach Envoy
LISTEN: Final = f"0.0.0.0:{PORT}"
ADMIN: Final = "/tmp/envoy-admin.sock"  # noqa: S108 -- a directory that exists on every machine
STATS: Final = "127.0.0.1:9901"
UPSTREAM: Final = "127.0.0.1:8601"  # without a probe that says where the Basic Server listens

# RE2's default is 100 instructions; a name takes some twenty.
_MIN_PROGRAM: Final = 1000
_INSTRUCTIONS_PER_NAME: Final = 25

EXT_AUTHZ: Final = "envoy.filters.http.ext_authz"
RBAC: Final = "envoy.filters.http.rbac"

T = TypeVar("T")


class Choices(NamedTuple):
    """What ``sidecar.yaml`` does not say.

    ``mode`` is ``sidecar``, beside one Basic Server, or ``gateway``, before all of them.
    ``command`` is how the output is made, for its head. ``listen`` is the ``host:port`` that
    clients use, ``upstream`` that of the Basic Server (None: of its probe), ``upstream_grpc`` that
    of its gRPC (None: the next port), ``stats`` that of Envoy's own pages. ``admin`` is the path of
    a unix socket. ``tls`` is a directory with ``tls.crt`` and ``tls.key``; None for a listener
    without TLS. ``remember`` is for how many milliseconds Envoy remembers an allow; 0: it does not.
    """

    command: str
    mode: str = "sidecar"
    listen: str = LISTEN
    upstream: str | None = None
    upstream_grpc: str | None = None
    admin: str = ADMIN
    stats: str = STATS
    tls: str | None = None
    remember: int = 0


def bootstrap(config: Config, choices: Choices) -> str:
    """Return the bootstrap: YAML with comments. The mode `gateway` needs that section.

    Raises BadValueError for an address that Envoy cannot use, or that two servers have.
    """
    settings, policy = config.settings, config.settings.policy
    headers = touched(config)
    changeable = {*headers.names, *headers.later}
    places = _places(config, choices)
    authz = settings.listen.authz
    gateway = settings.gateway if choices.mode == "gateway" else None
    shown = "the targets of the policy" if gateway else f"{places.upstream} Basic Server"
    revocable = settings.zervi.revocation is not None
    more = remember.program_size(remember.heeded(config)) if choices.remember else 0
    values: Values = {
        "head": blocks.head(choices.command, places.listen.port, shown, authz),
        "admin": json.dumps(choices.admin),
        "admin_path": choices.admin,
        "ingress": blocks.socket_address(*places.listen),
        "tls": blocks.downstream_tls(choices.tls) if choices.tls else (),
        "cors_filter": blocks.cors_filter(policy.cors),
        "cors_policy": blocks.cors_policy(policy.cors),
        "clear_route_cache": blocks.clear_route_cache(gateway is not None),
        "mutations": quoted_lines(expression(changeable)),
        "slashes": blocks.escaped_slashes(kept=policy.encoded.slash is not None),
        "grpc_timeout_max": grpc_timeout_max(revocable=revocable),
        "stream_duration": blocks.stream_duration(revocable=revocable),
        "preflight": blocks.preflight(policy.cors_preflight),
        "removed": blocks.removed(headers.removed),
        "stats": blocks.socket_address(*places.stats),
        "authz": blocks.authz(places.authz),
        "authz_tls": blocks.authz_tls(settings.listen.tls),
        "upstream": blocks.socket_address(*places.upstream),
        "tracing": traces.tracing(settings.tracing),
        "trace_id": traces.trace_id(settings.tracing),
        "collector": traces.collector(settings.tracing),
        "upstream_grpc": blocks.socket_address(*places.upstream_grpc),
        "routes_file": _source(gateway, ROUTES),
        "clusters_file": _source(gateway, CLUSTERS),
        "program_size": str(max(_MIN_PROGRAM, _INSTRUCTIONS_PER_NAME * len(changeable) + more)),
    }
    parts = {
        "route_table": _part(f"routes-{choices.mode}.yaml", values),
        "upstreams": _part(f"clusters-{choices.mode}.yaml", values),
        "dynamic_resources": _part("dynamic-gateway.yaml", values) if gateway else (),
    }
    asking = _asking(config, choices.remember, values)
    return fill(template("bootstrap.yaml"), {**values, **parts, **asking})


def _asking(config: Config, longest: int, values: Values) -> Values:
    """Return the parts that ask the sidecar; ``longest`` is for how long Envoy remembers."""
    question = remember.question_lines() if longest else ()
    ext_authz = _part("ext-authz.yaml", {**values, "question": question})
    lock = _part("second-lock.yaml", values)
    if not longest:
        asking = {"ask": _filter(EXT_AUTHZ, ext_authz), "lock": _filter(RBAC, lock)}
        return asking | dict.fromkeys(("remember_early", "remember_filter", "remember_log"), ())
    headers = remember.heeded(config)
    return {
        "ask": remember.ask_lines(ext_authz),
        "lock": remember.lock_lines(lock),
        "remember_early": remember.early_lines(remember.never_from_clients(headers)),
        "remember_filter": remember.filter_lines(
            remember.memory_of(config.settings.listen.authz), remember.script(longest, headers)
        ),
        "remember_log": remember.log_lines(),
    }


def _filter(name: str, settings: Sequence[str]) -> list[str]:
    return [f"- name: {name}", "  typed_config:", *(f"    {line}" for line in settings)]


def _part(name: str, values: Values) -> list[str]:
    return fill(template(name), values).splitlines()


def _source(gateway: GatewaySection | None, name: str) -> str:
    """Return the PathConfigSource of one of the files that the sidecar writes."""
    path = f"{gateway.envoy_dir}/{name}" if gateway else ""
    return f"{{path: {json.dumps(path)}}}"


class _Places(NamedTuple):
    """Where each server is; ``authz`` as ``listen.authz`` is written, with an IP address."""

    listen: TcpAddress
    stats: TcpAddress
    authz: str
    upstream: TcpAddress
    upstream_grpc: TcpAddress


def _places(config: Config, choices: Choices) -> _Places:
    """Return the addresses. Raises BadValueError."""
    authz, beside_one = config.settings.listen.authz, choices.mode == "sidecar"
    name, written = _upstream(config, choices.upstream) if beside_one else ("", UPSTREAM)
    upstream = _named(name, numeric, written)
    if choices.upstream_grpc is None:
        upstream_grpc = _named(name, next_port, upstream)
    else:
        upstream_grpc = _named("--upstream-grpc", numeric, choices.upstream_grpc)
    places = _Places(
        _named("--listen", numeric, choices.listen),
        _named("--stats", numeric, choices.stats),
        authz if authz.startswith("unix:") else str(_named("listen.authz", numeric, authz)),
        upstream,
        upstream_grpc,
    )
    ours = of_sidecar(config.settings.listen)
    ours |= {"--listen": places.listen, "--stats": places.stats}
    check_distinct(ours)
    if beside_one:  # whose own two addresses may be the same
        check_distinct({"--upstream": places.upstream, **ours})
        check_distinct({"--upstream-grpc": places.upstream_grpc, **ours})
    return places


def _named(name: str, check: Callable[[T], TcpAddress], value: T) -> TcpAddress:
    """Return what ``check`` does; its error begins with the name."""
    try:
        return check(value)
    except BadValueError as wrong:
        raise BadValueError(f"{name} {wrong}", wrong.help) from None


def _upstream(config: Config, given: str | None) -> tuple[str, str]:
    """Return what the user calls the Basic Server's address, and the address."""
    probe = config.settings.upstream.probe
    if given is not None or probe is None:
        return "--upstream", UPSTREAM if given is None else given
    url = urlsplit(probe.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    return "upstream.probe.url", str(TcpAddress(str(url.hostname), port))
