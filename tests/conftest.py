"""What holds for every test, and for all that is written while they run."""

import asyncio
import functools
import gc
import inspect
import logging
import os
import time
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, settings

from demo.process import Process
from sidecar.net import clock
from tests.support import http1, http2
from tests.support.secrecy import SECRECY

# No test asserts a speed, not even by way of a property: the machine may be busy.
settings.register_profile(
    "sidecar", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("sidecar")

_EARLIER = 10.0  # seconds: a test is cancelled that long before pytest-timeout's signal
_AGE = 7200.0  # seconds that the clock is behind while tests are collected

_outputs: list[Path] = []


class _Lines(logging.Handler):
    """Looks at every line that the code under test logs in this process."""

    def emit(self, record: logging.LogRecord) -> None:
        """Search one line; one that cannot be made is a test's own."""
        with suppress(TypeError):
            SECRECY.search(self.format(record), f"the log of {record.name}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Take one process more than there are cores: many tests wait for an Envoy."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the rooms take turns in a worker of pytest-xdist, one file each.

    Files that wait for processes then run beside files that compute. Only edge is left at the end,
    whose last files are short, so that no process works long after the others have finished.
    """
    if not hasattr(config, "workerinput"):
        return
    rooms: Counter[Path] = Counter()
    turns: dict[Path, int] = {}
    for path in dict.fromkeys(item.path for item in items):
        turns[path] = rooms[path.parent]
        rooms[path.parent] += 1
    items.sort(key=lambda item: (turns[item.path], item.path))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import the tests without garbage collections, and with a clock that is behind.

    A token that a module makes for its tests is then as old as at the end of a slow run.
    """
    gc.disable()
    now = time.time
    age = _AGE
    clock.steady()  # imported before this, so it began with the true time

    def behind() -> float:
        return now() - age  # the true time later on, for a module that keeps this function

    with mock.patch("time.time", behind):
        result = yield
    age = 0.0
    return result


def pytest_collection_finish() -> None:
    """Keep eleven thousand collected tests out of every garbage collection of this process."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Cancel an asynchronous test that hangs, so that its traceback says what it waits for.

    uvloop loses what pytest-timeout raises, and so does an asyncio loop that is not idle.
    """
    test = getattr(item, "obj", None)
    if not inspect.iscoroutinefunction(test):
        return
    longer = item.get_closest_marker("timeout")
    limit = longer.args[0] if longer else item.config.getini("timeout")
    if not limit:
        return

    @functools.wraps(test)
    async def bounded(*given: Any, **named: Any) -> None:
        async with asyncio.timeout(float(limit) - _EARLIER):
            await test(*given, **named)

    item.obj = bounded  # type: ignore[attr-defined]  # -- of a function's item


def pytest_configure() -> None:
    """Watch what is made and what is written: tokens, log lines, children's output, bodies."""
    SECRECY.watch()
    logging.getLogger("sidecar").addHandler(_Lines())
    _watch_processes()
    for client in (http1, http2):
        _watch_answers(client)


def _watch_processes() -> None:
    start = Process.start.__func__  # type: ignore[attr-defined]  # -- a class method's function

    async def start_and_remember(cls: type[Process], name: str, *rest: Any, **more: Any) -> Process:
        process: Process = await start(cls, name, *rest, **more)
        # Envoy's access log is not ours; what we tell it for that is in the bodies. The demo gives
        # tokens to copy.
        if name not in {"envoy", "demo"}:
            _outputs.extend((process.stdout, process.stderr))
        return process

    Process.start = classmethod(start_and_remember)  # type: ignore[assignment,method-assign]  # -- to see every child


def _watch_answers(client: Any) -> None:
    exchange = client.exchange

    async def exchange_and_look(*given: Any) -> Any:
        answer = await exchange(*given)
        if answer.status != 200:  # the Basic Server tells what reached it; the rest is ours
            SECRECY.search(f"{answer.headers} {answer.body}", "an answer to a client")
        return answer

    client.exchange = exchange_and_look


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Look at what a test wrote to standard output and error."""
    SECRECY.search(report.capstdout + report.capstderr, f"the output of {report.nodeid}")


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if anything that must stay secret was written anywhere."""
    for output in _outputs:
        if output.is_file():
            SECRECY.search(output.read_text(errors="replace"), f"{output.name} of {output.parent}")
    if (worker := getattr(session.config, "workeroutput", None)) is not None:
        worker["leaks"] = SECRECY.leaks  # of pytest-xdist: the run's own process tells and fails
    elif SECRECY.leaks:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a worker of pytest-xdist found."""
    SECRECY.leaks += getattr(node, "workeroutput", {}).get("leaks", [])


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say what was found."""
    for leak in dict.fromkeys(SECRECY.leaks):
        terminalreporter.write_line(f"SECRET WRITTEN: {leak}", red=True)
