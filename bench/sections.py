"""The measurements, one function per section."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench import crowd, envoys, golang, instances, load
from bench.disturbances import flood, reload
from bench.processes import MEBIBYTE, cpu_seconds, free_ports, rss_bytes
from bench.remembering import remember
from bench.rounds import Contestant, Row, Spread, compare, progress
from bench.sidecars import ALLOWED, FORBIDDEN, Kind, Sidecar, expect, message
from bench.world import World
from demo.envoy import Envoy
from demo.looma import start_looma
from demo.minting import jwks

GRPCIO, H2 = Kind("grpcio", "grpcio"), Kind("h2")
BOTH = (GRPCIO, H2)
TABLES = (10, 1_000, 10_000)
MANY_ROUTES = Kind("h2, 10,000 routes", routes=TABLES[-1])
REPEATED, CACHED, NEW = "repeated request", "cached token, new path", "new token each time"
DENIED = NO_TOKEN, NO_PERMISSION, UNKNOWN_KID = (
    "denied: no token",
    "denied: permission",
    "denied: unknown kid",
)
NO_GATEWAY, GATEWAY = "no gateway", f"gateway, {instances.INSTANCES:,} instances"
NO_TRACES, TRACES = "no tracing", "tracing of 1 %"
NO_SHADOW, SHADOWS = "no shadow", (10, 100)
FEW_CACHED, NEW_TOKENS = 100, 1_000  # used in turn, so none is still in the cache
FEW_IN_FLIGHT = 2
CONNECTIONS = 16  # for comparisons through Envoy
EXPECTED_RATE = {"grpcio": 2_000, "h2": 15_000}  # per second, to choose the length of a direct load


@dataclass(frozen=True)
class Footprint:
    """A sidecar's memory in MiB, and the seconds from start to ready.

    ``ready_cpu`` is the CPU time of the start, which depends least on other load.
    """

    name: str
    idle: Spread
    loaded: Spread
    ready: Spread
    ready_cpu: Spread


async def start(world: World) -> list[Footprint]:
    """Measure memory when ready and after a load, and time from start to ready."""
    async with instances.registry() as registry:
        kinds: list[Kind] = [*BOTH, MANY_ROUTES, Kind(GATEWAY, looma=registry, gateway=True)]
        if world.before is not None:
            kinds += [before(H2, world.before), before(MANY_ROUTES, world.before)]
        return await _footprints(world, kinds)


async def _footprints(world: World, kinds: Sequence[Kind]) -> list[Footprint]:
    question = message(world.token())
    found: list[list[tuple[float, ...]]] = [[] for _ in kinds]
    # The first round only compiles: the next ones find the bytecode, if Python may write it.
    for number in range(world.plan.rounds + 1):
        progress(f"start: round {number} of {world.plan.rounds}")
        for kind, rounds in zip(kinds, found, strict=True):
            async with world.sidecars(kind) as (sidecar,):
                ready_cpu = cpu_seconds(sidecar.pid)
                idle = rss_bytes(sidecar.pid) / MEBIBYTE
                await expect(sidecar, question, "ok")
                await load.direct(sidecar.address, question, 64, EXPECTED_RATE[kind.transport])
                loaded = rss_bytes(sidecar.pid) / MEBIBYTE
                rounds.append((idle, loaded, sidecar.ready_seconds, ready_cpu))
    progress("")
    return [
        Footprint(kind.name, *map(Spread.of, zip(*rounds[1:], strict=True)))
        for kind, rounds in zip(kinds, found, strict=True)
    ]


async def transports(world: World) -> list[Row]:
    """Call both transports directly, over one connection as Envoy does."""
    question = message(world.token())
    async with world.sidecars(*BOTH) as sidecars:
        for sidecar in sidecars:
            await expect(sidecar, question, "ok")
        contestants = [
            _direct(sidecar, sidecar.kind.name, question, in_flight)
            for in_flight in (1, 64)
            for sidecar in sidecars
        ]
        return await compare("direct", contestants, world.plan)


async def envoy(world: World) -> list[Row]:
    """Compare both transports behind a real Envoy with Envoy without ext_authz and its own filters.

    Also with a Go server with an empty handler, if Go is installed.
    """
    tokens = world.file("one-token", [world.token()])
    async with world.sidecars(*BOTH) as sidecars, golang.running(world.directory) as go:
        by_name: dict[str, envoys.Server] = {sidecar.kind.name: sidecar for sidecar in sidecars}
        if go is not None:
            by_name[golang.NAME] = go
        loaded, urls = envoys.comparison(by_name, jwks(world.key))
        running_envoy = await Envoy.start(loaded, world.directory)
        try:
            contestants = [
                _through(running_envoy, name, url, tokens, connections, by_name.get(name))
                for connections in (1, CONNECTIONS, 64)
                for name, url in urls.items()
            ]
            return await compare("through Envoy", contestants, world.plan)
        finally:
            await running_envoy.stop()


async def tokens(world: World) -> list[Row]:
    """Compare repeated requests, new paths, new tokens and denied requests."""
    progress("signing tokens")
    new = [world.token(number) for number in range(NEW_TOKENS)]
    one, many = world.file("one", new[:1]), world.file("many", new)
    paths, nothing = world.paths(), world.file("none", [""])
    strangers = world.file("strangers", [crowd.made_up(new[0], n) for n in range(NEW_TOKENS)])
    few = Kind("h2-few-cached", cached_tokens=FEW_CACHED)
    async with world.sidecars(H2, few) as (sidecar, forgetful):
        by_name = {"h2": sidecar, "h2-few-cached": forgetful}
        loaded, urls = envoys.comparison(by_name, b"", natives=False)
        running_envoy = await Envoy.start(loaded, world.directory)
        url, forgetful_url = urls["h2"], urls["h2-few-cached"]
        cases = (
            (REPEATED, url, one, sidecar, True),
            (CACHED, url, paths, sidecar, True),
            (NEW, forgetful_url, many, forgetful, True),
            (NO_TOKEN, url, nothing, sidecar, False),
            (NO_PERMISSION, url.replace(ALLOWED, FORBIDDEN), one, sidecar, False),
            (UNKNOWN_KID, url, strangers, sidecar, False),
        )
        try:
            contestants = [
                _through(running_envoy, name, where, file, CONNECTIONS, asked, allowed=allowed)
                for name, where, file, asked, allowed in cases
            ]
            return await compare("tokens", contestants, world.plan)
        finally:
            await running_envoy.stop()


def before_name(name: str) -> str:
    """Return the name of an earlier commit's figures."""
    return f"{name}, before"


