"""The command ``zervi-sidecar console``: how it starts, refuses and ends."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from demo.process import Process
from sidecar.cli import main
from tests.support.ports import free_port
from tests.support.waiting import eventually

CONFIG = """\
console: {{origin: "http://localhost:10000", listen: "{listen}"}}
looma: {{url: "http://127.0.0.1:9"}}
zervi: {{url: "http://127.0.0.1:9"}}
"""


async def start(directory: Path, listen: str, name: str = "console") -> Process:
    path = directory / f"{name}.yaml"
    path.write_text(CONFIG.format(listen=listen))
    command = [sys.executable, "-m", "sidecar", "console", "--config", str(path)]
    return await Process.start(name, command, directory)


async def health(where: str) -> int:
    """Return the status of /healthz, 0 without a connection."""
    connector: Any = None
    if where.startswith("unix:"):
        connector = aiohttp.UnixConnector(where.removeprefix("unix:"))
        where = "127.0.0.1"
    try:
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.get(f"http://{where}/healthz") as answer,
        ):
            return answer.status
    except aiohttp.ClientConnectionError:
        return 0


async def until_listening(process: Process) -> None:
    await eventually(lambda: "listening on" in process.output(), "the console's start")


async def test_it_listens_and_ends_cleanly(tmp_path: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    process = await start(tmp_path, where)
    try:
        await until_listening(process)
        assert await health(where) == 200
        process.signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        await process.stop()


async def test_it_listens_on_a_unix_socket_that_others_cannot_open(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    process = await start(tmp_path, f"unix:{path}")
    try:
        await until_listening(process)
        assert await health(f"unix:{path}") == 200
        assert path.stat().st_mode & 0o777 == 0o660
    finally:
        await process.stop()
    assert not path.exists()


async def test_an_address_in_use_is_one_line(tmp_path: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    first = await start(tmp_path, where)
    try:
        await until_listening(first)
        second = await start(tmp_path, where, "second")
        assert await asyncio.wait_for(second.wait(), 20) == 1
        (line,) = second.output().splitlines()
        assert json.loads(line)["message"] == f"cannot listen: address {where} is already in use"
    finally:
        await first.stop()


def test_an_address_that_others_reach_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "console.yaml"
    path.write_text(CONFIG.format(listen="0.0.0.0:8700"))
    assert main(["console", "--config", str(path)]) == 1
    assert "must be a unix socket or a loopback address" in capsys.readouterr().err


def test_a_missing_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sidecar.cli.console.find_spec", lambda _name: None)
    assert main(["console", "--config", str(tmp_path / "console.yaml")]) == 1
    assert "pip install 'zervi-sidecar[console]'" in capsys.readouterr().err


def test_no_other_command_imports_the_console() -> None:
    """``serve``, ``check`` and the rest pay nothing for it."""
    code = (
        "import sys; import sidecar.cli, sidecar.app.run, sidecar.workbench.explain;"
        "from sidecar.cli import COMMANDS, main;"
        "bad = {n for n in sys.modules if n.startswith(('sidecar.console', 'aiohttp', 'jinja2'))};"
        "sys.exit(' '.join(bad) or 0)"
    )
    environ = {**os.environ, "COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
    found = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stderr) == (0, "")
