"""Takes out of an Envoy configuration what a gateway has beyond ``envoy.yaml``.

It must be exactly what the sidecar writes and generates: then no path decides where a request goes,
and nothing of it needs an examination. What differs stays an error.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from sidecar.documents.findings import Place, Problem, quoted
from sidecar.gateway.files import CLUSTERS, ROUTES, config_source, endpoints_file
from sidecar.gateway.resources import (
    NOWHERE,
    ROUTE_TABLE,
    Resource,
    fixed_cluster,
    registry_cluster,
    routes,
)
from sidecar.workbench.doctor.context import GatewayFiles, error
from sidecar.workbench.doctor.document import Part, type_name
from sidecar.workbench.doctor.filters import EXT_AUTHZ, kinds_of
from sidecar.workbench.doctor.sources import Source, managers

CODE: Final = "gateway"

_CAPITAL = re.compile("([A-Z])")
_NOWHERE = {"name": NOWHERE, "connect_timeout": "1s", "load_assignment": {"cluster_name": NOWHERE}}
# A config_dump leaves out the default of each enum.
_DEFAULTS: Final[Mapping[str, str]] = {"type": "STATIC", "health_status": "UNKNOWN"}


def without_gateway(source: Source, wanted: GatewayFiles) -> Source:
    """Return what is left to examine, with the differences as problems.

    Fields that are as the sidecar writes them are deleted from the document.
    """
    settings = wanted.files
    problems = list(source.problems)
    if source.bootstrap is not None:
        clusters = {"cds_config": config_source(f"{settings.directory}/{CLUSTERS}")}
        problems += _field(source.bootstrap, "dynamic_resources", clusters)
    table = {
        "route_config_name": ROUTE_TABLE,
        "config_source": config_source(f"{settings.directory}/{ROUTES}"),
    }
    for listener in source.listeners:
        for manager in managers(listener):
            if EXT_AUTHZ in kinds_of(manager) and manager.has("rds"):
                found = list(_field(manager, "rds", table))
                problems += found or _cleared(manager)
    tables = dict(source.tables)
    if ROUTE_TABLE in tables:
        written = routes(
            sorted(wanted.targets), settings.removed, settings.cors, revocable=settings.revocable
        )
        problems += _compared(tables.pop(ROUTE_TABLE), written)
    left = []
    for cluster in source.clusters:
        name = str(cluster.get("name"))
        if name == NOWHERE:
            problems += _compared(cluster, _NOWHERE)
        elif name in wanted.targets:
            problems += _compared(cluster, _cluster(name, cluster, wanted))
        else:
            left.append(cluster)
    endpoints = tuple(each for each in source.endpoints if not _admitted(each, wanted))
    return replace(
        source,
        clusters=tuple(left),
        tables=tables,
        problems=tuple(problems),
        endpoints=endpoints,
    )


def _field(part: Part, name: str, written: Resource) -> Iterator[Problem]:
    """Delete a field; yield that it is not what the sidecar generates."""
    key = part.key(name)
    if key not in part.value:
        return
    if _difference((), part.value[key], written) is not None:
        message = f"{quoted(name)} is not exactly what the gateway needs"
        yield error((*part.place, key), CODE, message, f"{name}: {json.dumps(written)}")
    del part.value[key]


def _cleared(manager: Part) -> Iterator[Problem]:
    """Accept ``clear_route_cache`` for routes that match only the sidecar's answer."""
    for each in manager.each("http_filters"):
        config = each.below("typed_config")
        if type_name(config) != EXT_AUTHZ:
            continue
        if config.get("clear_route_cache") is True:
            del config.value[config.key("clear_route_cache")]
        else:
            message = "`clear_route_cache` is not `true`: no request gets the route of its target"
            place = (*config.place, config.key("clear_route_cache"))
            yield error(place, CODE, message, "clear_route_cache: true")


def _cluster(target: str, found: Part, wanted: GatewayFiles) -> Resource:
    """Return what the sidecar writes, with the health of the instances as it is found."""
    settings = wanted.files
    urls = settings.services.get(target)
    if urls is not None:
        groups = found.below("load_assignment").each("endpoints")
        states = [
            each.get("health_status") for group in groups for each in group.each("lb_endpoints")
        ]
        down = {url for url, state in zip(urls, states, strict=False) if state == "UNHEALTHY"}
        return fixed_cluster(target, urls, down)
    several = found.has("outlier_detection")
    source = config_source(f"{settings.directory}/{endpoints_file(target)}")
    return registry_cluster(target, source, several, settings.tls)


def _compared(part: Part, written: Resource) -> Iterator[Problem]:
    found = {key: value for key, value in part.value.items() if key != "@type"}
    place = _difference(part.place, found, written)
    if place is not None:
        name = quoted(str(part.get("name")))
        message = f"{name} is not as the sidecar writes it for this configuration"
        hint = "only the sidecar writes the files in gateway.envoy_dir; see envoy-gateway.yaml"
        yield error(place, CODE, message, hint)


def _admitted(entry: Part, wanted: GatewayFiles) -> bool:
    """Say whether endpoints in a config_dump are a target's, in the networks allowed for any."""
    config = entry.below("endpoint_config")
    if str(config.get("cluster_name")) not in wanted.targets:
        return False
    allowed = [ip_network(each) for each in wanted.networks]
    for group in config.each("endpoints"):
        for each in group.each("lb_endpoints"):
            address = each.get("endpoint", "address", "socket_address", "address")
            if not _within(address, allowed):
                return False
    return True


def _within(address: object, allowed: list[IPv4Network | IPv6Network]) -> bool:
    try:
        return any(ip_address(str(address)) in each for each in allowed)
    except ValueError:
        return False


def _difference(place: Place, found: object, written: object) -> Place | None:
    """Return the place of the first difference; a default is the same as nothing."""
    if isinstance(found, dict) and isinstance(written, dict):
        return _between_mappings(place, found, written)
    if isinstance(found, list) and isinstance(written, list):
        for index, (one, other) in enumerate(zip(found, written, strict=False)):
            inner = _difference((*place, index), one, other)
            if inner is not None:
                return inner
        if len(found) > len(written):
            return (*place, len(written))
        return place if len(found) < len(written) else None
    if type(written) is int and found == str(written):
        return None  # JSON has 64-bit numbers as text
    return None if type(found) is type(written) and found == written else place


def _between_mappings(
    place: Place, found: Mapping[str, object], written: Mapping[str, object]
) -> Place | None:
    spelled = {_snake(key): key for key in found}
    if len(spelled) < len(found):
        return place
    expected = {_snake(key): value for key, value in written.items()}
    for name in {**spelled, **expected}:
        key = spelled.get(name, name)
        one, other = found.get(key), expected.get(name)
        if not (_is_default(name, one) and _is_default(name, other)):
            inner = _difference((*place, key), one, other)
            if inner is not None:
                return inner if key in found else place  # the document has no such place
    return None


def _is_default(name: str, value: object) -> bool:
    if isinstance(value, dict):
        return False
    return not value or value == _DEFAULTS.get(name)


def _snake(key: str) -> str:
    return _CAPITAL.sub(r"_\1", key).lower()
