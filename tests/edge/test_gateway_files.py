"""Envoy's files for a gateway: the real Envoy takes them, and only what changed is written."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from demo.envoy import connection_manager
from demo.stack import BOOTSTRAPS
from sidecar.config.answers import CorsSection
from sidecar.core.placement.directory import Directory, Health, Instance
from sidecar.core.placement.place import RESERVED
from sidecar.documents import own_yaml
from sidecar.gateway.files import CLUSTERS, ROUTES, FileSettings, contents, endpoints_file
from sidecar.gateway.resources import TargetTls, cors_policy
from sidecar.gateway.writer import FileWriter
from tests.edge.certificates import Authority
from tests.support.envoy_validates import envoy_validates

TARGET = "basic-server-*"
FIXED = "zervi-auth-service"


def instance(number: int, **fields: Any) -> Instance:
    name = f"basic-server-{number}"
    return Instance(name, name, f"10.0.0.{number}:80", **{"health": Health.HEALTHY, **fields})


def resources(found: dict[str, bytes], name: str) -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(found[name])["resources"]
    return loaded


def endpoints(*instances: Instance) -> dict[str, str]:
    """Return each address with the health that Envoy reads."""
    found = contents([TARGET], Directory(instances), FileSettings("/run"))
    (assignment,) = resources(found, endpoints_file(TARGET))
    return {
        each["endpoint"]["address"]["socket_address"]["address"]: each["health_status"]
        for each in assignment["endpoints"][0]["lb_endpoints"]
    }


def test_no_route_leads_to_a_cluster_of_the_bootstrap() -> None:
    """A target named like one would lead clients to Envoy's admin interface, or to the sidecar."""
    loaded = own_yaml.read(BOOTSTRAPS / "envoy-gateway.yaml")
    own = {each["name"] for each in loaded["static_resources"]["clusters"]}
    assert own == RESERVED
    settings = FileSettings("/run", services={"admin": ("http://a:1",)})
    found = contents([*own, TARGET], Directory(), settings)
    assert [each["name"] for each in resources(found, CLUSTERS)] == [TARGET]
    (table,) = resources(found, ROUTES)
    routes = table["virtual_hosts"][0]["routes"]
    assert {each["route"]["cluster"] for each in routes} == {TARGET, "nowhere"}
    assert [each for each in routes if each["route"]["cluster"] == "nowhere"] == routes[-1:]


def test_envoy_gets_the_registrys_health() -> None:
    assert endpoints(
        instance(1),
        instance(2, health=Health.WARNING),
        instance(3, health=Health.CRITICAL),
        instance(4, draining=True),
        instance(5, ready=False),
        instance(6, vanished=True),
        instance(7, health=Health.UNKNOWN),
    ) == {
        "10.0.0.1": "HEALTHY",
        "10.0.0.2": "DEGRADED",
        "10.0.0.3": "UNHEALTHY",
        "10.0.0.4": "DRAINING",
        "10.0.0.5": "DRAINING",
        "10.0.0.6": "UNHEALTHY",
        "10.0.0.7": "DEGRADED",
    }


def test_vanished_instances_get_requests_only_where_no_other_can_serve() -> None:
    gone = (instance(1, vanished=True), instance(2, vanished=True, health=Health.CRITICAL))
    only = {"10.0.0.1": "DEGRADED", "10.0.0.2": "UNHEALTHY"}
    assert endpoints(*gone) == only
    assert endpoints(*gone, instance(3, draining=True)) == {**only, "10.0.0.3": "DRAINING"}
    warned = endpoints(*gone, instance(3, health=Health.WARNING))
    assert warned == {"10.0.0.1": "UNHEALTHY", "10.0.0.2": "UNHEALTHY", "10.0.0.3": "DEGRADED"}


def test_a_fixed_services_failing_address_is_unhealthy_for_envoy() -> None:
    urls = ("http://zervi-1:8080", "http://[fd00::1]:8080")
    addresses = tuple(Instance(url, FIXED, url.removeprefix("http://")) for url in urls)
    down = (addresses[0]._replace(health=Health.CRITICAL), addresses[1])
    settings = FileSettings("/run", services={FIXED: urls})
    found = contents([FIXED, "zervi-*"], Directory(fixed={FIXED: down}), settings)
    prefix, cluster = resources(found, CLUSTERS)
    (group,) = cluster["load_assignment"]["endpoints"]
    shown = [
        (each["endpoint"]["address"]["socket_address"]["address"], each["health_status"])
        for each in group["lb_endpoints"]
    ]
    assert shown == [("zervi-1", "UNHEALTHY"), ("fd00::1", "UNKNOWN")]
    assert prefix["type"] == "EDS", "a prefix leads to the registry's instances only"


def test_one_endpoint_is_never_ejected() -> None:
    for count, ejected in ((1, False), (2, True)):
        instances = tuple(instance(number) for number in range(1, count + 1))
        found = contents([TARGET], Directory(instances), FileSettings("/run"))
        (cluster,) = resources(found, CLUSTERS)
        assert ("outlier_detection" in cluster) is ejected


