"""The parts of Envoy's bootstrap that depend on the configuration, as lines of YAML."""

import json
import math
from collections.abc import Sequence

import yaml

from sidecar.config.answers import CorsSection
from sidecar.config.model import Tls
from sidecar.gateway import resources
from sidecar.gateway.resources import STREAM_DURATION
from sidecar.net.addresses import parse_tcp

_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"
_CORS = "type.googleapis.com/envoy.extensions.filters.http.cors.v3"


def head(command: str, ingress: int, upstream: str, authz: str) -> list[str]:
    """Return the comment at the top; ``upstream`` says where allowed requests go."""
    return [
        "# Envoy asks the Zervi sidecar about every request.",
        "#",
        f"#   client -> :{ingress} Envoy -> {upstream}",
        f"#                      \\-> {authz} sidecar: may this request pass?",
        "#",
        f"# Made for Envoy 1.40 by: {command}",
        "# Lines marked SAFETY enforce the security boundary: change one only if you know why.",
    ]


def socket_address(host: str, port: int) -> str:
    """Return a TCP address; an IPv6 host has no brackets."""
    text = json.dumps(host) if ":" in host else host
    return f"socket_address: {{address: {text}, port_value: {port}}}"


def authz(address: str) -> list[str]:
    """Return the sidecar's address, from ``listen.authz``."""
    if address.startswith("unix:"):
        path = json.dumps(address.removeprefix("unix:"))
        return [
            "address: # SAFETY: only the sidecar may write to the directory",
            f"  pipe: {{path: {path}}}",
        ]
    return ["address:", f"  {socket_address(*parse_tcp(address))}"]


def downstream_tls(directory: str) -> list[str]:
    """Return TLS for clients; Envoy takes over a replaced certificate."""
    return [
        "transport_socket:",
        "  name: envoy.transport_sockets.tls",
        "  typed_config:",
        f'    "@type": {_TLS}.DownstreamTlsContext',
        "    common_tls_context:",
        "      alpn_protocols: [h2, http/1.1]",
        "      tls_params: {tls_minimum_protocol_version: TLSv1_2}",
        "      tls_certificates:",
        *_certificate("        ", directory),
    ]


def authz_tls(tls: Tls | None) -> list[str]:
    """Return TLS to the sidecar, for ``listen.tls``; the files are Envoy's own."""
    if tls is None:
        return []
    directory = "/etc/envoy/authz"
    certificate = []
    if tls.client_ca_file is not None:
        certificate = ["      tls_certificates:", *_certificate("        ", directory)]
    return [
        "transport_socket: # listen.tls",
        "  name: envoy.transport_sockets.tls",
        "  typed_config:",
        f'    "@type": {_TLS}.UpstreamTlsContext',
        "    common_tls_context:",
        "      tls_params: {tls_minimum_protocol_version: TLSv1_2}",
        *certificate,
        "      validation_context: # SAFETY: only the sidecar has a certificate of this CA",
        f"        trusted_ca: {{filename: {directory}/ca.crt}}",
    ]


def stream_duration(*, revocable: bool) -> list[str]:
    """Return how long a stream may last: Envoy asks the sidecar only when it begins."""
    if revocable:
        return [
            f"max_stream_duration: {STREAM_DURATION} # a revoked token does not end an open stream"
        ]
    return [
        f"# with zervi.revocation, generate envoy adds max_stream_duration: {STREAM_DURATION}:",
        "# a revoked token does not end a stream that is open, such as a WebSocket.",
    ]


def clear_route_cache(gateway: bool) -> list[str]:
    """Return whether Envoy routes again after the sidecar's answer."""
    if gateway:
        return [
            "# SAFETY: the route follows the target in the sidecar's answer. No route matches a",
            "# path, so a changed header cannot lead elsewhere.",
            "clear_route_cache: true",
        ]
    return ["clear_route_cache: false # SAFETY: Envoy routes the request that was checked"]


def cors_filter(cors: CorsSection | None) -> list[str]:
    """Return the filter that answers preflights of the origins in ``policy.cors``."""
    if cors is None:
        return []
    return [
        "# Answers preflights of the origins in policy.cors without a Check, and adds CORS headers",
        "# to all answers, also denials, so that scripts in a browser can read them. It comes",
        "# before ext_authz, because a preflight carries no token. Preflights of other origins",
        "# reach the sidecar.",
        "- name: envoy.filters.http.cors",
        "  typed_config:",
        f'    "@type": {_CORS}.Cors',
        "",
    ]


def cors_policy(cors: CorsSection | None) -> list[str]:
    """Return the settings of the CORS filter."""
    policy = resources.cors_policy(cors)
    if policy is None:
        return []
    lines = yaml.safe_dump(policy, sort_keys=False, width=math.inf).splitlines()
    return [
        "typed_per_filter_config:",
        "  envoy.filters.http.cors: # SAFETY: never an origin pattern that matches any origin",
        *(f"    {line}" for line in lines),
    ]


def preflight(mode: str) -> list[str]:
    """Return the reason that the second lock accepts beside ``ok`` and ``public``."""
    if mode != "forward":
        return []
    return ["- string_match: {exact: preflight} # policy.cors_preflight: forward"]


def removed(names: Sequence[str]) -> list[str]:
    """Return the headers that Envoy itself removes."""
    if not names:
        return []
    return ["request_headers_to_remove:", *(f"  - {_plain(name)}" for name in names)]


def _plain(name: str) -> str:
    """Return a text as YAML: some words, such as `yes`, need quotes."""
    return name if yaml.safe_load(name) == name else json.dumps(name)


def _certificate(indent: str, directory: str) -> list[str]:
    return [
        f"{indent}- certificate_chain: {{filename: {json.dumps(directory + '/tls.crt')}}}",
        f"{indent}  private_key: {{filename: {json.dumps(directory + '/tls.key')}}}",
        f"{indent}  watched_directory: {{path: {json.dumps(directory)}}}",
    ]


def escaped_slashes(*, kept: bool) -> tuple[str, ...]:
    """Return what happens to a path with an encoded slash."""
    key = "path_with_escaped_slashes_action"
    if kept:
        return (
            f"{key}: KEEP_UNCHANGED # policy.encoded.slash: the upstream keeps %2F in a segment",
        )
    return (f"{key}: REJECT_REQUEST # SAFETY: servers read %2f and %5c differently: 400",)
