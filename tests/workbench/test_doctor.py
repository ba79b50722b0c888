"""`doctor`: what weakens the boundary in an Envoy configuration, each told by itself."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.core.principal import IdentityHeaders
from sidecar.workbench.doctor import Wanted, examine

ROOT = Path(__file__).parents[2]
ENVOY = (ROOT / "envoy" / "envoy.yaml").read_text(encoding="utf-8")
SIDECAR = """\
zervi: {issuers: [{issuer: zervi, jwks_url: "https://zervi.local/keys"}]}
policy: {file: routes.yaml}
"""
ANYTHING = Wanted("127.0.0.1:9001", tuple(IdentityHeaders()))


class Doctor:
    """The command on files that a test writes."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.envoy = directory / "envoy.yaml"
        self.config = directory / "sidecar.yaml"
        self.config.write_text(SIDECAR)
        (directory / "routes.yaml").write_text("api_gateway: {routes: [{path: /x}]}\n")
        self._capsys = capsys

    def run(self, text: str, *more: str) -> tuple[int, list[dict[str, Any]]]:
        self.envoy.write_text(text, encoding="utf-8")
        arguments = ["doctor", "--envoy", str(self.envoy), "--config", str(self.config)]
        code = main([*arguments, "--format", "json", *more])
        return code, json.loads(self._capsys.readouterr().out)["findings"]

    def codes(self, text: str) -> list[str]:
        return [finding["code"] for finding in self.run(text)[1]]


@pytest.fixture
def doctor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Doctor:
    return Doctor(tmp_path, capsys)


def test_our_own_bootstraps_are_clean(doctor: Doctor) -> None:
    assert doctor.run(ENVOY, "--strict") == (0, [])
    doctor.config.write_text(SIDECAR + "listen: {authz: 'unix:/run/zervi/authz.sock'}\n")
    uds = (ROOT / "envoy" / "envoy-uds.yaml").read_text(encoding="utf-8")
    assert doctor.run(uds, "--strict") == (0, [])


LUA = """\
                  - name: changes
                    typed_config: {"@type": type.googleapis.com/a.b.v3.Lua}
"""
ROUTER = "                  - name: envoy.filters.http.router\n"
VHOST = "                      typed_per_filter_config:\n"
OFF = """\
                        envoy.filters.http.ext_authz:
                          "@type": type.googleapis.com/a.b.v3.ExtAuthzPerRoute
                          disabled: true
"""
HTTP2 = """\
            http2_protocol_options:
              connection_keepalive: {interval: 1s, timeout: 0.5s}"""
ADDED = """\
                      request_headers_to_add: [{header: {key: X-User-Id, value: "1"}}]
"""


@pytest.mark.parametrize(
    ("before", "after", "code", "severity"),
    [
        ("v3.ExtAuthz\n", "v3.Other\n", "no-authz", "error"),
        ("v3.HttpConnectionManager\n", "v3.TcpProxy\n", "no-authz", "error"),
        ("v3.Cors\n", "v3.Router\n", "after-router", "error"),
        (ROUTER, LUA + ROUTER, "changed-after", "warning"),
        ("  - name: envoy.filters.http.ext_authz\n",
         "  - name: envoy.filters.http.ext_authz\n                    disabled: true\n",
         "disabled", "error"),
        (VHOST, VHOST + OFF, "disabled-on-route", "error"),
        (VHOST, ADDED + VHOST, "identity-header", "error"),
        ("failure_mode_allow: false", "failure_mode_allow: true", "failure-mode-allow", "error"),
        ("clear_route_cache: false", "filter_enabled: {}", "partial", "error"),
        ("timeout: 3s #", "timeout: 0.1s #", "timeout", "warning"),
        ("timeout: 3s #", "#", "timeout", "warning"),
        ("normalize_path: true", "normalize_path: false", "normalise", "warning"),
        ("merge_slashes: true", "merge_slashes: false", "slashes", "warning"),
        ("slashes_action: REJECT_REQUEST", "slashes_action: KEEP_UNCHANGED", "escaped-slashes",
         "warning"),
        ("underscores_action: REJECT_REQUEST", "underscores_action: ALLOW", "underscores",
         "warning"),
        ("use_remote_address: true", "use_remote_address: false", "trusts-client", "warning"),
        ("clear_route_cache: false", "clear_route_cache: true", "clear-route-cache", "warning"),
        ("encode_raw_headers: true", "encode_raw_headers: false", "raw-headers", "warning"),
        ("clear_route_cache: false", "with_request_body: {max_request_bytes: 1}", "body",
         "warning"),
        ("disallow_all: true", "disallow_all: false", "mutation-rules", "info"),
        ("x[^a-z0-9]username|", "", "mutation-rules", "error"),
        ("grpc_service:", "other_service:", "service", "error"),
        ("cluster_name: authz}", "cluster_name: other}", "service", "error"),
        (HTTP2, "            http_protocol_options: {}", "http2", "error"),
        ("port_value: 9001", "port_value: 9003", "address", "error"),
        ("                route_config:\n", "                rds: {}\n                x:\n",
         "dynamic", "info"),
        ("  listeners:", "  others:", "no-listener", "error"),
    ],
)  # fmt: skip
def test_each_weakness_is_found(
    doctor: Doctor, before: str, after: str, code: str, severity: str
) -> None:
    """One change to our own bootstrap, one finding, at its line."""
    assert before in ENVOY
    exit_code, found = doctor.run(ENVOY.replace(before, after, 1))
    assert [(each["code"], each["severity"]) for each in found] == [(code, severity)]
    assert exit_code == (1 if severity == "error" else 0)
    assert found[0]["line"] > 0
    assert found[0]["message"]


