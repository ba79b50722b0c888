"""`explain --directory`: which instance of a gateway's target serves a caller."""

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli import main
from sidecar.core.placement.directory import Allocation, Directory, Health, Instance
from sidecar.looma.directory.snapshot import encode

SIDECAR = """\
zervi: {issuers: [{issuer: zervi, secret_env: ZERVI_JWT_SECRET}]}
policy: {file: routes.yaml}
"""
GATEWAY = """\
gateway:
  envoy_dir: /run/zervi/envoy
  allow_networks: [10.0.0.0/8]
  unsafe_plaintext_targets: true
  services: {zervi-auth: ["http://zervi-auth:8080"]}
"""
ROUTES = """\
api_gateway:
  routes:
    - {path: /x, target: "basic-server-*"}
    - {path: /public, target: "basic-server-*", auth_required: false}
    - {path: /auth, target: zervi-auth}
    - {path: /other, target: other}
    - {path: /none}
"""


def member(number: int, address: str = "", **more: Any) -> dict[str, Any]:
    name = f"basic-server-{number}"
    found = {"service_id": name, "service_name": name, "address": address or f"10.0.0.{number}"}
    return {**found, "port": 80, "health_status": "healthy", **more}


ALLOCATED = {
    "services": [member(1), member(2), member(3, "169.254.169.254"), member(4, draining=True)],
    "allocations": [
        {"user_id": 7, "service_name": "basic-server-2", "service_id": "basic-server-2"}
    ],
}


@pytest.fixture
def placed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return the placement's step and the reason of a decision."""

    def run(
        path: str, *more: str, directory: object = None, sidecar: str = SIDECAR + GATEWAY
    ) -> Any:
        (tmp_path / "sidecar.yaml").write_text(sidecar)
        (tmp_path / "routes.yaml").write_text(ROUTES)
        arguments = ["explain", "--config", str(tmp_path / "sidecar.yaml"), "--path", path]
        arguments += [*(more or ("--claims", '{"user_id": 7}')), "--json"]
        if directory is not None:
            (tmp_path / "directory").write_text(
                directory if isinstance(directory, str) else json.dumps(directory)
            )
            arguments += ["--directory", str(tmp_path / "directory")]
        if code := main(arguments):
            return code, capsys.readouterr().err
        body = json.loads(capsys.readouterr().out)
        steps = [(e["held"], e["text"]) for e in body["steps"] if e["name"] == "placement"]
        return steps, body["reason"]

    return run


def test_the_allocated_instance_comes_first_and_one_that_is_refused_or_drains_never(
    placed: Any,
) -> None:
    text = "basic-server-*: 10.0.0.2:80, then 10.0.0.1:80"
    assert placed("/x", directory=ALLOCATED) == ([(True, text)], "ok")


def test_a_fixed_service_and_a_request_without_a_caller_are_envoys_choice(placed: Any) -> None:
    assert placed("/auth", directory=ALLOCATED)[0][0][1].endswith("Envoy chooses")
    steps, reason = placed("/public", "--as", "nobody", directory=ALLOCATED)
    assert (steps[0][0], reason) == (True, "public")


@pytest.mark.parametrize("path", ["/other", "/none"])
def test_without_an_instance_or_a_target_the_request_is_denied(placed: Any, path: str) -> None:
    ((held, text),), reason = placed(path, directory=ALLOCATED)
    assert (held, reason) == (False, "no_upstream")
    assert text.startswith("no_upstream: ")


def test_without_a_directory_one_step_says_so_and_nothing_is_denied(placed: Any) -> None:
    ((held, text),), reason = placed("/other")
    assert (held, reason) == (None, "ok")
    assert "no directory is given" in text


def test_beside_one_server_there_is_no_such_step(placed: Any) -> None:
    assert placed("/x", sidecar=SIDECAR) == ([], "ok")
    code, message = placed("/x", directory=ALLOCATED, sidecar=SIDECAR)
    assert code == 2
    assert "no `gateway`" in message


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"services": 1}', '{"services": [], "allocations": {}}', "[" * 9999],
)
def test_a_file_that_is_no_directory_is_a_wrong_call(placed: Any, content: str) -> None:
    code, message = placed("/x", directory=content)
    assert code == 2
    assert message.startswith("zervi-sidecar explain: --directory: ")


def test_the_snapshot_file_of_a_gateway_with_any_registry_can_be_read(placed: Any) -> None:
    instances = (
        Instance("basic-server-1", "basic-server-1", "10.0.0.1:80", Health.HEALTHY),
        Instance("basic-server-2", "basic-server-2", "10.0.0.2:80", Health.HEALTHY),
    )
    allocations = {"7": (Allocation("basic-server-2", "basic-server-2"),)}
    text = encode(Directory(instances, allocations), "of etcd", 1000.0).decode()
    steps, reason = placed("/x", directory=text)
    assert reason == "ok"
    assert "10.0.0.2:80, then 10.0.0.1:80" in steps[0][1]
    assert placed("/other", directory=text)[1] == "no_upstream"
