"""Run a sidecar for ten minutes behind a real Envoy with misbehaving peers: ``make soak``.

Clients cancel requests, Envoy's connections to the sidecar break within a frame, peers at the
sidecar's own ports break every rule and take every connection, the policy is reloaded repeatedly,
and Zervi rotates its key. Meanwhile every answer must be right, probes must be answered, no denied
request may reach the Basic Server, and memory must not grow. Afterwards the sidecar must hold no
more streams, tasks, connections and descriptors than before, and stop immediately on SIGTERM.
With ``--remember 1s`` Envoy remembers allows, and no answer from its memory may be older than that;
users are revoked, and their requests must not pass for longer than the feed and the memory take.
Exits with 1 if one of these is violated.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from bench.processes import MEBIBYTE, free_ports, rss_bytes
from bench.reloads import repeated_reloads
from bench.rounds import progress
from bench.soak_memory import Ages
from bench.soak_peers import hoard, misdeeds, peer, probe
from bench.soak_revocation import POLL_SECONDS, SLACK_SECONDS, Revoker
from bench.soak_traffic import HOST, MARK, Http1, Http2, Kind, Relay, Tally, client
from demo.envoy import Envoy
from demo.minting import SigningKey, expired, forge, sign, user_claims
from demo.ports import Ports
from demo.process import Process
from demo.stack import Setup, Stack, running
from demo.zervi import Zervi
from demo.zervi_revocations import REVOCATIONS_PATH
from sidecar.documents.values import seconds as seconds_of

SECONDS = 600.0
MOST_GROWTH = 3.0  # MiB, after a fifth of the time, when the caches are full
SAMPLE_SECONDS = 0.5
QUIET_SECONDS = 20.0  # in which everything must be released; the sidecar's timeouts are ten
SHOWN = 20  # wrong answers that are printed
END_SECONDS = 1.0  # within which the sidecar must stop

CLIENTS: Sequence[type[Http1 | Http2]] = [*[Http1] * 8, *[Http2] * 2]
PEERS = 8  # at listen.authz; half as many at listen.health
CACHED_TOKENS = 300  # few, so that old ones are evicted soon
ROTATION_SECONDS = 20.0
PUBLISHED_SECONDS = 3.0  # before the key signs: unknown kids use up the on-demand fetches
KEY_SECONDS = 0.4  # delay of Zervi's key set, so that Checks with unknown kids wait

# The unchanged sidecar, except that SIGUSR1 makes it count its objects.
COUNTING = """
import asyncio, gc, json, os, signal, sys
from sidecar.cli import main
from sidecar.extauthz.in_progress import CheckInProgress
from sidecar.transport.h2.protocol import H2Protocol
from sidecar.transport.h2.stream import Stream

def count(*_):
    gc.unfreeze()  # so that objects frozen at a reload are counted
    gc.collect()
    kinds = [type(each) for each in gc.get_objects()]
    counted = (H2Protocol, Stream, CheckInProgress, asyncio.Task)
    held = {kind.__name__: kinds.count(kind) for kind in counted}
    held["descriptors"] = len(os.listdir("/proc/self/fd"))
    os.write(2, json.dumps({"held": held}).encode() + b"\\n")

