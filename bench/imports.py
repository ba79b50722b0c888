"""Memory and time of each import, each in a fresh interpreter."""

import sys
from typing import NamedTuple

from bench.processes import run

# In the order of a start; each is measured in an empty interpreter.
WHAT = (
    ("bare Python", "pass"),
    ("asyncio", "import asyncio"),
    ("uvloop", "import uvloop"),
    ("the decision: core with jwt and cryptography", "import sidecar.core.decision"),
    ("protobuf and the messages", "import sidecar.pb.ext_authz_pb2"),
    ("the Check service with all of these", "import sidecar.extauthz.service"),
    ("the h2 transport", "import sidecar.transport.h2"),
    ("the grpcio transport", "import sidecar.transport.grpcio"),
    ("config: YAML", "import sidecar.config"),
    ("h11", "import h11"),
    ("the HTTP client, with ssl", "import sidecar.net.http_client"),
    ("the HTTP server", "import sidecar.ops.server"),
    ("prometheus_client", "import sidecar.ops.exposition"),
    ("everything that app imports", "import sidecar.app.run"),
)
_MEASURE = (
    "import time; begin = time.perf_counter(); {statement}; took = time.perf_counter() - begin;"
    "pages = int(open('/proc/self/statm').read().split()[1]);"
    "import os; print('RESULT', took, pages * os.sysconf('SC_PAGE_SIZE'))"
)


class Import(NamedTuple):
    """Seconds of one import, and bytes of the process after it."""

    name: str
    seconds: float
    rss: float


async def measure(rounds: int) -> list[Import]:
    """Import each in its own interpreter; return the best of the rounds."""
    found = []
    for name, statement in WHAT:
        runs = []
        for _ in range(rounds):
            output = await run(
                [sys.executable, "-c", _MEASURE.format(statement=statement)], within=60
            )
            _, seconds, rss = output.split()[-3:]
            runs.append((float(seconds), float(rss)))
        found.append(Import(name, min(s for s, _ in runs), min(r for _, r in runs)))
    return found
