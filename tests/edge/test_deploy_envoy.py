"""The bootstraps in envoy/: the real Envoy takes them, and what they hold for safety is there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from demo.envoy import (
    Bootstrap,
    connection_manager,
    ext_authz_filter,
)
from demo.stack import BOOTSTRAPS
from sidecar.config.removed import REMOVED, REMOVED_WITH_HOSTS
from sidecar.core.tokens.principal import IdentityHeaders
from tests.support.envoy_validates import envoy_validates
from tests.support.envoy_weakened import as_json

FILES = [BOOTSTRAPS / name for name in ("envoy.yaml", "envoy-uds.yaml")]


@pytest.fixture(params=FILES, ids=lambda file: file.name)
def file(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture
def loaded(file: Path) -> Bootstrap:
    bootstrap: Bootstrap = json.loads(as_json(file))
    return bootstrap


def _clusters(loaded: Bootstrap) -> dict[str, dict[str, Any]]:
    return {cluster["name"]: cluster for cluster in loaded["static_resources"]["clusters"]}


def _address(cluster: dict[str, Any]) -> dict[str, Any]:
    endpoint = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]
    address: dict[str, Any] = endpoint["address"]
    return address


def test_envoy_itself_finds_nothing_wrong_and_nothing_deprecated(file: Path) -> None:
    envoy_validates(file)


def test_the_unix_socket_variant_differs_only_in_the_sidecars_address() -> None:
    tcp, uds = (json.loads(as_json(file)) for file in FILES)
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


def test_only_cors_is_before_ext_authz_and_the_second_lock_directly_after_it(
    loaded: Bootstrap,
) -> None:
    names = [entry["name"] for entry in connection_manager(loaded)["http_filters"]]
    wanted = ("cors", "ext_authz", "rbac", "router")
    assert names == [f"envoy.filters.http.{name}" for name in wanted]


def test_the_second_lock_opens_only_to_what_the_sidecar_allowed(loaded: Bootstrap) -> None:
    (rbac,) = [
        entry["typed_config"]
        for entry in connection_manager(loaded)["http_filters"]
        if entry["name"] == "envoy.filters.http.rbac"
    ]
    assert rbac["rules"]["action"] == "ALLOW"
    (policy,) = rbac["rules"]["policies"].values()
    assert policy["permissions"] == [{"any": True}]
    ((kind, metadata),) = [pair for each in policy["principals"] for pair in each.items()]
    assert (kind, metadata["metadata_source"]) == ("sourced_metadata", "DYNAMIC")
    matcher = metadata["metadata_matcher"]
    assert matcher.keys() == {"filter", "path", "value"}
    assert matcher["filter"] == "envoy.filters.http.ext_authz"
    assert matcher["path"] == [{"key": "reason"}]
    reasons = [each["string_match"] for each in matcher["value"]["or_match"]["value_matchers"]]
    assert reasons == [{"exact": "ok"}, {"exact": "public"}]


def test_no_route_switches_ext_authz_or_the_second_lock_off(loaded: Bootstrap) -> None:
    table = connection_manager(loaded)["route_config"]
    for host in table["virtual_hosts"]:
        for place in (table, host, *host["routes"]):
            assert place.get("typed_per_filter_config", {}).keys() <= {"envoy.filters.http.cors"}


def test_the_mapper_for_too_large_headers_has_the_same_limits_as_the_connection_manager(
    loaded: Bootstrap,
) -> None:
    manager = connection_manager(loaded)
    count = manager["common_http_protocol_options"]["max_headers_count"]
    size = manager["max_request_headers_kb"] * 1024
    filters = manager["local_reply_config"]["mappers"][0]["filter"]["and_filter"]["filters"]
    expression = filters[-1]["extension_filter"]["typed_config"]["expression"]
    # The size of the headers: total_size counts what has arrived of the body too.
    headers = "request.total_size - request.size"
    assert expression == f"size(request.headers) > {count} || {headers} > {size}"


def test_a_restarted_sidecar_finds_its_requests_waiting(loaded: Bootstrap) -> None:
    service = ext_authz_filter(loaded)["grpc_service"]
    assert service["retry_policy"]["num_retries"] == 20
    assert "retry_policy" not in service["envoy_grpc"]
    cluster = _clusters(loaded)["authz"]
    (limits,) = cluster["circuit_breakers"]["thresholds"]
    assert set(limits.values()) == {10000}
    assert set(limits) == {"max_requests", "max_pending_requests", "max_retries"}
    assert "outlier_detection" not in cluster


def test_the_admin_interface_is_a_socket_that_only_envoys_user_can_open(loaded: Bootstrap) -> None:
    assert loaded["admin"].keys() == {"address"}
    pipe = loaded["admin"]["address"]["pipe"]
    assert pipe["mode"] == 0o600
    assert not pipe["path"].startswith("@")  # an abstract name has no permissions
    assert _address(_clusters(loaded)["admin"]) == {"pipe": {"path": pipe["path"]}}


def test_two_paths_of_the_admin_interface_are_routed_and_no_more(loaded: Bootstrap) -> None:
    ingress, stats = loaded["static_resources"]["listeners"]
    assert (ingress["name"], stats["name"]) == ("ingress", "stats")
    assert '"cluster": "admin"' not in json.dumps(ingress)
    (chain,) = stats["filter_chains"]
    (manager,) = chain["filters"]
    (host,) = manager["typed_config"]["route_config"]["virtual_hosts"]
    matches = [route["match"] for route in host["routes"]]
    assert [match["path"] for match in matches] == ["/ready", "/stats/prometheus"]
    for match in matches:
        assert match["headers"] == [
            {"name": ":method", "string_match": {"exact": "GET"}},
            {"name": ":path", "string_match": {"safe_regex": {"regex": "[^?]*"}}},
        ]


def test_everything_but_the_listener_is_on_loopback(loaded: Bootstrap) -> None:
    stats = loaded["static_resources"]["listeners"][1]
    assert stats["address"]["socket_address"]["address"] == "127.0.0.1"
    for cluster in _clusters(loaded).values():
        socket = _address(cluster).get("socket_address", {"address": "127.0.0.1"})
        assert socket["address"] == "127.0.0.1"


def test_the_access_log_never_holds_a_query(loaded: Bootstrap) -> None:
    (log,) = connection_manager(loaded)["access_log"]
    formats = log["typed_config"]["log_format"]["json_format"].values()
    assert not [text for text in formats if re.search(r"REQ\([^)]*PATH", text)]


def test_envoy_removes_what_servers_obey_and_so_does_the_sidecar(loaded: Bootstrap) -> None:
    table = connection_manager(loaded)["route_config"]
    assert sorted(table["request_headers_to_remove"]) == sorted(REMOVED)


def test_envoy_removes_no_identity_header_of_the_sidecars(loaded: Bootstrap) -> None:
    table = connection_manager(loaded)["route_config"]
    assert not {*table["request_headers_to_remove"]} & {*IdentityHeaders()}


@pytest.mark.parametrize(
    "name", [*IdentityHeaders(), *REMOVED, *REMOVED_WITH_HOSTS, "authorization"]
)
def test_the_sidecar_may_touch_every_header_that_it_manages(loaded: Bootstrap, name: str) -> None:
    """In the odd spellings too that a server may take for it."""
    rules = ext_authz_filter(loaded)["decoder_header_mutation_rules"]
    allowed = re.compile(rules["allow_expression"]["regex"])
    for separator in "-_.~!|'":
        assert allowed.fullmatch(name.replace("-", separator))


@pytest.mark.parametrize(
    "name",
    [
        *("host", ":path", ":authority", "cookie", "x-user-idx", "ax-user-id", "xauserbid"),
        *("x-forwarded-for", "x-forwarded-proto", "x-request-id", "x-auth-request", "user", ""),
        *("content-length", "transfer-encoding", "x-authorization", "proxy-authorization"),
        *("x-envoy-original-path", "x-proxy", "xhost", "pathainfo"),
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
