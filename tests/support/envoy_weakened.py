"""The weakened bootstraps of tests/envoys/weakened.yaml, made from envoy/envoy.yaml."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from demo.envoy import Bootstrap, connection_manager, ext_authz_filter
from demo.stack import BOOTSTRAPS
from sidecar.documents import own_yaml

VARIANTS: list[dict[str, Any]] = own_yaml.read(
    Path(__file__).parents[1] / "envoys" / "weakened.yaml"
)
_ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    },
}  # fmt: skip
_TCP = {
    "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "stat_prefix": "tcp",
    "cluster": "basic-server",
}


def fresh() -> Bootstrap:
    """Return envoy.yaml, no two of its parts the same object."""
    loaded: Bootstrap = json.loads(as_json(BOOTSTRAPS / "envoy.yaml"))
    return loaded


@cache
def as_json(file: Path) -> str:
    """Return a YAML file as JSON, which is read many times faster; the file does not change."""
    return json.dumps(own_yaml.read(file))


def weakened(variant: dict[str, Any]) -> Bootstrap:
    """Return envoy.yaml with one weakness."""
    variant = json.loads(json.dumps(variant))
    loaded = fresh()
    part = _parts(loaded)[variant["at"]]
    for key in variant.get("remove", ()):
        del part[key]
    if "append" in variant:
        part.append(variant["append"])
    else:
        part |= variant.get("set", {})
    filters = connection_manager(loaded)["http_filters"]
    by_name = {each["name"].rpartition(".")[2]: each for each in filters}
    if "drop" in variant:
        filters.remove(by_name[variant["drop"]])
    if "order" in variant:
        filters[:] = [by_name[name] for name in variant["order"]]
    if "filter" in variant:
        beside = by_name[variant.get("before") or variant["after"]]
        filters.insert(filters.index(beside) + ("after" in variant), variant["filter"])
    if "wrap" in variant:
        part["typed_config"] = _matched(part["typed_config"])
    if "value" in variant:
        _parts(loaded)["matcher"]["value"]["or_match"]["value_matchers"].append(variant["value"])
    if "layer" in variant:
        loaded["layered_runtime"]["layers"].append(variant["layer"])
    if "chain" in variant:
        _add_chain(part, variant["chain"])
    if "listener" in variant:
        _add_listener(part, variant["listener"])
    return loaded


def _matched(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        "extension_config": {"name": "x", "typed_config": config},
        "xds_matcher": {
            "on_no_match": {
                "action": {
                    "name": "skip",
                    "typed_config": {
                        "@type": "type.googleapis.com/"
                        "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
                    },
                }
            }
        },
    }


def _add_chain(listener: dict[str, Any], how: dict[str, Any]) -> None:
    chain = json.loads(json.dumps(listener["filter_chains"][0]))
    chain["filters"][0]["typed_config"]["http_filters"] = [_ROUTER]
    if "match" in how:
        listener["filter_chains"].append(chain | {"filter_chain_match": how["match"]})
    else:
        listener["default_filter_chain"] = chain


def _add_listener(loaded: dict[str, Any], kind: str) -> None:
    listeners = loaded["static_resources"]["listeners"]
    more = json.loads(json.dumps(listeners[0]))
    more["name"] = kind
    more["address"]["socket_address"]["port_value"] = 10009
    (network,) = more["filter_chains"][0]["filters"]
    if kind == "tcp":
        network["typed_config"] = _TCP
    else:
        network["typed_config"]["http_filters"] = [_ROUTER]
    listeners.append(more)


def _parts(loaded: Bootstrap) -> dict[str, Any]:
    resources = loaded["static_resources"]
    listener, stats = resources["listeners"]
    manager, authz = connection_manager(loaded), ext_authz_filter(loaded)
    filters = {each["name"].rpartition(".")[2]: each for each in manager["http_filters"]}
    table = manager["route_config"]
    (host,) = table["virtual_hosts"]
    route = host["routes"][1]
    clusters = {cluster["name"]: cluster for cluster in resources["clusters"]}
    (protocol,) = clusters["basic-server"]["typed_extension_protocol_options"].values()
    logger = manager["access_log"][0]["typed_config"]
    rbac = filters["rbac"]["typed_config"]
    policies = rbac["rules"]["policies"]
    (policy,) = policies.values()
    sourced = policy["principals"][0]["sourced_metadata"]
    admin = stats["filter_chains"][0]["filters"][0]["typed_config"]["route_config"]
    return {
        "bootstrap": loaded,
        "admin": loaded["admin"],
        "listener": listener,
        "chain": listener["filter_chains"][0],
        "manager": manager,
        "authz_filter": filters["ext_authz"],
        "authz": authz,
        "grpc": authz["grpc_service"],
        "rules": authz["decoder_header_mutation_rules"],
        "rbac_filter": filters["rbac"],
        "rbac": rbac,
        "policies": policies,
        "sourced": sourced,
        "matcher": sourced["metadata_matcher"],
        "values": sourced["metadata_matcher"]["value"],
        "router": filters["router"]["typed_config"],
        "table": table,
        "host": host,
        "cors": next(iter(host["typed_per_filter_config"].values())),
        "route": route,
        "action": route["route"],
        "stats_route": admin["virtual_hosts"][0]["routes"][0],
        "cluster": clusters["basic-server"],
        "protocol": protocol,
        "explicit": protocol["explicit_http_config"],
        "clusters": resources["clusters"],
        "admin_endpoints": clusters["admin"]["load_assignment"]["endpoints"][0]["lb_endpoints"],
        "endpoint": _endpoint(clusters["basic-server"]),
        "authz_endpoint": _endpoint(clusters["authz"]),
        "access_log": manager["access_log"][0],
        "logger": logger,
        "log": logger["log_format"]["json_format"],
        "mapper": manager["local_reply_config"]["mappers"][0],
    }


def _endpoint(cluster: dict[str, Any]) -> dict[str, Any]:
    endpoint: dict[str, Any] = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0][
        "endpoint"
    ]
    return endpoint
