"""`doctor` of a gateway: what the sidecar writes for Envoy is accepted, and nothing else."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.config import load
from sidecar.core.placement.directory import Directory, Instance
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents import own_yaml
from sidecar.gateway.files import contents
from sidecar.workbench.doctor import Wanted, examine
from sidecar.workbench.gateway_files import gateway_files
from sidecar.workbench.touched import touched

ENVOY = Path(__file__).parents[2] / "envoy"
CONFIG = load(ENVOY / "sidecar-gateway.yaml", {}, offline=True)
BOOTSTRAP: dict[str, Any] = own_yaml.read(ENVOY / "envoy-gateway.yaml")
FILES = gateway_files(CONFIG)
HEADERS = touched(CONFIG)
WANTED = Wanted("unix:/run/zervi/authz.sock", HEADERS.names, HEADERS.removed, gateway=FILES)
DIRECTORY = Directory(
    tuple(Instance(f"b{n}", f"basic-server-{n}", f"10.0.0.{n}:8601") for n in (1, 2))
)

Change = Callable[[Any], object]


def codes(document: object, wanted: Wanted = WANTED) -> list[str]:
    return [each.code for each in examine(copy.deepcopy(document), wanted) if each.code != "mesh"]


def manager(bootstrap: Any) -> Any:
    (chain,) = bootstrap["static_resources"]["listeners"][0]["filter_chains"]
    return chain["filters"][0]["typed_config"]


def ext_authz(bootstrap: Any) -> Any:
    return manager(bootstrap)["http_filters"][1]["typed_config"]


def nowhere(bootstrap: Any) -> Any:
    return next(c for c in bootstrap["static_resources"]["clusters"] if c["name"] == "nowhere")


def dump() -> dict[str, Any]:
    """Return the config_dump of an Envoy that has read the sidecar's files."""
    assert FILES is not None
    written = contents(FILES.targets, DIRECTORY, FILES.files)
    read = {name: json.loads(content)["resources"] for name, content in written.items()}
    static = BOOTSTRAP["static_resources"]
    named: dict[str, list[Any]] = {"clusters.json": [], "routes.json": []}
    endpoints = [r for name, found in read.items() if name not in named for r in found]
    return copy.deepcopy(
        {
            "configs": [
                {"bootstrap": BOOTSTRAP},
                {
                    "static_clusters": [{"cluster": each} for each in static["clusters"]],
                    "dynamic_active_clusters": [
                        {"cluster": each} for each in read["clusters.json"]
                    ],
                },
                {"static_listeners": [{"listener": each} for each in static["listeners"]]},
                {"dynamic_route_configs": [{"route_config": each} for each in read["routes.json"]]},
                {"dynamic_endpoint_configs": [{"endpoint_config": each} for each in endpoints]},
            ]
        }
    )


def test_our_own_bootstrap_and_a_dump_with_the_sidecars_files_have_no_finding() -> None:
    assert codes(BOOTSTRAP) == []
    assert codes(dump()) == []


def test_each_part_of_a_gateway_is_an_error_without_the_section() -> None:
    plain = WANTED._replace(gateway=None)
    assert sorted(codes(BOOTSTRAP, plain)) == [
        "clear-route-cache",
        "dynamic",
        "not-loopback",
        "weakens",
    ]
    assert len(codes(dump(), plain)) > 4


def by_path(bootstrap: Any) -> None:
    route = {"match": {"prefix": "/"}, "route": {"cluster": "authz"}}
    host = {"name": "all", "domains": ["*"], "routes": [route]}
    del manager(bootstrap)["rds"]
    manager(bootstrap)["route_config"] = {"name": "gateway", "virtual_hosts": [host]}


def endpoint(address: str) -> dict[str, Any]:
    socket = {"socket_address": {"address": address, "port_value": 80}}
    return {"lb_endpoints": [{"endpoint": {"address": socket}}]}


OTHER_FILE = {"resource_api_version": "V3", "path_config_source": {"path": "/tmp/routes.json"}}
ADS: dict[str, Any] = {"resource_api_version": "V3", "ads": {}}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(by_path, id="routes by path"),
        pytest.param(lambda b: manager(b)["rds"].update(config_source=OTHER_FILE), id="file"),
        pytest.param(lambda b: manager(b)["rds"].update(config_source=ADS), id="ads"),
        pytest.param(lambda b: manager(b)["rds"].update(route_config_name="other"), id="table"),
        pytest.param(lambda b: ext_authz(b).update(clear_route_cache=False), id="cache kept"),
        pytest.param(lambda b: ext_authz(b).update(clear_route_cache="yes"), id="cache odd"),
        pytest.param(
            lambda b: nowhere(b)["load_assignment"].update(endpoints=[endpoint("10.0.0.9")]),
            id="nowhere has an endpoint",
        ),
        pytest.param(lambda b: nowhere(b).update(type="ORIGINAL_DST"), id="nowhere goes anywhere"),
        pytest.param(
            lambda b: b["dynamic_resources"].update(lds_config=OTHER_FILE), id="listeners"
        ),
        pytest.param(lambda b: b["dynamic_resources"].update(cds_config=ADS), id="clusters"),
        pytest.param(
            lambda b: b["dynamic_resources"].update(ads_config={"api_type": "GRPC"}), id="ads too"
        ),
        pytest.param(
            lambda b: b["static_resources"]["clusters"].append(
                {"name": "basic-server-*", "type": "STATIC", "connect_timeout": "1s",
                 "load_assignment": {"cluster_name": "x", "endpoints": [endpoint("127.0.0.1")]}}
            ),
            id="a target of one's own",
        ),
    ],
)  # fmt: skip
def test_each_weakened_bootstrap_has_an_error(change: Change) -> None:
    weakened = copy.deepcopy(BOOTSTRAP)
    change(weakened)
    assert "error" in {each.severity for each in examine(weakened, WANTED)}


