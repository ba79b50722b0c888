"""Envoy's bootstrap for a sidecar or a gateway, from ``sidecar.yaml``.

The templates are beside this module; a test holds ``envoy/`` equal to its output.
"""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from sidecar.config import Config
from sidecar.config.gateway import GatewaySection
from sidecar.gateway.files import CLUSTERS, ROUTES
from sidecar.gateway.resources import grpc_timeout_max
from sidecar.net.addresses import parse_tcp
from sidecar.workbench.generate import blocks, remember, traces
from sidecar.workbench.generate.names import expression, quoted_lines
from sidecar.workbench.generate.template import Values, fill, template
from sidecar.workbench.touched import touched

INGRESS: Final = 10000
ADMIN: Final = "/tmp/envoy-admin.sock"  # noqa: S108 -- a directory that exists on every machine
STATS: Final = "127.0.0.1:9901"
UPSTREAM: Final = "127.0.0.1:8601"  # without a probe that says where the Basic Server listens

# RE2's default is 100 instructions; a name takes some twenty.
_MIN_PROGRAM: Final = 1000
_INSTRUCTIONS_PER_NAME: Final = 25

EXT_AUTHZ: Final = "envoy.filters.http.ext_authz"
RBAC: Final = "envoy.filters.http.rbac"


class Choices(NamedTuple):
    """What ``sidecar.yaml`` does not say.

    ``mode`` is ``sidecar``, beside one Basic Server, or ``gateway``, before all of them.
    ``command`` is how the output is made, for its head. ``ingress`` is the port that clients use,
    ``upstream`` the ``host:port`` of the Basic Server; None for that of its probe. ``admin`` is the
    path of a unix socket, ``stats`` a ``host:port``. ``tls`` is a directory with ``tls.crt`` and
    ``tls.key``; None for a listener without TLS. ``remember`` is for how many milliseconds Envoy
    remembers an allow; 0: it does not.
    """

    command: str
    mode: str = "sidecar"
    ingress: int = INGRESS
    upstream: str | None = None
    admin: str = ADMIN
    stats: str = STATS
    tls: str | None = None
    remember: int = 0


def bootstrap(config: Config, choices: Choices) -> str:
    """Return the bootstrap: YAML with comments. The mode `gateway` needs that section."""
    settings, policy = config.settings, config.settings.policy
    headers = touched(config)
    changeable = {*headers.names, *headers.later}
    host, port = _upstream(config, choices.upstream)
    authz = settings.listen.authz
    gateway = settings.gateway if choices.mode == "gateway" else None
    shown = "the targets of the policy" if gateway else f"{host}:{port} Basic Server"
    revocable = settings.zervi.revocation is not None
    more = remember.program_size(remember.heeded(config)) if choices.remember else 0
    values: Values = {
        "head": blocks.head(choices.command, choices.ingress, shown, authz),
        "admin": json.dumps(choices.admin),
        "admin_path": choices.admin,
        "ingress_port": str(choices.ingress),
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
        "stats": blocks.socket_address(*parse_tcp(choices.stats)),
        "authz": blocks.authz(authz),
        "authz_tls": blocks.authz_tls(settings.listen.tls),
        "upstream": blocks.socket_address(host, port),
        "tracing": traces.tracing(settings.tracing),
        "trace_id": traces.trace_id(settings.tracing),
        "collector": traces.collector(settings.tracing),
        "upstream_grpc": blocks.socket_address(host, port + 1),
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


def _upstream(config: Config, given: str | None) -> tuple[str, int]:
    """Return where the Basic Server listens: as given, or else as its probe has it."""
    if given is not None:
        return parse_tcp(given)
    probe = config.settings.upstream.probe
    if probe is None:
        return parse_tcp(UPSTREAM)
    url = urlsplit(probe.url)
    return str(url.hostname), url.port or (443 if url.scheme == "https" else 80)
