"""What a mesh's own program makes of ``deploy/``, and how a real Envoy runs it."""

import copy
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from demo.envoy import Bootstrap
from tests.deploy.charts import Manifest
from tests.deploy.programs import ROOT

GENERATED = ROOT / "tests" / "envoys"
ENVOY_GATEWAY = GENERATED / "envoy-gateway-1.9.1.json"
ISTIO = GENERATED / "istio-1.31.json"
"""What Istio's discovery server made of ``deploy/istio`` for the pod: its inbound listener with its
clusters (istio.io/istio eed52ebb66ad of 2026-08-27, `pilot/test/xds`)."""

_OWN = "type.googleapis.com/udpa.type.v1.TypedStruct"  # of Istio's own filters, which Envoy lacks

SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: basic-server, namespace: envoy-gateway-system}
spec:
  clusterIP: 10.96.1.2
  ports: [{name: http, port: 80, targetPort: 8601, protocol: TCP}]
"""  # the service behind the HTTPRoute, which `egctl` asks for


def envoy_gateway(egctl: str) -> Manifest:
    """Return the config_dump that Envoy Gateway's translator makes of ``deploy/envoy-gateway``."""
    files = sorted((ROOT / "deploy" / "envoy-gateway").glob("*.yaml"))
    resources = "\n---\n".join([*(path.read_text() for path in files), SERVICE])
    command = [egctl, "experimental", "translate", "--from", "gateway-api", "--to", "xds"]
    done = subprocess.run(
        [*command, "--output", "json", "--file", "-"],
        input=resources,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    found: Manifest = json.loads(done.stdout)
    return found


def recorded() -> Manifest:
    """Return the record, with the header names of today's patches.

    They follow ``policy.remove_headers``, and so change more often than anything of the mesh.
    """
    document: Manifest = json.loads(ENVOY_GATEWAY.read_text("utf-8"))
    text = (ROOT / "deploy" / "envoy-gateway" / "patches.yaml").read_text()
    values = [each["operation"]["value"] for each in yaml.safe_load(text)["spec"]["jsonPatches"]]
    rules = next(each for each in values if isinstance(each, dict) and "allow_expression" in each)
    names = next(each for each in values if isinstance(each, list))
    for section in sections(document):
        for mapping in _with(section, "allowExpression"):
            mapping["allowExpression"]["regex"] = rules["allow_expression"]["regex"]
        for each in section.get("dynamicRouteConfigs", ()):
            each["routeConfig"]["requestHeadersToRemove"] = names
    return document


def sections(document: Manifest) -> Iterator[Manifest]:
    """Yield the sections of a config_dump, which egctl nests under names."""
    while "configs" not in document:
        (document,) = document.values()
    yield from document["configs"]


def standing(document: Manifest, loaded: Bootstrap, authz: dict[str, Any], upstream: int) -> None:
    """Put what a control plane serves (listeners, routes, clusters, endpoints) into a bootstrap.

    The listener that asks the sidecar takes the place and address of the first one. The addresses
    of sidecar and service change; of Istio's listener, mutual TLS and Istio's own filters, which
    need a mesh, are left out. Nothing else of what the mesh generated changes.
    """
    found = copy.deepcopy(list(sections(document)))
    tables = {
        each["routeConfig"]["name"]: each["routeConfig"]
        for section in found
        for each in section.get("dynamicRouteConfigs", ())
    }
    endpoints = {
        each["endpointConfig"]["clusterName"]: each["endpointConfig"]
        for section in found
        for each in section.get("dynamicEndpointConfigs", ())
    }
    clusters = [
        each["cluster"] for section in found for each in section.get("dynamicActiveClusters", ())
    ]
    (listener,) = [
        each["activeState"]["listener"]
        for section in found
        for each in section.get("dynamicListeners", ())
        if "ext_authz" in json.dumps(each)
    ]
    if "filterChains" in listener:
        _without_istio(listener)
    for manager in _with(listener, "rds"):
        manager["routeConfig"] = _plain(tables[manager.pop("rds")["routeConfigName"]])
    for cluster in clusters:
        _without_own(cluster.get("filters", []))
        source = cluster.pop("edsClusterConfig", None)
        if source is not None:
            cluster["type"] = "STATIC"
            cluster["loadAssignment"] = _plain(endpoints[source["serviceName"]])
        for endpoint in _with(cluster, "address"):
            is_sidecar = "zervi" in cluster["name"]
            address = {"socketAddress": {"address": "127.0.0.1", "portValue": upstream}}
            endpoint["address"] = authz if is_sidecar else address
    static = loaded["static_resources"]
    listener["address"] = static["listeners"][0]["address"]
    static["listeners"][0] = _plain(listener)
    static["clusters"] += [_plain(each) for each in clusters]


def _without_istio(listener: Manifest) -> None:
    """Leave the chain for the service's port, for requests in the clear."""
    chains = listener["filterChains"]
    (chain,) = [each for each in chains if each["filterChainMatch"].get("destinationPort") == 8601]
    for key in ("filterChainMatch", "transportSocket"):
        chain.pop(key, None)
    _without_own(chain["filters"])
    for each in chain["filters"]:
        _without_own(each["typedConfig"]["httpFilters"])
    kept = {"@type", "name", "address", "trafficDirection"}
    for key in listener.keys() - kept:
        del listener[key]
    listener["filterChains"] = [chain]


def _without_own(filters: list[Manifest]) -> None:
    filters[:] = [each for each in filters if each["typedConfig"]["@type"] != _OWN]


def _plain(message: Manifest) -> Manifest:
    """Return a message without the type that it has inside of an Any."""
    return {key: value for key, value in message.items() if key != "@type"}


def _with(value: Any, key: str) -> Iterator[Manifest]:
    """Yield each mapping in which a key leads to a mapping."""
    if isinstance(value, dict):
        if isinstance(value.get(key), dict):
            yield value
        for each in value.values():
            yield from _with(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _with(each, key)


def write(path: Path, document: Manifest) -> None:
    """Write what a mesh generated, so that a change of it can be read."""
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