signal.signal(signal.SIGUSR1, count)
sys.exit(main())
"""


def request_kinds(zervi: Zervi, signers: Sequence[SigningKey]) -> list[Kind]:
    """Return all kinds of requests; the last of ``signers`` signs new tokens."""
    claims, key, serial = user_claims("alice"), zervi.keys[0], count()

    def always(token: str) -> Callable[[], str]:
        return lambda: token

    def new() -> str:
        return sign({**claims, "jti": str(next(serial))}, signers[-1])

    def stray() -> str:
        return sign(claims, key._replace(kid=f"made-up-{next(serial)}"))

    alice, root = always(zervi.token("alice")), always(zervi.token("root"))
    today, service = always(zervi.token("alice", "odd")), always(zervi.service_token("looma"))
    old, forged = always(sign(expired(claims), key)), always(forge(claims, key))
    second = [("authorization", f"Bearer {root()}")]
    large = [(f"x-large-{number}", "x" * 5000) for number in range(8)]
    cluster, report, sync = "/api/cluster/nodes", "/api/reports/2026-11", "/api/sync/users"
    return [
        Kind("cached token", 200, "2", token=alice),
        Kind("another's token", 200, "4", token=root),
        Kind("new token", 200, "2", token=new),
        Kind("today's token", 200, "2", token=today),
        Kind("service's token", 200, "looma", sync, token=service),
        Kind("public route", 200, "", "/api/auth/login"),
        Kind("POST", 200, "2", method="POST", token=alice, body="b" * 10_000),
        Kind("large headers", 200, "2", token=alice, headers=large),
        Kind("POST without token", 401, "token_missing", method="POST", body="b" * 10_000),
        Kind("no token", 401, "token_missing"),
        Kind("not a JWT", 401, "token_malformed", token=lambda: "nonsense"),
        Kind("expired token", 401, "token_expired", token=old),
        Kind("forged token", 401, "token_signature", token=forged),
        Kind("unknown kid", 401, "token_key_unknown", token=stray),
        Kind("two tokens", 401, "multiple_credentials", token=alice, headers=second),
        Kind("no permission", 403, "permission_denied", cluster, token=alice),
        Kind("not the owner", 403, "not_owner", "/api/users/9/orders/1", token=alice),
        Kind("wrong method", 405, "method_not_allowed", report, "DELETE", token=root),
        Kind("a person's token", 403, "wrong_principal_kind", sync, token=root),
        Kind("no route", 403, "no_route", "/nowhere", token=root),
        Kind("malformed path", 400, "malformed_request", "/api/services/a%2541", token=root),
        Kind("long path", 400, "malformed_request", "/api/services/" + ";" * 8000, token=root),
    ]


class Finding(NamedTuple):
    """One observation of a run, and whether it is as required."""

    what: str
    seen: object
    good: bool


@asynccontextmanager
async def world(directory: Path, remember: str = "") -> AsyncIterator[tuple[Stack, Relay, int]]:
    """Run everything, with a relay between Envoy and the sidecar. Raises ProcessError.

    Yields the processes, the relay, and the port of listen.health.
    """
    relayed, keys, health, *rest = free_ports(3 + len(Ports._fields))
    ports = Ports(*rest)
    relay, late = Relay(ports.authz), Relay(ports.zervi, KEY_SECONDS)

    def configure(config: dict[str, Any]) -> None:
        config["listen"]["authz"] = f"{HOST}:{ports.authz}"
        config["listen"]["health"] = f"{HOST}:{health}"
        zervi = config["zervi"]
        zervi["issuers"][0]["jwks_url"] = f"http://{HOST}:{keys}/.well-known/jwks.json"
        zervi["jwks"] = {"cooldown": "1s", "unknown_key_wait": "2s"}
        zervi["token_cache"] = {"max_entries": CACHED_TOKENS}
        config["log"] = {"decisions": "all" if remember else "denied"}
        if remember:
            zervi["revocation"] = {
                "url": f"http://{HOST}:{ports.zervi}{REVOCATIONS_PATH}",
                "issuers": [zervi["issuers"][0]["issuer"]],
                "poll": f"{POLL_SECONDS:g}s",
            }

    setup = Setup(
        configure=configure,
        serve=(sys.executable, "-c", COUNTING, "serve"),
        authz=f"{HOST}:{relayed}",  # for Envoy
        manager={} if remember else {"access_log": []},
        remember=remember,
    )
    async with (
        await asyncio.start_server(relay.serve, HOST, relayed),
        await asyncio.start_server(late.serve, HOST, keys),
        running(ports, directory, setup) as stack,
    ):
        yield stack, relay, health


async def soak(seconds: float, directory: Path, tally: Tally, remember: str = "") -> list[Finding]:
    """Run a sidecar with misbehaving peers for ``seconds``. Raises ProcessError."""
    async with world(directory, remember) as (stack, relay, health):
        ages = Ages(stack.sidecar.stdout, stack.envoy.process.stdout) if remember else None
        signers = stack.zervi.keys.copy()
        asked = request_kinds(stack.zervi, signers)
        envoy, authz, ops = stack.ports.envoy, stack.ports.authz, stack.ports.ops
        bad = misdeeds(stack.zervi)
        revoker = Revoker(envoy, stack.zervi, signers, seconds_of(remember) if remember else 0.0)
        for kind in asked:  # so that everything that is opened only once exists before counting
            reader, writer = await asyncio.open_connection(HOST, envoy)
            await Http1(reader, writer).ask(kind)
            writer.close()
        before = await held_by(stack.sidecar)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(client(envoy, each, asked, tally)) for each in CLIENTS]
                tasks += [group.create_task(peer(authz, bad, tally)) for _ in range(PEERS)]
                tasks += [group.create_task(peer(health, bad, tally)) for _ in range(PEERS // 2)]
                tasks += [group.create_task(hoard(port)) for port in (health, ops)]
                tasks.append(group.create_task(probe(ops, health, tally)))
                tasks.append(group.create_task(relay.cut()))
                tasks.append(group.create_task(rotate(stack.zervi, signers)))
                if ages is not None:
                    tasks.append(group.create_task(revoker.run(tally)))
                async with repeated_reloads(stack.sidecar, stack.directory / "routes.yaml"):
                    memory = await watch(stack, seconds, asked, tally, ages)
                for task in tasks:
                    task.cancel()
        except* ConnectionError:
            stack.sidecar.check_running()  # a better message if it has ended
            raise
        after = await when_quiet(stack.sidecar, before)
        checks, resets, connections = [
            await counted_by(stack.envoy, name) for name in ("rq_total", "rq_tx_reset", "cx_total")
        ]
        begin = time.monotonic()
        code = await stack.sidecar.stop()
        took = time.monotonic() - begin
    if ages is not None:
        ages.read(end=True)
    tenth = len(memory) // 10
    warm, half, end = (statistics.median(memory[n * tenth :][: tenth + 1]) for n in (2, 5, 9))
    mebibytes = f"{warm:.1f} / {half:.1f} / {end:.1f}"
    errors = [line for line in log_of(stack.sidecar) if line.get("level") in {"error", "critical"}]
    kept = [(name, before[name], after[name]) for name in before]
    return [
        Finding("wrong answers", len(tally.wrong), not tally.wrong),
        # Envoy retries unless it has a part of the answer; each cut affects at most one answer.
        Finding("503 of Envoy / cuts", f"{tally.lost} / {relay.cuts}", tally.lost <= relay.cuts),
        Finding("Checks / reset by Envoy", f"{checks:,} / {resets:,}", resets > 0),
        Finding("Envoy's connections to the sidecar", connections, connections > 1),
        Finding("keys that signed", len(signers), len(signers) > seconds // 60),
        Finding("connections of clients", tally.clients, tally.clients > len(CLIENTS)),
        Finding("connections of bad peers", tally.peers, tally.peers > PEERS),
        Finding("probes answered", tally.probes, tally.probes > 0),
        Finding("MiB when warm / half-way / at the end", mebibytes, end - warm < MOST_GROWTH),
        *(Finding(f"{name}: before / after", f"{a} / {b}", b <= a) for name, a, b in kept),
        Finding("errors in its log", errors or 0, not errors),
        *([] if ages is None else remembered(ages, revoker, remember)),
        Finding("exit code / seconds", f"{code} / {took:.2f}", not code and took < END_SECONDS),
    ]


def remembered(ages: Ages, revoker: Revoker, remember: str) -> list[Finding]:
    """Return what was seen of Envoy's memory."""
    most = seconds_of(remember) * 1000
    passed = revoker.longest * 1000
    until = most + (POLL_SECONDS * 1.15 + SLACK_SECONDS) * 1000
    return [
        Finding("answered from memory", f"{ages.remembered:,}", ages.remembered > 0),
        Finding("without the decision that is remembered", ages.unknown, ages.unknown == 0),
        Finding("the oldest in ms", f"{ages.oldest:.0f} of {most:.0f}", ages.oldest <= most),
        Finding("users revoked", revoker.revoked, revoker.revoked > 0),
        Finding("passed after that, in ms", f"{passed:.0f} of {until:.0f}", passed <= until),
    ]


