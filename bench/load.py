"""Load generators and their results.

wrk sends requests through Envoy, h2load calls a sidecar directly. Where h2load is not installed,
grpcio's client does, which is slower than the server that it measures.
"""

import asyncio
import shutil
import statistics
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench.processes import run

CHECK = "/envoy.service.auth.v3.Authorization/Check"
SCRIPT = Path(__file__).with_name("load.lua")
DEBIAN_PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client"}
GRACE_SECONDS = 20.0  # beyond the expected time of a load; then it is killed


class LoadError(Exception):
    """Requests failed or got unexpected answers."""


class Load(NamedTuple):
    """The result of a load; latencies are seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def missing() -> list[str]:
    """Return the Debian packages of the programs that are not installed."""
    return [package for program, package in DEBIAN_PACKAGES.items() if not shutil.which(program)]


async def through_envoy(
    url: str, tokens: Path, connections: int, seconds: float, *, allowed: bool
) -> Load:
    """Request ``url`` over HTTP/1.1, with each token in turn. Raises LoadError.

    ``allowed``: whether every request must be allowed, or every request denied.
    """
    command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s"]
    output = await run(
        [*command, "-s", str(SCRIPT), url, "--", str(tokens)], within=seconds + GRACE_SECONDS
    )
    result = next(line for line in output.splitlines() if line.startswith("RESULT"))
    requests, duration, p50, p99, refused, failed = map(int, result.split()[1:])
    if failed or not requests or refused != (0 if allowed else requests):
        raise LoadError(f"{url}: of {requests} requests {refused} were refused, {failed} failed")
    return Load(requests, duration / 1e6, p50 / 1e6, p99 / 1e6)


async def direct(address: str, message: bytes, in_flight: int, requests: int) -> Load:
    """Make unary calls over one connection, like one worker of Envoy. Raises LoadError."""
    if shutil.which("h2load"):
        return await _h2load(address, message, in_flight, requests)
    return await _grpcio(address, message, in_flight, requests)


async def _h2load(address: str, message: bytes, in_flight: int, requests: int) -> Load:
    with tempfile.TemporaryDirectory() as directory:
        body, log = Path(directory, "message"), Path(directory, "log")
        _write_call(body, message)
        command = ["h2load", "-t1", "-c1", f"-m{in_flight}", f"-n{requests}"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        command += ["-d", str(body), f"--log-file={log}", f"http://{address}{CHECK}"]
        await run(command, within=requests / 100 + GRACE_SECONDS)
        return read_log(log, requests)


def _write_call(body: Path, message: bytes) -> None:
    body.write_bytes(struct.pack(">BI", 0, len(message)) + message)


def read_log(log: Path, requests: int) -> Load:
    """Read h2load's log: one line per call, with its start, status and duration (µs)."""
    lines = [line.split("\t") for line in log.read_text().splitlines()]
    if len(lines) != requests or any(status != "200" for _, status, _ in lines):
        raise LoadError(f"some of {requests} calls failed")
    begun = [int(start) for start, _, _ in lines]
    took = [int(micros) for _, _, micros in lines]
    ended = max(start + micros for start, micros in zip(begun, took, strict=True))
    p50, p99 = percentiles([micros / 1e6 for micros in took])
    return Load(requests, (ended - min(begun)) / 1e6, p50, p99)


async def _grpcio(address: str, message: bytes, in_flight: int, requests: int) -> Load:
    from grpc import aio

    left, took = requests, []
    async with aio.insecure_channel(address) as channel:
        call = channel.unary_unary(CHECK, bytes, bytes)

        async def caller() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                start = time.perf_counter()
                await call(message)
                took.append(time.perf_counter() - start)

        start = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(in_flight)))
        seconds = time.perf_counter() - start
    return Load(requests, seconds, *percentiles(took))


def percentiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the median and the 99th percentile."""
    cuts = statistics.quantiles(values, n=100)
    return cuts[49], cuts[98]


async def ask(address: str, message: bytes) -> bytes:
    """Make one call and return its answer."""
    from grpc import aio

    async with aio.insecure_channel(address) as channel:
        answer: bytes = await channel.unary_unary(CHECK, bytes, bytes)(message, timeout=10)
        return answer
