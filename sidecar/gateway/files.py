"""The files that Envoy watches: their names, their content, and writing them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, NamedTuple

from sidecar.core.placement.directory import Directory
from sidecar.core.placement.place import RESERVED
from sidecar.gateway.resources import (
    TYPE,
    Resource,
    TargetTls,
    endpoints,
    fixed_cluster,
    registry_cluster,
    routes,
)
from sidecar.net.addresses import TcpAddress

CLUSTERS: Final = "clusters.json"
ROUTES: Final = "routes.json"


class FileSettings(NamedTuple):
    """What the files contain beside the directory.

    ``directory`` is their own, absolute. ``removed`` are the request headers that Envoy removes.
    ``cors`` is a CorsPolicy, None without one. ``services`` has the URLs of each service that the
    configuration names. ``tls`` is None where the registry's instances are reached without it.
    ``revocable`` says that tokens can be revoked.
    """

    directory: str
    removed: tuple[str, ...] = ()
    cors: Resource | None = None
    services: Mapping[str, tuple[str, ...]] = {}
    tls: TargetTls | None = None
    revocable: bool = False


def endpoints_file(target: str) -> str:
    """Return the name of the file with a target's endpoints, whatever characters it has."""
    return f"endpoints-{sha256(target.encode()).hexdigest()[:16]}.json"


def contents(
    targets: Iterable[str], directory: Directory, settings: FileSettings
) -> dict[str, bytes]:
    """Return the content of each file by its name: endpoints, then clusters, then routes.

    In this order Envoy finds a cluster's endpoints when it reads the cluster, and a route's cluster
    when it reads the route. A target with a reserved name gets none, so its requests go nowhere.
    """
    names = sorted(set(targets) - RESERVED)
    found: dict[str, bytes] = {}
    clusters: list[Resource] = []
    for target in names:
        instances = sorted(directory.of_target(target), key=lambda each: each.id)
        urls = settings.services.get(target)
        if urls is not None:
            down = frozenset(each.id for each in instances if not each.usable)
            clusters.append(fixed_cluster(target, urls, down))
            continue
        name = endpoints_file(target)
        found[name] = _response(
            "config.endpoint.v3.ClusterLoadAssignment", [endpoints(target, instances)]
        )
        several = len({each.address for each in instances}) > 1
        source = config_source(f"{settings.directory}/{name}")
        clusters.append(registry_cluster(target, source, several, settings.tls))
    found[CLUSTERS] = _response("config.cluster.v3.Cluster", clusters)
    table = routes(names, settings.removed, settings.cors, revocable=settings.revocable)
    found[ROUTES] = _response("config.route.v3.RouteConfiguration", [table])
    return found


def addresses(directory: Path) -> frozenset[str]:
    """Return the addresses in a directory's endpoint files: those that its Envoy knows."""
    found = set()
    for path in directory.glob("endpoints-*.json"):
        try:
            (assignment,) = json.loads(path.read_bytes())["resources"]
            for each in assignment["endpoints"][0]["lb_endpoints"]:
                socket = each["endpoint"]["address"]["socket_address"]
                found.add(str(TcpAddress(str(socket["address"]), socket["port_value"])))
        except (OSError, ValueError, LookupError, TypeError):
            continue  # it is replaced as soon as the registry has answered
    return frozenset(found)


def config_source(path: str) -> Resource:
    """Return the ConfigSource of a file that is replaced by a rename."""
    return {"resource_api_version": "V3", "path_config_source": {"path": path}}


def _response(kind: str, resources: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a DiscoveryResponse whose version is its content's."""
    typed = [{"@type": f"{TYPE}{kind}", **each} for each in resources]
    text = json.dumps(typed, ensure_ascii=False)
    version = sha256(text.encode()).hexdigest()[:16]
    return f'{{"version_info": "{version}", "resources": {text}}}\n'.encode()