async def watch(
    stack: Stack, seconds: float, asked: Sequence[Kind], tally: Tally, ages: Ages | None = None
) -> list[float]:
    """Sample memory (MiB), check that denied requests do not pass. Raises ProcessError."""
    denied = {kind.name for kind in asked if kind.status != 200}
    arrived = stack.basic_server.received
    memory = []
    begin = time.monotonic()
    while (passed := time.monotonic() - begin) < seconds:
        await asyncio.sleep(SAMPLE_SECONDS)
        stack.sidecar.check_running()
        memory.append(rss_bytes(stack.sidecar.pid) / MEBIBYTE)
        if ages is not None:
            ages.read()
        while arrived:
            names = arrived.popleft().values(MARK)
            tally.wrong += [f"{name}: passed, must be denied" for name in names if name in denied]
        done = f"{passed:.0f} of {seconds:.0f} s, {tally.right.total():,} right"
        progress(f"{done}, {len(tally.wrong)} wrong, {memory[-1]:.1f} MiB")
    progress("")
    return memory


async def rotate(zervi: Zervi, signers: list[SigningKey]) -> None:
    """Make Zervi publish new keys, and sign with each a little later."""
    while True:
        await asyncio.sleep(ROTATION_SECONDS)
        key = await zervi.rotate()
        await asyncio.sleep(PUBLISHED_SECONDS)
        signers.append(key)