def before(kind: Kind, tree: Path) -> Kind:
    """Return the same kind of sidecar from an earlier commit."""
    return replace(kind, name=before_name(kind.name), tree=tree)


async def against(world: World) -> list[Row]:
    """Compare a sidecar of an earlier commit with this one under the same load."""
    if world.before is None:
        return []
    tokens = [world.token(number) for number in range(NEW_TOKENS)]
    one, many, paths = world.file("one", tokens[:1]), world.file("many", tokens), world.paths()
    few = Kind("h2, few cached", cached_tokens=FEW_CACHED)
    kinds = (H2, few, before(H2, world.before), before(few, world.before))
    async with world.sidecars(*kinds) as sidecars:
        by_name = {sidecar.kind.name: sidecar for sidecar in sidecars}
        loaded, urls = envoys.comparison(by_name, b"", natives=False)
        running_envoy = await Envoy.start(loaded, world.directory)
        now, now_few, then, then_few = by_name
        cases = (
            (REPEATED, now, one),
            (before_name(REPEATED), then, one),
            (CACHED, now, paths),
            (before_name(CACHED), then, paths),
            (NEW, now_few, many),
            (before_name(NEW), then_few, many),
        )
        try:
            contestants = [
                _through(running_envoy, name, urls[asked], file, CONNECTIONS, by_name[asked])
                for name, asked, file in cases
            ]
            return await compare("against", contestants, world.plan.finer())
        finally:
            await running_envoy.stop()


async def routes(world: World) -> list[Row]:
    """Request new paths from sidecars with 10, 1,000 and 10,000 routes."""
    kinds = [Kind(f"{number:,} routes", routes=number) for number in TABLES]
    return await _new_paths("routes", world, kinds)


async def shadow(world: World) -> list[Row]:
    """Compare none, some or all checks with a candidate policy of the same routes."""
    kinds = [Kind(NO_SHADOW)]
    kinds += [Kind(f"shadow of {percent} %", shadow=percent) for percent in SHADOWS]
    return await _new_paths("shadow", world, kinds)


