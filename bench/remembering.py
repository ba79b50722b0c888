"""Envoy remembers allows: beside asking each time, and beside Envoy's own filters."""

import asyncio

from bench import envoys, load
from bench.processes import MEBIBYTE, rss_bytes
from bench.rounds import Contestant, Row, compare
from bench.sidecars import Kind
from bench.world import World
from demo.envoy import Envoy
from demo.minting import jwks

SECTION = "remember"
KIND = Kind("h2")
REMEMBERS = envoys.remembering_name(KIND.name)
MIXED = "a tenth new"
CONNECTIONS = (1, 16, 64)

# Requests, of which each tenth has a path that does not come again within the memory's second.
MIXED_REQUESTS = 40_000

# Requests that do not come again within the memory's second, beside a client that repeats one.
FLOODED = "beside a flood of new requests"
FLOOD_REQUESTS = 20_000
FLOOD_CONNECTIONS, BESIDE_CONNECTIONS = 16, 4
MOST_GROWTH = 32.0  # MiB of Envoy: twice what it may remember, since Lua collects garbage later


def flooded_name(name: str) -> str:
    """Return the name of the figures of a client that repeats a request beside the flood."""
    return f"{name}, {FLOODED}"


def mixed_name(name: str) -> str:
    """Return the name of a contestant's figures under the mixed load."""
    return f"{name}, {MIXED}"


async def remember(world: World) -> list[Row]:
    """Compare an Envoy that remembers with one that asks, and with Envoy's cached filters.

    Raises LoadError, also if a flood makes Envoy grow by more than ``MOST_GROWTH``.
    """
    token = world.token()
    one = world.file("remembered", [token])
    lines = [f"{token} /{n}" if n % 10 == 0 else token for n in range(MIXED_REQUESTS)]
    mixed = world.file("mixed", lines)
    flood = world.file("flood", [f"{token} /{n}/{'x' * 400}" for n in range(FLOOD_REQUESTS)])
    names = (envoys.NATIVE_CACHED, KIND.name, REMEMBERS)
    async with world.sidecars(KIND) as (sidecar,):
        loaded, urls = envoys.comparison({KIND.name: sidecar}, jwks(world.key), remembering=True)
        running_envoy = await Envoy.start(loaded, world.directory)
        pids = {"envoy": running_envoy.process.pid, "sidecar": sidecar.pid}

        def contestant(name: str, connections: int, *, is_mixed: bool = False) -> Contestant:
            async def run(seconds: float) -> load.Load:
                file = mixed if is_mixed else one
                return await load.through_envoy(
                    urls[name], file, connections, seconds, allowed=True
                )

            return Contestant(mixed_name(name) if is_mixed else name, connections, run, pids)

        def flooded(name: str) -> Contestant:
            async def run(seconds: float) -> load.Load:
                loads = [(one, BESIDE_CONNECTIONS), (flood, FLOOD_CONNECTIONS)]
                beside, _ = await asyncio.gather(
                    *(
                        load.through_envoy(urls[name], file, connections, seconds, allowed=True)
                        for file, connections in loads
                    )
                )
                return beside

            return Contestant(flooded_name(name), BESIDE_CONNECTIONS, run, {})

        contestants = [contestant(name, number) for number in CONNECTIONS for name in names]
        contestants += [
            contestant(name, number, is_mixed=True) for number in CONNECTIONS[1:] for name in names
        ]
        floods = [flooded(name) for name in names]
        try:
            rows = await compare(SECTION, contestants, world.plan.finer())
            before = rss_bytes(running_envoy.process.pid)
            rows += await compare(SECTION, floods, world.plan)
            grown = (rss_bytes(running_envoy.process.pid) - before) / MEBIBYTE
            if grown > MOST_GROWTH:
                raise load.LoadError(f"a flood of new requests made Envoy grow by {grown:.0f} MiB")
            return rows
        finally:
            await running_envoy.stop()
