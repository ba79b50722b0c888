"""Servers that a program of ours drives: how each is started, configured and stopped."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.upstreams.observe import wait_for
from tests.upstreams.scenario import REQUESTS, ROUTES, Sent

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).with_name("programs")

TABLE = json.dumps([{"name": r.name, "path": r.path, "method": r.method or ""} for r in ROUTES])
"""The routes as the programs in other languages are given them."""


class Server(NamedTuple):
    """One server.

    ``command`` gets an empty directory and the port. ``missing`` says why the server cannot be
    started here, None where it can. ``requests`` are those in which it may differ from others.
    """

    name: str
    command: Callable[[Path, int], list[str]]
    missing: Callable[[], str | None] = lambda: None
    environment: Mapping[str, str] = {}
    requests: tuple[Sent, ...] = REQUESTS


@contextmanager
def running(server: Server, directory: Path, port: int) -> Iterator[Mapping[str, str]]:
    """Run a server for as long as the block; the headers by which it names itself.

    Raises ConnectionError, with the end of what it wrote, where it does not answer.
    """
    log = directory / "output"
    with log.open("wb") as output:
        process = subprocess.Popen(
            server.command(directory, port),
            env={**os.environ, **server.environment},
            cwd=REPOSITORY,
            stdout=output,
            stderr=output,
        )
    try:
        headers = wait_for(port, process)
        if headers is None:
            raise ConnectionError(f"{server.name} does not answer: {log.read_text()[-2000:]}")
        yield headers
    finally:
        process.terminate()
        process.wait(10)


def _script(name: str) -> Callable[[Path, int], list[str]]:
    return lambda _, port: [sys.executable, "-m", f"tests.upstreams.programs.{name}", str(port)]


def _gunicorn(name: str) -> Callable[[Path, int], list[str]]:
    start = [sys.executable, "-m", "gunicorn", "--log-level", "error", "--no-control-socket"]
    program = f"tests.upstreams.programs.{name}:app"
    return lambda _, port: [*start, "--bind", f"127.0.0.1:{port}", program]


def _uvicorn(name: str) -> Callable[[Path, int], list[str]]:
    start = [sys.executable, "-m", "uvicorn", "--log-level", "error"]
    program = f"tests.upstreams.programs.{name}:app"
    return lambda _, port: [*start, "--port", str(port), program]


PYTHON = (
    Server("aiohttp", _script("aiohttp_app")),
    Server("bottle", _gunicorn("bottle_app")),
    Server("django", _gunicorn("django_app")),
    Server(
        "django-ignore-case",
        _gunicorn("django_app"),
        environment={"UPSTREAM_IGNORE_CASE": "1"},
    ),
    Server("django-rest-framework", _gunicorn("drf_app")),
    Server("falcon", _gunicorn("falcon_app")),
    Server("fastapi", _uvicorn("fastapi_app")),
    Server("flask", _gunicorn("flask_app")),
    Server("python-urlparse", _script("urlparse_app")),
    Server("tornado", _script("tornado_app")),
)
"""They are dependencies of the tests, so they are always there."""