async def traces(world: World) -> list[Row]:
    """Repeat a request behind an Envoy that traces 1 %: with spans of the sidecar, and without."""
    one = world.file("one", [world.token()])
    collector = await asyncio.start_server(_take_all, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{collector.sockets[0].getsockname()[1]}"
    kinds = (Kind(NO_TRACES), Kind(TRACES, collector=url))
    async with collector, world.sidecars(*kinds) as sidecars:
        by_name = {sidecar.kind.name: sidecar for sidecar in sidecars}
        loaded, urls = envoys.comparison(by_name, b"", natives=False, collector=url)
        running_envoy = await Envoy.start(loaded, world.directory)
        try:
            contestants = [
                _through(running_envoy, name, urls[name], one, CONNECTIONS, sidecar)
                for name, sidecar in by_name.items()
            ]
            return await compare("traces", contestants, world.plan)
        finally:
            await running_envoy.stop()


async def gateway(world: World) -> list[Row]:
    """Request new paths of many users, who are placed among many instances, or not at all.

    Both sidecars report to the registry and probe an upstream, so that only the gateway differs.
    """
    async with instances.registry() as registry:
        kinds = (Kind(NO_GATEWAY, looma=registry), Kind(GATEWAY, looma=registry, gateway=True))
        return await _new_paths("gateway", world, kinds, world.users())


async def _new_paths(
    section: str, world: World, kinds: Sequence[Kind], paths: Path | None = None
) -> list[Row]:
    paths = paths or world.paths()
    async with world.sidecars(*kinds) as sidecars:
        by_name = {sidecar.kind.name: sidecar for sidecar in sidecars}
        loaded, urls = envoys.comparison(by_name, b"", natives=False)
        running_envoy = await Envoy.start(loaded, world.directory)
        try:
            contestants = [
                _through(running_envoy, name, urls[name], paths, CONNECTIONS, sidecar)
                for name, sidecar in by_name.items()
            ]
            return await compare(section, contestants, world.plan)
        finally:
            await running_envoy.stop()


async def looma(world: World) -> list[Row]:
    """Measure with a registry that answers, refuses connections, or accepts and never answers.

    Only a few calls are in flight, because waiting in a full queue would dominate the p99.
    """
    question = message(world.token())
    async with AsyncExitStack() as stack:
        registry = await start_looma(0)
        stack.push_async_callback(registry.stop)
        silent = await asyncio.start_server(_never_answer, "127.0.0.1", 0)
        stack.callback(silent.close)
        (refused,) = free_ports(1)
        port = silent.sockets[0].getsockname()[1]
        kinds = (
            Kind("no registry"),
            Kind("Looma answers", looma=registry.url.removeprefix("http://")),
            Kind("Looma refuses", looma=f"127.0.0.1:{refused}"),
            Kind("Looma never answers", looma=f"127.0.0.1:{port}"),
        )
        sidecars = await stack.enter_async_context(world.sidecars(*kinds))
        contestants = [_direct(each, each.kind.name, question, FEW_IN_FLIGHT) for each in sidecars]
        return await compare("Looma", contestants, world.plan)


async def _take_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer each request of a connection with 200, as a collector that takes all spans."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"content-length:")[2].partition(b"\r")[0]
            await reader.readexactly(int(length or b"0"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    writer.close()


async def _never_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


def _direct(sidecar: Sidecar, name: str, question: bytes, in_flight: int) -> Contestant:
    rate = EXPECTED_RATE[sidecar.kind.transport] // (3 if in_flight <= FEW_IN_FLIGHT else 1)

    async def run(seconds: float) -> load.Load:
        requests = max(200, round(rate * seconds))
        return await load.direct(sidecar.address, question, in_flight, requests)

    return Contestant(name, in_flight, run, {"sidecar": sidecar.pid})


def _through(
    running_envoy: Envoy,
    name: str,
    url: str,
    file: Path,
    connections: int,
    server: envoys.Server | None,
    *,
    allowed: bool = True,
) -> Contestant:
    async def run(seconds: float) -> load.Load:
        return await load.through_envoy(url, file, connections, seconds, allowed=allowed)

    pids = {"envoy": running_envoy.process.pid}
    if server is not None:
        pids["sidecar"] = server.pid
    return Contestant(name, connections, run, pids)


SECTIONS: Mapping[str, Callable[[World], Awaitable[list[Row]]]] = {
    "transports": transports,
    "envoy": envoy,
    "tokens": tokens,
    "against": against,
    "routes": routes,
    "shadow": shadow,
    "traces": traces,
    "gateway": gateway,
    "looma": looma,
    "flood": flood,
    "reload": reload,
    "remember": remember,
}
_THROUGH_ENVOY = (
    *("envoy", "tokens", "against", "routes", "shadow", "traces", "gateway", "remember"),
)


def possible(section: str) -> bool:
    """Return whether a section can be measured here; print why not."""
    if section in _THROUGH_ENVOY and shutil.which("wrk") is None:
        print(f"section {section}: skipped: wrk is not installed")
        return False
    return True
