"""One Envoy with one listener per contestant.

Based on ``envoy/envoy.yaml``. Envoy answers allowed requests itself with 200, without a Basic
Server, and writes no access log.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import yaml

from bench.processes import free_ports
from bench.sidecars import ALLOWED, PERMISSION
from demo.envoy import Bootstrap, bootstrap, connection_manager, ext_authz_filter
from demo.minting import AUDIENCE, JWKS_ISSUER
from sidecar.config.model import TracingSection
from sidecar.workbench.generate import traces
from sidecar.workbench.generate.remember import FILTER

FILE = Path(__file__).parents[1] / "envoy" / "envoy.yaml"
REMEMBERS = FILE.with_name("envoy-remember.yaml")
_API = "type.googleapis.com/envoy.extensions"

NO_AUTH = "no auth"
NATIVE = "jwt_authn + rbac"
NATIVE_CACHED = "jwt_authn + rbac, cached"


class Server(Protocol):
    """The authorization server that Envoy calls."""

    @property
    def address(self) -> str:
        """Its address, as host:port."""

    @property
    def pid(self) -> int:
        """Its process id."""


def remembering_name(name: str) -> str:
    """Return the name of the listener that remembers what a server allowed."""
    return f"{name}, Envoy remembers"


def comparison(
    servers: Mapping[str, Server],
    jwks: bytes,
    natives: bool = True,
    collector: str | None = None,
    *,
    remembering: bool = False,
) -> tuple[Bootstrap, dict[str, str]]:
    """Return a bootstrap for Envoy without and with each server, and the URLs by name.

    ``natives`` adds Envoy's own filters, with and without their token cache. With ``collector``,
    Envoy traces 1 % of the requests and sends its spans to this URL. ``remembering`` adds a
    listener for each server that remembers what it allowed.
    """
    remembered = {remembering_name(name): name for name in servers} if remembering else {}
    names = [NO_AUTH, *([NATIVE, NATIVE_CACHED] if natives else []), *servers, *remembered]
    stats, *ports = free_ports(1 + len(names))
    unused = 1
    whole = bootstrap(
        FILE,
        listener_port=unused,
        stats_port=stats,
        authz=f"127.0.0.1:{unused}",
        upstream=unused,
        upstream_grpc=unused,
    )
    resources = whole["static_resources"]
    listener, *others = resources["listeners"]
    clusters = {each["name"]: each for each in resources["clusters"]}
    manager = connection_manager(whole)
    manager.pop("access_log")
    for host in manager["route_config"]["virtual_hosts"]:
        host["routes"] = [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}]
    resources["listeners"], resources["clusters"] = [], [clusters["admin"]]
    if collector is not None:
        section = TracingSection(otlp=collector)
        manager.update(yaml.safe_load("\n".join(traces.tracing(section))))
        resources["clusters"] += yaml.safe_load("\n".join(traces.collector(section)))
    urls = {}
    for name, port in zip(names, ports, strict=True):
        own = copy.deepcopy(listener)
        own["name"] = name
        own["address"]["socket_address"] = {"address": "127.0.0.1", "port_value": port}
        settings = own["filter_chains"][0]["filters"][0]["typed_config"]
        filters = settings["http_filters"]
        authz = next(each for each in filters if "ext_authz" in each["name"])
        place = filters.index(authz)
        if name in remembered:
            address = servers[remembered[name]].address
            resources["clusters"].append(_remember(settings, place, name, address))
        elif name in servers:
            grpc = authz["typed_config"]["grpc_service"]
            grpc["envoy_grpc"]["cluster_name"] = name
            resources["clusters"].append(_cluster(clusters["authz"], name, servers[name].address))
        else:  # without ext_authz, remove the second lock too
            native = [] if name == NO_AUTH else _native(jwks, cached=name == NATIVE_CACHED)
            filters[place : place + 2] = native
        resources["listeners"].append(own)
        urls[name] = f"http://127.0.0.1:{port}{ALLOWED}"
    resources["listeners"] += others
    return whole, urls


def _remember(settings: dict[str, Any], place: int, name: str, address: str) -> dict[str, Any]:
    """Make a connection manager remember for a second; ``place`` is that of ext_authz.

    Returns the cluster that it asks.
    """
    whole = yaml.safe_load(REMEMBERS.read_text())
    ext_authz_filter(whole)["grpc_service"]["envoy_grpc"]["cluster_name"] = name
    manager = connection_manager(whole)
    filters = manager["http_filters"]
    first = next(index for index, each in enumerate(filters) if each["name"] == FILTER)
    settings["http_filters"][place : place + 2] = filters[first:-1]
    settings["early_header_mutation_extensions"] = manager["early_header_mutation_extensions"]
    clusters = {each["name"]: each for each in whole["static_resources"]["clusters"]}
    return _cluster(clusters["authz"], name, address)


def _cluster(template: Mapping[str, Any], name: str, address: str) -> dict[str, Any]:
    host, _, port = address.rpartition(":")
    cluster: dict[str, Any] = copy.deepcopy(dict(template))
    cluster["name"] = cluster["load_assignment"]["cluster_name"] = name
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    endpoint["address"] = {"socket_address": {"address": host, "port_value": int(port)}}
    return cluster


def _native(jwks: bytes, *, cached: bool) -> list[dict[str, Any]]:
    """Return the filters that check the same token and permission inside Envoy."""
    provider: dict[str, Any] = {
        "issuer": JWKS_ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": jwks.decode()},
        "payload_in_metadata": "payload",
        "forward": True,
    }
    if cached:
        provider["jwt_cache_config"] = {"jwt_cache_size": 10_000}
    permitted = {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{"key": "payload"}, {"key": "permissions"}],
        "value": {"list_match": {"one_of": {"string_match": {"exact": PERMISSION}}}},
    }
    rules = {
        "action": "ALLOW",
        "policies": {
            "services": {
                "permissions": [{"url_path": {"path": {"prefix": "/api/services/"}}}],
                "principals": [{"metadata": permitted}],
            }
        },
    }
    return [
        {
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": f"{_API}.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": {"zervi": provider},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "zervi"}}],
            },
        },
        {
            "name": "envoy.filters.http.rbac",
            "typed_config": {"@type": f"{_API}.filters.http.rbac.v3.RBAC", "rules": rules},
        },
    ]
