"""`doctor` on weakened copies of envoy/envoy.yaml, and on its other shapes.

Every change of it is in tests/e2e/test_doctor_live.py.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.documents.findings import Severity
from sidecar.workbench.doctor import examine
from sidecar.workbench.doctor.profile import camel
from tests.support.envoy_mutants import wanted
from tests.support.envoy_weakened import VARIANTS, fresh, weakened


def _errors(document: Any) -> list[str]:
    return [p.message for p in examine(document, wanted()) if p.severity is Severity.ERROR]


def test_our_own_bootstrap_has_no_finding() -> None:
    assert list(examine(fresh(), wanted())) == []


def test_each_variant_has_a_name_of_its_own() -> None:
    assert len({variant["name"] for variant in VARIANTS}) == len(VARIANTS) >= 60


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant["name"])
def test_a_weakened_bootstrap_is_an_error(variant: dict[str, Any]) -> None:
    """Under either name of a field: Envoy takes `route_config` and `routeConfig` alike."""
    document = weakened(variant)
    assert _errors(document)
    if variant["name"] != "a field under both of its names":  # _camel writes both as one
        assert _errors(_camel(document))


def _camel(value: Any, key: str = "") -> Any:
    if isinstance(value, list):
        return [_camel(each) for each in value]
    if not isinstance(value, dict):
        return value
    names_of_the_operator = key in {"policies", "json_format", "static_layer"}
    return {
        name if names_of_the_operator or "." in name else camel(name): _camel(each, name)
        for name, each in value.items()
    }


def _dumps() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield config_dumps of our bootstrap: as a whole, and with routes and listeners by xDS."""
    resources = fresh()["static_resources"]
    bootstrap = {"bootstrap": fresh()}
    clusters = {"static_clusters": [{"cluster": each} for each in resources["clusters"]]}
    static = {"static_listeners": [{"listener": each} for each in resources["listeners"]]}
    yield "static", {"configs": [bootstrap, clusters, static]}
    yield "bootstrap only", {"configs": [bootstrap]}
    resources = fresh()["static_resources"]
    manager = resources["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    table = manager.pop("route_config")
    manager["rds"] = {"route_config_name": table["name"]}
    dynamic = {
        "dynamic_listeners": [
            {"active_state": {"listener": each}} for each in resources["listeners"]
        ]
    }
    tables = {"dynamic_route_configs": [{"route_config": table}]}
    without = {"bootstrap": {**fresh(), "static_resources": {}}}
    yield "dynamic", {"configs": [without, clusters, dynamic, tables]}


@pytest.mark.parametrize(("name", "dump"), list(_dumps()), ids=[name for name, _ in _dumps()])
def test_a_config_dump_is_examined_like_a_bootstrap(name: str, dump: dict[str, Any]) -> None:
    assert list(examine(dump, wanted())) == [], name
    text = json.dumps(dump).replace('"failure_mode_allow": false', '"failure_mode_allow": true')
    text = text.replace('"prefix": "/", "grpc"', '"connect_matcher": {}, "grpc"')
    found = {problem.code for problem in examine(json.loads(text), wanted())}
    assert {"failure-mode-allow", "upgrade"} <= found, name


@pytest.mark.parametrize(
    "section",
    [
        {"dynamic_listeners": [{"active_state": {"listener": {"name": "x"}}}]},
        {"dynamic_listeners": [{"warming_state": {"listener": {"name": "x"}}}]},
        {"ecds_filters": [{"ecds_filter": {}}]},
        {"dynamic_scoped_route_configs": [{"name": "x"}]},
        {"dynamic_endpoint_configs": [{"endpoint_config": {}}]},
    ],
)
def test_what_a_control_plane_adds_to_static_parts_is_an_error(section: dict[str, Any]) -> None:
    dump = {"configs": [{"bootstrap": fresh()}, section]}
    assert "dynamic" in {problem.code for problem in examine(dump, wanted())}
