"""What the look-ups of permissions of 10,000 nodes cost Zervi, on a simulated clock.

A sample of the nodes is simulated, each with the product's own ``Asking``; nodes do not know of
each other, so the fleet's load is the sample's times the same factor in each second.
"""

import asyncio
from random import Random

from bench.fleet_report import Phase
from sidecar.core.tokens.lookups import Granted
from sidecar.zervi.asking import Asking, Found, Pace
from sidecar.zervi.interface import FetchError

SAMPLE = 5  # nodes
USERS = 1000  # active ones of each node
EVERY = 10.0  # seconds between two requests of one user, on average
TTL = 60.0  # zervi.permissions.ttl
MAX_STALE = 600.0  # zervi.permissions.max_stale
LATENCY = 0.01  # seconds of Zervi's answer

PHASES = (
    Phase("all start within 5 minutes", 0, 300),
    Phase("steady", 300, 600),
    Phase("dead for 5 minutes", 600, 900),
    Phase("back", 900, 1200),
)


class SimulatedPermissions:
    """Zervi's permissions; ``count`` is called for each question."""

    where = "the simulation"

    def __init__(self, seconds: int, factor: int) -> None:
        self.alive = True
        self.by_kind = {"permissions": [0] * seconds}
        self._factor = factor

    async def find(self, key: str, token: bytes) -> Found:  # noqa: ARG002 -- a protocol's method
        """Answer, or refuse the connection."""
        second = int(asyncio.get_running_loop().time())
        self.by_kind["permissions"][second] += self._factor
        if not self.alive:
            raise FetchError("Connection refused", "")
        await asyncio.sleep(LATENCY)
        return Found(Granted(("data:read",)))


async def node(zervi: SimulatedPermissions, random: Random, end: float) -> None:
    """Serve the requests of one node's users until the end, as the Check service asks."""
    loop = asyncio.get_running_loop()
    asking: Asking[str] = Asking(
        "permissions",
        zervi,
        Pace(TTL, MAX_STALE),
        on_result=lambda *_: None,
        clock=loop.time,
        random=random,
    )
    while loop.time() < end:
        user = str(random.randrange(USERS))
        answer = asking.get(user)
        if answer is None or loop.time() >= answer.fresh_until:
            asking.ask(user)
        await asyncio.sleep(random.expovariate(USERS / EVERY))
    await asking.close()


async def story(zervi: SimulatedPermissions, seed: int) -> None:
    """Start the sample's nodes one after the other, then stop Zervi once."""
    random = Random(seed)
    start, _, dead, back = PHASES
    end = back.end - 0.001
    loop = asyncio.get_running_loop()
    nodes = []
    for number in range(SAMPLE):
        await asyncio.sleep(number * start.end / SAMPLE - loop.time())
        nodes.append(asyncio.create_task(node(zervi, Random(random.random()), end)))
    await asyncio.sleep(dead.begin - loop.time())
    zervi.alive = False
    await asyncio.sleep(back.begin - loop.time())
    zervi.alive = True
    await asyncio.gather(*nodes)
