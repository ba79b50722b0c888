"""The bootstraps in envoy/: the real Envoy takes them, and what they hold for safety is there."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.config.removed import REMOVED, REMOVED_WITH_HOSTS
from sidecar.core.principal import IdentityHeaders
from sidecar.demo.envoy import (
    Bootstrap,
    connection_manager,
    ext_authz_filter,
    program,
)
from sidecar.demo.stack import BOOTSTRAPS

FILES = sorted(BOOTSTRAPS.glob("envoy*.yaml"))


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def loaded(file: Path) -> Bootstrap:
    bootstrap: Bootstrap = yaml.safe_load(file.read_text())
    return bootstrap


def _clusters(loaded: Bootstrap) -> dict[str, dict[str, Any]]:
    return {cluster["name"]: cluster for cluster in loaded["static_resources"]["clusters"]}


def _address(cluster: dict[str, Any]) -> dict[str, Any]:
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    address: dict[str, Any] = endpoint["address"]
    return address


def test_envoy_itself_finds_nothing_wrong_and_nothing_deprecated(file: Path) -> None:
    command: list[str | Path] = [
        program(),
        "--mode",
        "validate",
        "--config-path",
        file,
        "--log-level",
        "warning",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert "[warning]" not in done.stderr
    assert "deprecated" not in done.stderr.lower()


def test_the_unix_socket_variant_differs_in_the_sidecars_address_alone() -> None:
    tcp, uds = (
        yaml.safe_load((BOOTSTRAPS / name).read_text()) for name in ("envoy.yaml", "envoy-uds.yaml")
    )
    assert _address(_clusters(tcp)["authz"]) == {
        "socket_address": {"address": "127.0.0.1", "port_value": 9001}
    }
    assert _address(_clusters(uds)["authz"]) == {"pipe": {"path": "/run/zervi/authz.sock"}}
    _address(_clusters(tcp)["authz"]).clear()
    _address(_clusters(uds)["authz"]).clear()
    assert tcp == uds


def test_requests_are_cleaned_before_they_are_judged(loaded: Bootstrap) -> None:
    manager = connection_manager(loaded)
    assert manager["normalize_path"] is True
    assert manager["merge_slashes"] is True
    assert manager["path_with_escaped_slashes_action"] == "REJECT_REQUEST"
    options = manager["common_http_protocol_options"]
    assert options["headers_with_underscores_action"] == "REJECT_REQUEST"
    assert manager["use_remote_address"] is True


def test_no_answer_is_no(loaded: Bootstrap) -> None:
    filter_ = ext_authz_filter(loaded)
    assert filter_["failure_mode_allow"] is False
    assert filter_["status_on_error"] == {"code": "ServiceUnavailable"}
    assert filter_["encode_raw_headers"] is True
    assert filter_["grpc_service"]["timeout"] == "3s"
    assert "with_request_body" not in filter_


def test_only_cors_stands_before_ext_authz_and_only_the_router_after_it(loaded: Bootstrap) -> None:
    names = [entry["name"] for entry in connection_manager(loaded)["http_filters"]]
    assert names == [f"envoy.filters.http.{name}" for name in ("cors", "ext_authz", "router")]


def test_no_route_switches_ext_authz_off(loaded: Bootstrap) -> None:
    for host in connection_manager(loaded)["route_config"]["virtual_hosts"]:
        for place in (host, *host["routes"]):
            assert "envoy.filters.http.ext_authz" not in place.get("typed_per_filter_config", {})


def test_a_restarted_sidecar_finds_its_requests_waiting(loaded: Bootstrap) -> None:
    service = ext_authz_filter(loaded)["grpc_service"]
    assert service["retry_policy"]["num_retries"] == 20
    assert "retry_policy" not in service["envoy_grpc"]
    cluster = _clusters(loaded)["authz"]
    (limits,) = cluster["circuit_breakers"]["thresholds"]
    assert set(limits.values()) == {10000}
    assert set(limits) == {"max_requests", "max_pending_requests", "max_retries"}
    assert "outlier_detection" not in cluster


def test_everything_but_the_listener_is_on_loopback(loaded: Bootstrap) -> None:
    assert loaded["admin"]["address"]["socket_address"]["address"] == "127.0.0.1"
    for cluster in _clusters(loaded).values():
        socket = _address(cluster).get("socket_address", {"address": "127.0.0.1"})
        assert socket["address"] == "127.0.0.1"


def test_the_access_log_never_holds_a_query(loaded: Bootstrap) -> None:
    (log,) = connection_manager(loaded)["access_log"]
    formats = log["typed_config"]["log_format"]["json_format"].values()
    assert not [text for text in formats if re.search(r"REQ\([^)]*PATH", text)]


def test_the_sidecar_may_touch_every_header_that_it_manages_by_default(loaded: Bootstrap) -> None:
    rules = ext_authz_filter(loaded)["decoder_header_mutation_rules"]
    allowed = re.compile(rules["allow_expression"]["regex"])
    removed = (*REMOVED, *REMOVED_WITH_HOSTS)
    for name in (*IdentityHeaders(), *removed, "authorization"):
        assert allowed.fullmatch(name), name
        assert allowed.fullmatch(name.replace("-", "_")), name


@pytest.mark.parametrize(
    "name",
    [
        "host",
        ":path",
        "cookie",
        "x-user-idx",
        "ax-user-id",
        "xauserbid",
        "x-forwarded-for",
        "x-forwarded-proto",
        "",
    ],
)
def test_the_sidecar_may_touch_no_other_header(loaded: Bootstrap, name: str) -> None:
    rules = ext_authz_filter(loaded)["decoder_header_mutation_rules"]
    assert rules["disallow_all"] is True
    assert rules["disallow_is_error"] is True
    assert not re.fullmatch(rules["allow_expression"]["regex"], name)


def test_every_line_that_matters_for_safety_says_why(file: Path) -> None:
    text = file.read_text()
    for setting in (
        "normalize_path:",
        "merge_slashes:",
        "path_with_escaped_slashes_action:",
        "headers_with_underscores_action:",
        "failure_mode_allow:",
        "status_on_error:",
        "encode_raw_headers:",
    ):
        (line,) = [line for line in text.splitlines() if line.strip().startswith(setting)]
        assert "# SAFETY: " in line, setting
