"""Paced requests through Envoy, while something disturbs the sidecar: a flood, or reloads."""

from functools import partial
from itertools import count, repeat

from bench import crowd, envoys, load, reloads
from bench.rounds import Contestant, Row, compare
from bench.sidecars import Kind, running
from bench.world import World
from demo.envoy import Envoy
from demo.minting import jwks


async def flood(world: World) -> list[Row]:
    """Send paced requests through Envoy: only these, with other valid ones, with unknown kids."""
    good, keys = world.token(), crowd.KeyServer(jwks(world.key))
    crowds = {
        crowd.NONE: None,
        crowd.GOOD: crowd.Crowd(repeat(good), crowd.PASSED),
        crowd.MADE_UP: crowd.Crowd(map(partial(crowd.made_up, good), count()), crowd.REFUSED),
    }
    kind, plan = Kind("h2"), world.plan._replace(seconds=crowd.LASTS * world.plan.seconds)
    async with keys.serving(), running(kind, keys.url, world.directory) as sidecar:
        loaded, urls = envoys.comparison({kind.name: sidecar}, b"", natives=False)
        running_envoy = await Envoy.start(loaded, world.directory)
        pids = {"envoy": running_envoy.process.pid, "sidecar": sidecar.pid}
        run = partial(crowd.load, urls[kind.name], good, world.directory)
        try:
            contestants = [
                Contestant(name, crowd.CONNECTIONS, partial(run, beside), pids)
                for name, beside in crowds.items()
            ]
            rows = await compare("flood", contestants, plan)
        finally:
            await running_envoy.stop()
    keys.check()
    return rows


async def reload(world: World) -> list[Row]:
    """Send paced requests through Envoy, without and with reloads of a large policy."""
    kind, good = Kind("reloaded", routes=reloads.ROUTES), world.token()
    plan = world.plan._replace(seconds=crowd.LASTS * world.plan.seconds)
    async with world.sidecars(kind) as (sidecar,):
        loaded, urls = envoys.comparison({kind.name: sidecar}, b"", natives=False)
        running_envoy = await Envoy.start(loaded, world.directory)
        at_rest = partial(crowd.load, urls[kind.name], good, world.directory, None)

        async def reloading(seconds: float) -> load.Load:
            policy = world.directory / f"{kind.name}-routes.yaml"
            async with reloads.repeated_reloads(sidecar.process, policy):
                return await at_rest(seconds)

        try:
            contestants = [
                Contestant(reloads.AT_REST, crowd.CONNECTIONS, at_rest, {"sidecar": sidecar.pid}),
                Contestant(
                    reloads.RELOADING, crowd.CONNECTIONS, reloading, {"sidecar": sidecar.pid}
                ),
            ]
            return await compare("reload", contestants, plan)
        finally:
            await running_envoy.stop()
