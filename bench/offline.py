"""Time of the workbench: a review of a large route table, and the replay of a long log."""

import json
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.processes import run
from bench.rounds import progress
from bench.sidecars import PERMISSION, table

ROUTES = 10_000
LINES = 1_000_000
WITHIN = 600.0  # seconds; more is an error

CHECK = f"check of {ROUTES:,} routes"
REPLAY = f"replay of {LINES:,} decisions against {ROUTES:,} routes"


class Offline(NamedTuple):
    """One run of a command: elapsed seconds and CPU seconds."""

    name: str
    seconds: float
    cpu: float


async def measure(directory: Path) -> list[Offline]:
    """Run both. Raises CommandError."""
    policy, config, log = (directory / f"offline{end}" for end in ("-routes.yaml", ".yaml", ".log"))
    policy.write_text(yaml.safe_dump({"api_gateway": {"routes": list(table(ROUTES))}}))
    issuer = {"issuer": "zervi", "audiences": ["bench"], "jwks_url": "https://zervi.local/keys"}
    settings = {"zervi": {"issuers": [issuer]}, "policy": {"file": policy.name}}
    config.write_text(yaml.safe_dump(settings))
    progress("offline: writing a log")
    write_log(log, LINES)
    try:
        return [
            await _timed(CHECK, "check", "--config", str(config)),
            await _timed(
                REPLAY, "replay", str(log), "--policy", str(policy), "--config", str(config),
                "--accept", "--max-unknown", "0",
            ),
        ]  # fmt: skip
    finally:
        log.unlink()


def write_log(path: Path, lines: int) -> None:
    """Write decisions that nearly all differ, so that caches do not help."""
    dice = random.Random(lines)
    with path.open("w") as log:
        for number in range(lines):
            route = dice.randrange(ROUTES - 100)
            entry = {
                "time": "2026-11-21T12:00:00.000Z",
                "decision_id": f"{number:032x}",
                "decision": "allow",
                "reason": "ok",
                "route": f"items{route}",
                "host": "api.jobfirst.local",
                "method": "GET",
                "path": f"/api/area{route % 97}/items{route}/{dice.randrange(100_000)}/x",
                "subject": str(dice.randrange(100_000)),
                "principal_kind": "user",
                "issuer": "zervi",
                "policy_digest": "0123456789abcdef",
                "source": "10.0.0.9:4711",
                "microseconds": 50,
                "roles": ["user"],
                "permissions": [PERMISSION, f"items{route}:read"],
            }
            log.write(json.dumps(entry, separators=(",", ":")) + "\n")


async def _timed(name: str, *arguments: str) -> Offline:
    progress(f"offline: {name}")
    command: Sequence[str] = (sys.executable, "-m", "sidecar", *arguments)
    before, begin = os.times(), time.monotonic()
    await run(command, within=WITHIN)
    seconds, after = time.monotonic() - begin, os.times()
    progress("")
    cpu = (
        after.children_user - before.children_user + after.children_system - before.children_system
    )
    return Offline(name, seconds, cpu)
