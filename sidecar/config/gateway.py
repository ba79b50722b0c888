"""The schema of ``gateway``: Envoy's files, and which instances may serve."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from sidecar.config.addresses import base_url, service_path, service_url
from sidecar.documents.findings import BadValueError, quoted
from sidecar.documents.kinds import Duration, File, Flag, List, Mapped, Optional, Text
from sidecar.documents.schema import Section
from sidecar.documents.values import absolute_path

_MAPPED = IPv6Network("::ffff:0:0/96")  # such an address is judged as the IPv4 one in it


def network(text: str) -> str:
    """Return a network such as ``10.0.0.0/8`` or ``fd00::/8`` unchanged. Raises BadValueError."""
    hint = "such as 10.0.0.0/8 or fd00::/8"
    try:
        found = ip_network(text)
    except ValueError as wrong:
        raise BadValueError(f"must be a network, not {quoted(text)}: {wrong}", hint) from None
    if isinstance(found, IPv6Network) and (found.subnet_of(_MAPPED) or "%" in text):
        raise BadValueError(f"must be a network without IPv4 or a zone in it: {quoted(text)}", hint)
    if found.is_link_local or found.is_multicast:
        message = f"has no address of an instance: {quoted(text)}"
        raise BadValueError(message, "link-local and multicast addresses are always refused")
    return text


def san(text: str) -> str:
    """Return a name for certificates that contains ``{service}``. Raises BadValueError."""
    if text.count("{service}") != 1:
        raise BadValueError(
            f"must contain {{service}} once, not {quoted(text)}",
            "such as {service}.mesh.example or spiffe://example/{service}",
        )
    return text


_NETWORKS = List(Text(network), min_items=1, unique=True)


@dataclass(frozen=True, kw_only=True)
class GatewayTls:
    """``gateway.tls``: mutual TLS to the registry's instances; files as Envoy sees them."""

    san: Annotated[str, Text(san)]
    ca_file: Annotated[str, Text(absolute_path)] = "/etc/envoy/targets/ca.crt"
    cert_file: Annotated[str, Text(absolute_path)] = "/etc/envoy/targets/tls.crt"
    key_file: Annotated[str, Text(absolute_path, shown=False)] = "/etc/envoy/targets/tls.key"


@dataclass(frozen=True, kw_only=True)
class GatewayAllocations:
    """``gateway.allocations``: the Looma that assigns users, beside another registry."""

    url: Annotated[str, Text(base_url)]
    token_file: Annotated[Path | None, Optional(File(shown=False))] = None
    ca_file: Annotated[Path | None, Optional(File())] = None


@dataclass(frozen=True, kw_only=True)
class GatewaySection:
    """``gateway``: turns the sidecar into a gateway. ``empty_grace`` in seconds."""

    envoy_dir: Annotated[str, Text(absolute_path)]
    allow_networks: Annotated[tuple[str, ...], _NETWORKS]
    target_networks: Annotated[Mapping[str, tuple[str, ...]], Mapped(_NETWORKS)] = field(
        default_factory=dict
    )
    services: Annotated[
        Mapping[str, tuple[str, ...]], Mapped(List(Text(service_url), min_items=1, unique=True))
    ] = field(default_factory=dict)
    probes: Annotated[Mapping[str, str], Mapped(Text(service_path))] = field(default_factory=dict)
    tls: Annotated[GatewayTls | None, Optional(Section(GatewayTls))] = None
    unsafe_plaintext_targets: Annotated[bool, Flag()] = False
    empty_grace: Annotated[float, Duration("0s", "1h")] = 60.0
    zone: Annotated[str, Text()] = ""
    allocations: Annotated[GatewayAllocations | None, Optional(Section(GatewayAllocations))] = None
    snapshot_file: Annotated[Path | None, Optional(File())] = None
