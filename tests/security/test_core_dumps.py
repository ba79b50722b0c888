"""A crash leaves no memory behind: it holds secrets, keys and tokens."""

import resource
import sys
from pathlib import Path

import pytest

from demo.process import Process
from sidecar.app import process
from tests.edge.sidecar_rig import Sidecar


async def test_serve_leaves_no_core_dump_whatever_the_limit_was(tmp_path: Path) -> None:
    """No file by its limit, and no memory for a handler that the kernel pipes dumps to."""
    sidecar = Sidecar(tmp_path)
    allowed = 'ulimit -c unlimited 2>/dev/null; exec "$@"'
    serve = [sys.executable, "-m", "sidecar", "serve", "--config", f"{tmp_path}/sidecar.yaml"]
    command = ["/bin/sh", "-c", allowed, "sh", *serve]
    sidecar.process = await Process.start("sidecar", command, tmp_path)
    try:
        await sidecar.until_ready()
        proc = Path(f"/proc/{sidecar.process.pid}")
        (limit,) = [
            line.split()
            for line in (proc / "limits").read_text().splitlines()
            if line.startswith("Max core file size")
        ]
        assert limit[-3:-1] == ["0", "0"]
        assert int((proc / "coredump_filter").read_text(), 16) == 0
        assert await sidecar.metric("process_open_fds") > 0  # what reads /proc/self still does
        assert await sidecar.metric("process_resident_memory_bytes") > 0
    finally:
        await sidecar.process.stop()


def test_a_kernel_without_a_filter_keeps_no_sidecar_from_starting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limits: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda *given: limits.append(given))
    monkeypatch.setattr(process, "_DUMP_FILTER", tmp_path / "not here" / "coredump_filter")
    process.forbid_core_dumps()
    assert limits == [(resource.RLIMIT_CORE, (0, 0))]