def test_warnings_fail_a_strict_examination(doctor: Doctor) -> None:
    assert doctor.run(ENVOY.replace("merge_slashes: true", ""), "--strict")[0] == 1


@pytest.mark.parametrize(
    ("listens", "asks", "fits"),
    [
        ("0.0.0.0:9001", "{address: 127.0.0.1, port_value: 9001}", True),
        ("localhost:9001", "{address: 127.0.0.1, port_value: 9001}", True),
        ("127.0.0.1:9001", "{address: 127.0.0.2, port_value: 9001}", False),
        ("127.0.0.1:9001", "{address: 127.0.0.1}", False),
        ("'[::1]:9001'", "{address: '::1', port_value: 9001}", True),
        ("'unix:/run/a'", "{address: 127.0.0.1, port_value: 9001}", False),
    ],
)
def test_the_address_must_be_that_of_the_sidecar(
    doctor: Doctor, listens: str, asks: str, fits: bool
) -> None:
    doctor.config.write_text(SIDECAR + f"listen: {{authz: {listens}, ops: '127.0.0.1:9009'}}\n")
    text = ENVOY.replace("{address: 127.0.0.1, port_value: 9001}", asks)
    assert ("address" not in doctor.codes(text)) is fits


def test_a_running_envoys_config_dump_is_read_alike(doctor: Doctor) -> None:
    """Static and dynamic listeners, clusters, and routes that come by RDS."""
    bootstrap = yaml.safe_load(ENVOY)["static_resources"]
    manager = bootstrap["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    table = manager.pop("route_config")
    manager["rds"] = {"route_config_name": table["name"]}
    dump = {
        "configs": [
            {"dynamic_listeners": [{"active_state": {"listener": bootstrap["listeners"][0]}}]},
            {"static_clusters": [{"cluster": each} for each in bootstrap["clusters"][:1]]},
            {"dynamic_active_clusters": [{"cluster": e} for e in bootstrap["clusters"][1:]]},
            {"dynamic_route_configs": [{"route_config": table}]},
        ]
    }
    assert doctor.codes(json.dumps(dump)) == []
    host = table["virtual_hosts"][0]
    host["routes"][0]["typed_per_filter_config"] = {
        "envoy.filters.http.ext_authz": {"disabled": True}
    }
    manager["merge_slashes"] = False
    assert doctor.codes(json.dumps(dump, indent=1)) == ["slashes", "disabled-on-route"]


def test_what_is_no_configuration_is_an_error(doctor: Doctor) -> None:
    for text in ("", "[", "a: b", "{}", "- 1"):
        assert doctor.run(text)[0] == 1


WORDS = [
    "static_resources", "listeners", "clusters", "filter_chains", "filters", "typed_config",
    "http_filters", "route_config", "virtual_hosts", "routes", "grpc_service", "envoy_grpc",
    "load_assignment", "endpoints", "lb_endpoints", "name", "configs", "rds",
]  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4)
    ),
    max_leaves=12,
)


def _places(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in items:
        found.append((*place, key))
        if isinstance(each, dict | list):
            found += _places(each, (*place, key))
    return found


PARSED = yaml.safe_load(ENVOY)


@given(st.sampled_from(_places(PARSED)), JSON)
def test_no_document_breaks_it(place: tuple[Any, ...], value: Any) -> None:
    """Our bootstrap with anything put anywhere in it."""
    document = deepcopy(PARSED)
    into = document
    for key in place[:-1]:
        into = into[key]
    into[place[-1]] = value
    for problem in examine(document, ANYTHING):
        assert problem.message
