"""The watch over a configuration's files by itself: what it notices, and what it survives."""

import asyncio
import gc
import json
import os
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sidecar.app.reload import Reloader
from sidecar.config import Config, ConfigError, load
from tests.edge.certificates import Authority
from tests.edge.config_files import ENVIRON, Files
from tests.edge.sidecar_rig import ISSUER
from tests.support.waiting import eventually


class Watch:
    """A Reloader on a directory of files, and what it told."""

    def __init__(self, files: Files) -> None:
        self.files = files
        self.told: list[str] = []
        self.fault: Exception | None = None
        self._config = files.load()

    async def apply(self, config: Config) -> None:
        self.told.append(config.policy.digest)
        if self.fault is not None:
            raise self.fault

    def refuse(self, error: ConfigError) -> None:
        self.told.append(str(error.findings[0]).partition(": ")[0])

    async def renew(self) -> None:
        self.told.append("renew")

    def reloader(self) -> Reloader:
        return Reloader(
            self.files.config, self._config, ENVIRON, self.apply, self.refuse, self.renew
        )


@pytest.fixture
async def watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Callable[[Watch | None], Watch]]:
    """Watch a directory, every 10 ms."""
    monkeypatch.setattr("sidecar.app.reload.POLL_SECONDS", 0.01)
    tasks: list[asyncio.Task[None]] = []

    def start(made: Watch | None = None) -> Watch:
        made = made or Watch(Files(tmp_path))
        tasks.append(asyncio.create_task(made.reloader().run()))
        return made

    yield start
    for task in tasks:
        task.cancel()
    assert all(isinstance(end, asyncio.CancelledError) for end in await gathered(tasks))


async def gathered(tasks: list[asyncio.Task[None]]) -> list[object]:
    return list(await asyncio.gather(*tasks, return_exceptions=True))


async def test_a_fault_inside_costs_one_reload_and_not_the_watch(
    watch: Callable[[Watch | None], Watch],
) -> None:
    watched = watch(None)
    watched.fault = RuntimeError("a fault that a test injected")
    watched.files.write(routes='api_gateway: {routes: [{path: "/y"}]}\n')
    await eventually(lambda: len(watched.told) == 2, "the first reload")
    watched.fault = None
    watched.files.write(routes='api_gateway: {routes: [{path: "/z"}]}\n')
    await eventually(lambda: len(watched.told) == 4, "the second reload")
    assert watched.told[::2] == ["renew", "renew"]
    assert watched.told[3] == watched.files.load().policy.digest


async def test_no_garbage_collection_looks_at_what_a_reload_made(
    watch: Callable[[Watch | None], Watch],
) -> None:
    """Ten thousand routes would make each a halt that every request can see."""
    watched = watch(None)
    before = gc.get_freeze_count()
    watched.files.write(routes='api_gateway: {routes: [{path: "/y"}]}\n')
    await eventually(lambda: len(watched.told) == 2, "the reload")
    assert gc.get_freeze_count() > before


async def test_garbage_from_before_a_reload_is_freed(
    watch: Callable[[Watch | None], Watch],
) -> None:
    """Otherwise each reload would keep for ever what waits for a collection."""
    watched = watch(None)
    gc.disable()
    try:
        cycle = Cycle()
        cycle.own = cycle
        left = weakref.ref(cycle)
        del cycle
        watched.files.write(routes='api_gateway: {routes: [{path: "/y"}]}\n')
        await eventually(lambda: len(watched.told) == 2, "the reload")
        assert left() is None
    finally:
        gc.enable()


class Cycle:
    """An object that refers to itself."""

    own: object = None


async def test_a_policy_that_changed_while_the_sidecar_started_is_loaded(
    watch: Callable[[Watch | None], Watch], tmp_path: Path
) -> None:
    watched = Watch(Files(tmp_path))
    watched.files.write(routes='api_gateway: {routes: [{path: "/y"}]}\n')
    watch(watched)
    digest = load(watched.files.config, ENVIRON).policy.digest
    await eventually(lambda: watched.told == ["renew", digest], "what is there now")


async def test_a_blocked_file_system_is_reported_and_waited_for(
    watch: Callable[[Watch | None], Watch],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("sidecar.app.reload.HANG_SECONDS", 0.01)
    watched = watch(None)
    policy = watched.files.directory / "routes.yaml"
    text = policy.read_text()
    policy.unlink()
    os.mkfifo(policy)  # who opens it waits for a writer
    await eventually(lambda: "reading the configuration is blocked" in caplog.text, "the line")
    with policy.open("wb", buffering=0) as pipe:
        policy.unlink()
        policy.write_text(text.replace("/x", "/y"))
        pipe.write(b"#")
    digest = load(watched.files.config, ENVIRON).policy.digest
    await eventually(lambda: watched.told[-1:] == [digest], "the policy, once it can be read")


async def test_every_file_of_a_configuration_is_watched(
    watch: Callable[[Watch | None], Watch], tmp_path: Path
) -> None:
    authority = Authority("ours")
    certificate, key = authority.issue("server")
    point = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    jwk = {"kty": "OKP", "crv": "Ed25519", "kid": "1", "x": point}
    contents = {
        "one": b"a secret made up for the tests of reloading",
        "two": b"another one made up for the tests of reloading",
        "keys.json": json.dumps({"keys": [jwk]}).encode(),
        "zervi.pem": authority.pem,
        "tls.crt": certificate,
        "tls.key": key,
        "clients.pem": authority.pem,
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    issuers = [
        {"issuer": ISSUER, "secret_file": ["one", "two"]},
        {"issuer": "file", "jwks_file": "keys.json"},
        {"issuer": "https://z", "jwks_url": "https://z/keys", "ca_file": "zervi.pem"},
    ]
    tls = {"cert_file": "tls.crt", "key_file": "tls.key", "client_ca_file": "clients.pem"}
    settings = {
        "listen": {"tls": tls},
        "zervi": {"issuers": issuers},
        "policy": {"file": "routes.yaml"},
    }
    files = Files(tmp_path)
    files.write(sidecar=json.dumps(settings, indent=2))
    watched = watch(Watch(files))
    for count, name in enumerate(("sidecar.yaml", "routes.yaml", *contents), 1):
        with (tmp_path / name).open("ab") as file:
            file.write(b"\n")
        await eventually(lambda n=count: watched.told.count("renew") == n, name)  # type: ignore[misc]  # -- mypy types no default of a lambda