async def when_quiet(sidecar: Process, before: Mapping[str, int]) -> Mapping[str, int]:
    """Count the sidecar's objects until they are as few as before, or the time is over."""
    end = time.monotonic() + QUIET_SECONDS
    while True:
        now = await held_by(sidecar)
        if all(now[name] <= before[name] for name in before) or time.monotonic() > end:
            return now
        await asyncio.sleep(SAMPLE_SECONDS)


async def held_by(sidecar: Process) -> Mapping[str, int]:
    """Return the sidecar's counts of its objects."""

    def counted() -> list[Mapping[str, int]]:
        return [line["held"] for line in log_of(sidecar) if "held" in line]

    before = len(counted())
    sidecar.signal(signal.SIGUSR1)
    async with asyncio.timeout(QUIET_SECONDS):
        while len(counts := counted()) == before:  # noqa: ASYNC110 -- another process
            await asyncio.sleep(0.05)
    return counts[-1]


def log_of(sidecar: Process) -> Iterator[dict[str, Any]]:
    """Read the log; other output, such as a traceback, is an error."""
    for line in sidecar.stderr.read_text().splitlines(keepends=True):
        try:
            yield json.loads(line)
        except ValueError:
            if line.endswith("\n"):  # otherwise the line is incomplete
                yield {"level": "error", "message": line}


async def counted_by(envoy: Envoy, name: str) -> int:
    """Return one of Envoy's counters about the sidecar."""
    counter = f"cluster.authz.upstream_{name}"
    return int((await envoy.admin(f"/stats?filter=^{counter}$")).removeprefix(f"{counter}: "))


def report(findings: Sequence[Finding], tally: Tally) -> None:
    """Print the results."""
    console = Console(width=100)
    table = Table("request", "right answers", "cancelled")
    for name in sorted(tally.right):
        table.add_row(name, f"{tally.right[name]:,}", f"{tally.cancelled[name]:,}")
    console.print(table)
    table = Table("", "seen", "")
    for what, seen, good in findings:
        table.add_row(what, str(seen), "" if good else "[bold red]wrong[/]")
    console.print(table)
    for line in tally.wrong[:SHOWN]:
        console.print(line, markup=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak test; return 1 if an observation is not as required."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.soak",
        description=__doc__,
        epilog="example: python -m bench.soak --seconds 60",
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help="duration")
    parser.add_argument("--remember", default="", help="let Envoy remember allows, such as 1s")
    options = parser.parse_args(arguments)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="zervi-soak-") as directory:
        findings = asyncio.run(soak(options.seconds, Path(directory), tally, options.remember))
    report(findings, tally)
    return 0 if all(finding.good for finding in findings) else 1


if __name__ == "__main__":
    sys.exit(main())
