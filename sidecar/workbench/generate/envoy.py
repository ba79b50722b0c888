"""Envoy's bootstrap for a sidecar, from ``sidecar.yaml``.

The template is ``bootstrap.yaml`` beside this module; a test holds ``envoy/`` equal to its output.
"""

import json
from importlib.resources import files
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from sidecar.config import Config
from sidecar.config.addresses import split_address
from sidecar.workbench.generate import blocks
from sidecar.workbench.generate.names import expression, quoted_lines
from sidecar.workbench.generate.template import fill
from sidecar.workbench.touched import touched

INGRESS: Final = 10000
ADMIN: Final = "/tmp/envoy-admin.sock"  # noqa: S108 -- a directory that exists on every machine
STATS: Final = "127.0.0.1:9901"

_UPSTREAM: Final = ("127.0.0.1", 8601)  # without a probe that says where the Basic Server listens

# RE2's default is 100 instructions; a name takes some twenty.
_MIN_PROGRAM: Final = 1000
_INSTRUCTIONS_PER_NAME: Final = 25


class Choices(NamedTuple):
    """What ``sidecar.yaml`` does not say.

    ``command`` is how the output is made, for its head. ``ingress`` is the port that clients use,
    ``admin`` is the path of a unix socket,
    ``stats`` a ``host:port``. ``tls`` is a directory with ``tls.crt`` and ``tls.key``; None for a
    listener without TLS.
    """

    command: str
    ingress: int = INGRESS
    admin: str = ADMIN
    stats: str = STATS
    tls: str | None = None


def bootstrap(config: Config, choices: Choices) -> str:
    """Return the bootstrap: YAML with comments."""
    settings, policy = config.settings, config.settings.policy
    headers = touched(config)
    changeable = {*headers.names, *headers.later}
    host, port = _upstream(config)
    stats_host, stats_port = split_address(choices.stats)
    authz = settings.listen.authz
    template = files(__package__).joinpath("bootstrap.yaml").read_text(encoding="utf-8")
    return fill(
        template,
        {
            "head": blocks.head(choices.command, choices.ingress, f"{host}:{port}", authz),
            "admin": json.dumps(choices.admin),
            "admin_path": choices.admin,
            "ingress_port": str(choices.ingress),
            "tls": blocks.downstream_tls(choices.tls) if choices.tls else (),
            "cors_filter": blocks.cors_filter(policy.cors),
            "cors_policy": blocks.cors_policy(policy.cors),
            "mutations": quoted_lines(expression(changeable)),
            "slashes": blocks.escaped_slashes(kept=policy.encoded.slash is not None),
            "preflight": blocks.preflight(policy.cors_preflight),
            "removed": blocks.removed(headers.removed),
            "stats": blocks.socket_address(stats_host, stats_port),
            "authz": blocks.authz(authz),
            "authz_tls": blocks.authz_tls(settings.listen.tls),
            "upstream": blocks.socket_address(host, port),
            "upstream_grpc": blocks.socket_address(host, port + 1),
            "program_size": str(max(_MIN_PROGRAM, _INSTRUCTIONS_PER_NAME * len(changeable))),
        },
    )


def _upstream(config: Config) -> tuple[str, int]:
    """Return where the Basic Server listens, as its probe has it."""
    probe = config.settings.upstream.probe
    if probe is None:
        return _UPSTREAM
    url = urlsplit(probe.url)
    return str(url.hostname), url.port or (443 if url.scheme == "https" else 80)