def routes_of(found: Any) -> Any:
    return found["configs"][3]["dynamic_route_configs"][0]["route_config"]


def cluster_of(found: Any) -> Any:
    clusters = [e["cluster"] for e in found["configs"][1]["dynamic_active_clusters"]]
    return next(each for each in clusters if each["type"] == "EDS")


def override(found: Any) -> Any:
    (policy,) = cluster_of(found)["load_balancing_policy"]["policies"]
    return policy["typed_extension_config"]["typed_config"]


def first_route(found: Any) -> Any:
    return routes_of(found)["virtual_hosts"][0]["routes"]


EXTRA = {"match": {"prefix": "/admin"}, "route": {"cluster": "zervi-auth-service"}}
RULES = {"envoy.filters.http.ext_authz": {"@type": "x.ExtAuthzPerRoute", "disabled": True}}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda d: first_route(d).insert(0, EXTRA), id="a route before the targets"),
        pytest.param(lambda d: first_route(d).append(EXTRA), id="a route after them"),
        pytest.param(lambda d: first_route(d).pop(), id="no last route"),
        pytest.param(
            lambda d: first_route(d)[-1]["route"].update(cluster="zervi-auth-service"),
            id="without a target somewhere",
        ),
        pytest.param(lambda d: first_route(d)[0]["match"].pop("dynamic_metadata"), id="any target"),
        pytest.param(lambda d: first_route(d)[0].update(typedPerFilterConfig=RULES), id="no Check"),
        pytest.param(
            lambda d: override(d).update(override_host_sources=[{"header": "x-server"}]),
            id="the client chooses the instance",
        ),
        pytest.param(lambda d: cluster_of(d).pop("transport_socket"), id="plaintext"),
        pytest.param(
            lambda d: cluster_of(d)["transport_socket"]["typed_config"]["common_tls_context"][
                "validation_context"
            ].pop("match_typed_subject_alt_names"),
            id="any certificate",
        ),
        pytest.param(
            lambda d: d["configs"][4]["dynamic_endpoint_configs"][0]["endpoint_config"][
                "endpoints"
            ].append(endpoint("169.254.169.254")),
            id="an endpoint outside of the networks",
        ),
        pytest.param(
            lambda d: d["configs"][4]["dynamic_endpoint_configs"][0]["endpoint_config"].update(
                cluster_name="other"
            ),
            id="endpoints of another cluster",
        ),
        pytest.param(
            lambda d: d["configs"][2].update(
                dynamic_listeners=[{"active_state": {"listener": {"name": "more"}}}]
            ),
            id="a listener more",
        ),
    ],
)
def test_each_weakened_dump_has_an_error(change: Change) -> None:
    weakened = dump()
    change(weakened)
    assert "error" in {each.severity for each in examine(weakened, WANTED)}


def test_both_spellings_and_omitted_defaults_are_the_same_configuration() -> None:
    """A config_dump leaves defaults out, and JSON may have fields in camel case."""
    written = dump()
    for entry in written["configs"][1]["static_clusters"]:
        if entry["cluster"]["name"] == "nowhere":
            del entry["cluster"]["type"]
    text = json.dumps(written).replace('"route_config_name"', '"routeConfigName"')
    text = text.replace('"override_host_sources"', '"overrideHostSources"')
    text = text.replace('"healthy_panic_threshold": {"value": 0}', '"healthyPanicThreshold": {}')
    assert codes(json.loads(text)) == []


def test_a_finding_names_the_first_difference() -> None:
    weakened = dump()
    first_route(weakened).insert(0, EXTRA)
    (found,) = [each for each in examine(weakened, WANTED) if each.code == "gateway"]
    assert found.place[:6] == (
        "configs", 3, "dynamic_route_configs", 0, "route_config", "virtual_hosts",
    )  # fmt: skip
    assert found.place[6:9] == (0, "routes", 0)


def test_other_identity_headers_are_compared_too() -> None:
    fewer = WANTED._replace(headers=(*IdentityHeaders().never_from_clients(), "x-more"))
    assert "mutation-rules" in codes(BOOTSTRAP, fewer)