def test_routes_match_the_target_of_the_answer_and_end_nowhere() -> None:
    found = contents([TARGET, FIXED], Directory(), FileSettings("/run", ("x-a",)))
    (table,) = resources(found, ROUTES)
    assert table["request_headers_to_remove"] == ["x-a"]
    *targets, last = table["virtual_hosts"][0]["routes"]
    assert last == {"match": {"prefix": "/"}, "route": {"cluster": "nowhere"}}
    for route in targets:
        (metadata,) = route["match"]["dynamic_metadata"]
        assert metadata["value"]["string_match"]["exact"] == route["route"]["cluster"]
        assert route["route"]["retry_policy"]["retry_host_predicate"]


@pytest.mark.parametrize(("revocable", "longest"), [(False, "0s"), (True, "3600s")])
def test_no_grpc_timeout_extends_a_stream_where_tokens_can_be_revoked(
    *, revocable: bool, longest: str
) -> None:
    """It counts in place of the listener's ``max_stream_duration``."""
    settings = FileSettings("/run", revocable=revocable)
    (table,) = resources(contents([TARGET], Directory(), settings), ROUTES)
    grpc, *others = table["virtual_hosts"][0]["routes"]
    assert grpc["route"]["max_stream_duration"] == {"grpc_timeout_header_max": longest}
    assert not any("max_stream_duration" in each["route"] for each in others)


@pytest.mark.parametrize("tls", [False, True])
def test_the_real_envoy_takes_the_files(tmp_path: Path, *, tls: bool) -> None:
    authority = Authority("targets")
    certificate, key = authority.issue("gateway.example")
    for name, content in (("ca", authority.pem), ("crt", certificate), ("key", key)):
        (tmp_path / name).write_bytes(content)
    files = FileSettings(
        str(tmp_path),
        ("x-a",),
        cors_policy(CorsSection(origins=("https://app.example",), credentials=True)),
        {FIXED: ("https://zervi.example", "https://zervi.example:8443")},
        TargetTls(
            "spiffe://example/{service}", *(str(tmp_path / each) for each in ("ca", "crt", "key"))
        )
        if tls
        else None,
    )
    directory = Directory((instance(1), instance(2)))
    FileWriter(tmp_path).write(contents([TARGET, FIXED], directory, files))
    # Envoy validates static resources only, so they are put there.
    loaded = own_yaml.read(BOOTSTRAPS / "envoy-gateway.yaml")
    static = loaded["static_resources"]
    del loaded["dynamic_resources"]
    static["clusters"] += [
        {name: value for name, value in each.items() if name != "@type"}
        for each in json.loads((tmp_path / CLUSTERS).read_bytes())["resources"]
    ]
    manager = connection_manager(loaded)
    (table,) = json.loads((tmp_path / ROUTES).read_bytes())["resources"]
    del manager["rds"]
    manager["route_config"] = {name: value for name, value in table.items() if name != "@type"}
    bootstrap = tmp_path / "envoy.json"
    bootstrap.write_text(json.dumps(loaded))
    envoy_validates(bootstrap)


def test_only_what_changed_is_written_and_former_targets_go(tmp_path: Path) -> None:
    writer, settings = FileWriter(tmp_path / "envoy"), FileSettings("/run")
    one = contents([TARGET], Directory((instance(1),)), settings)
    assert writer.write(one) == 3
    assert writer.write(one) == 0
    assert FileWriter(tmp_path / "envoy").write(one) == 0
    two = contents([TARGET], Directory((instance(2),)), settings)
    assert writer.write(two) == 1
    assert writer.write(contents([FIXED, "other"], Directory(), settings)) == 4
    assert not (tmp_path / "envoy" / endpoints_file(TARGET)).exists()


def test_a_file_that_cannot_be_written_stays_as_it_is(tmp_path: Path) -> None:
    writer, settings = FileWriter(tmp_path), FileSettings("/run")
    writer.write(contents([TARGET], Directory((instance(1),)), settings))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    obstacle = tmp_path / f"{endpoints_file(TARGET)}.writing"
    obstacle.mkdir()  # also root cannot write to it
    with pytest.raises(IsADirectoryError):
        writer.write(contents([TARGET], Directory((instance(2),)), settings))
    obstacle.rmdir()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert writer.write(contents([TARGET], Directory((instance(2),)), settings)) == 1


def test_a_full_disk_keeps_the_former_file_and_the_next_write_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, settings = FileWriter(tmp_path), FileSettings("/run")
    writer.write(contents([TARGET], Directory((instance(1),)), settings))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    two = contents([TARGET], Directory((instance(2),)), settings)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fdopen", full)
        with pytest.raises(OSError, match="No space"):
            writer.write(two)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert writer.write(two) == 1
