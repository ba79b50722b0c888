"""A real Envoy: what `doctor` is silent about keeps the boundary; a dump is as good as a file."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from demo import minting
from demo.envoy import Bootstrap, bootstrap, program
from demo.process import Process
from demo.stack import BOOTSTRAPS, Stack
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents import own_yaml
from sidecar.workbench.doctor import examine
from tests.support.envoy_mutants import REMOVED, Mutant, silent, wanted
from tests.support.http1 import send
from tests.support.ports import free_port

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.parametrize("transport", ["h2"], indirect=True, scope="session"),
]

TABLE = Path(__file__).parents[1] / "envoys" / "harmless.yaml"
HARMLESS: list[dict[str, str]] = own_yaml.read(TABLE)
STOLEN = "stolen-token-in-a-query"
REMOVED_HEADERS = wanted().removed


def batches(mutants: Iterable[Mutant]) -> list[list[Mutant]]:
    """Return changes in groups that do not touch each other's places."""
    made: list[list[Mutant]] = []
    for mutant in mutants:
        for group in made:
            if not any(_touch(mutant, other) for other in group):
                group.append(mutant)
                break
        else:
            made.append([mutant])
    return made


def _touch(one: Mutant, other: Mutant) -> bool:
    shorter, longer = sorted((one.reach, other.reach), key=len)
    return longer[: len(shorter)] == shorter


@asynccontextmanager
async def changed(
    stack: Stack, directory: Path, mutants: Sequence[Mutant]
) -> AsyncIterator[tuple[Process, int, int]]:
    """Run a changed Envoy before the stack's sidecar; its process and its two ports."""
    ingress, stats = free_port(), free_port()
    loaded: Bootstrap = bootstrap(
        BOOTSTRAPS / "envoy.yaml",
        listener_port=ingress,
        stats_port=stats,
        authz=f"127.0.0.1:{stack.ports.authz}",
        upstream=stack.ports.basic_server,
        upstream_grpc=stack.ports.basic_server,
    )
    text = json.dumps(loaded).replace("/tmp/envoy-admin.sock", "admin.sock")
    loaded = json.loads(text)
    for mutant in mutants:
        if mutant.place[-1] != "address":
            mutant.apply(loaded)
    config = directory / "envoy.json"
    config.write_text(json.dumps(loaded))
    command: list[str | Path] = [
        program(),
        "-c",
        config,
        "--concurrency",
        "1",
        "--disable-hot-restart",
    ]
    command += ["--log-level", "error", "--file-flush-interval-msec", "50"]
    process = await Process.start("changed", command, directory, cwd=directory)
    try:
        await _listening(process, ingress)
        yield process, ingress, stats
    finally:
        await process.stop()


async def _listening(process: Process, port: int) -> None:
    async with asyncio.timeout(20):
        while True:
            process.check_running()
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def attack(stack: Stack, process: Process, ingress: int, stats: int) -> list[int]:
    """Send what must never be let through; return the statuses of what may be, 0 for none."""
    stack.basic_server.received.clear()
    token = stack.zervi.token("alice")
    bearer = ("Authorization", f"Bearer {token}")
    for target, *headers in (
        ("/api/services/a", ("X-User-Id", "1"), ("x-user-role", "admin")),
        ("/nowhere",),
        ("/api/auth/../services/a",),
        ("//api/services/a",),
        ("/api/cluster/nodes", bearer),
        ("/api/services%2fa", bearer),
    ):
        assert not 0 < await _status(ingress, target, *headers) < 400, target
    assert not stack.basic_server.received
    names = (*IdentityHeaders().never_from_clients(), *REMOVED_HEADERS)
    spoofed = [(name, "spoofed") for name in names]
    statuses = [
        await _status(ingress, f"/api/services/a?access_token={STOLEN}", bearer, *spoofed),
        await _status(ingress, "/api/auth/login", *spoofed, method="POST"),
        await _status(ingress, "/api/services/a", bearer, ("x_user_id", "spoofed")),
    ]
    alice = str(minting.USERS["alice"].user_id)
    for received in stack.basic_server.received:
        assert "spoofed" not in [value for _, value in received.headers]
        public = received.target.startswith("/api/auth/")
        assert received.values("x-user-id") == ([] if public else [alice])
    for method, target in (
        ("POST", "/quitquitquit"), ("GET", "/config_dump"), ("POST", "/ready"),
        ("GET", "/stats/prometheus?filter=x"), ("GET", "/logging?level=trace"),
    ):  # fmt: skip
        assert not 0 < await _status(stats, target, method=method) < 400, target
    log = process.output()
    assert STOLEN not in log
    assert token not in log
    return statuses


async def _status(port: int, target: str, *headers: tuple[str, str], method: str = "GET") -> int:
    """Return the status of an answer, 0 where the connection was refused or closed."""
    try:
        return (await send(port, target, *headers, method=method)).status
    except (OSError, EOFError):
        return 0


async def test_the_attack_reaches_what_may_be_reached(stack: Stack, tmp_path: Path) -> None:
    """Without any change what is allowed arrives: the attack does not fail for another reason."""
    async with changed(stack, tmp_path, []) as (process, ingress, stats):
        assert await attack(stack, process, ingress, stats) == [200, 200, 400]
        assert await _status(stats, "/ready") == 200


async def test_the_attack_notices_an_open_envoy(stack: Stack, tmp_path: Path) -> None:
    """Without ext_authz and its second lock the attack gets through: it can fail."""
    filters = "static_resources listeners 0 filter_chains 0 filters 0 typed_config http_filters"
    place = tuple(int(key) if key.isdigit() else key for key in filters.split())
    opened = [Mutant((*place, index), "removed", REMOVED) for index in (2, 1)]
    async with changed(stack, tmp_path, opened) as (process, ingress, stats):
        with pytest.raises(AssertionError):
            await attack(stack, process, ingress, stats)


@pytest.mark.timeout(240)
@pytest.mark.usefixtures("transport")
async def test_no_change_is_overlooked() -> None:
    """Each change that ``doctor`` does not report is explained; the next test tries it out."""
    explained = [entry["where"] for entry in HARMLESS]
    used = set()
    for mutant in silent():
        fitting = [where for where in explained if fnmatchcase(mutant.name, where)]
        assert fitting, f"doctor says nothing of this change: {mutant.name}"
        used.update(fitting)
    assert used == set(explained), "these explain nothing any more"


@pytest.mark.timeout(240)
async def test_no_harmless_change_opens_a_way(stack: Stack, tmp_path: Path) -> None:
    """Every change in tests/envoys/harmless.yaml, many at a time."""
    for index, group in enumerate(batches(silent())):
        directory = tmp_path / str(index)
        directory.mkdir()
        async with changed(stack, directory, group) as (process, ingress, stats):
            await attack(stack, process, ingress, stats)


async def test_the_config_dump_of_a_running_envoy_has_no_finding(stack: Stack) -> None:
    """Envoy leaves out what is the default, and writes durations and numbers in its own way."""
    dump = json.loads(await stack.envoy.admin("/config_dump?include_eds"))
    fits = wanted()._replace(address=f"127.0.0.1:{stack.ports.authz}")
    assert list(examine(dump, fits)) == []
    text = json.dumps(dump).replace('"encode_raw_headers": true', '"failure_mode_allow": true')
    assert "failure-mode-allow" in {problem.code for problem in examine(json.loads(text), fits)}
