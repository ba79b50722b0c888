"""The observed tables: one file per server, one row per request."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from tests.support.ports import free_port
from tests.upstreams.observe import Row, observe
from tests.upstreams.servers import Server, running

OBSERVED = Path(__file__).with_name("observed")

DOCUMENTED = Path(__file__).with_name("documented")
"""Tables of servers that could not be had, written by hand from what their makers say."""


class Observed(NamedTuple):
    """What one server did: ``patterns`` are the routes as it has them, by handler."""

    server: str
    version: str
    observed: str
    patterns: Mapping[str, str]
    rows: tuple[Row, ...]


def look(server: Server) -> Observed:
    """Start a server, send it its requests, and stop it."""
    patterns: dict[str, str] = {}
    port = free_port()
    with TemporaryDirectory() as directory, running(server, Path(directory), port) as headers:
        version = headers["x-version"]
        rows = tuple(observe(port, sent, patterns) for sent in server.requests)
    today = datetime.now(UTC).date().isoformat()
    return Observed(server.name, version, today, dict(sorted(patterns.items())), rows)


def write(observed: Observed) -> None:
    """Write a server's table, one row a line."""
    head: dict[str, Any] = observed._asdict()
    rows = ",\n".join(json.dumps(row) for row in head.pop("rows"))
    text = f'{json.dumps(head, indent=1)[:-2]},\n "rows": [\n{rows}\n]}}\n'
    (OBSERVED / f"{observed.server}.json").write_text(text)


def read(name: str, folder: Path = OBSERVED) -> Observed:
    """Read a server's table."""
    found = json.loads((folder / f"{name}.json").read_text())
    return Observed(**{**found, "rows": tuple(found["rows"])})


def names() -> list[str]:
    """Return the servers that were observed."""
    return sorted(file.stem for file in OBSERVED.glob("*.json"))
