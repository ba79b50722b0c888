"""Ten thousand nodes on a simulated clock: the load on their registry and on Zervi.

Reporters, key-set refreshers, look-ups and the readers of ten gateways are the product's own code;
only the clock and the sockets are replaced. ``make fleet`` runs it, prints tables and draws
``docs/fleet.png``.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any
from unittest.mock import patch

from bench.fleet_look_ups import PHASES as PERMISSION_PHASES
from bench.fleet_look_ups import SAMPLE, USERS, SimulatedPermissions
from bench.fleet_look_ups import TTL as PERMISSIONS_TTL
from bench.fleet_look_ups import story as permissions_story
from bench.fleet_report import Phase, Story, draw, show
from bench.virtual_time import VirtualTimeLoop
from demo.minting import jwks, new_key
from sidecar.core.tokens.revocations import Entries
from sidecar.looma.answers import Answer, Caller
from sidecar.looma.directory.client import RegistryClient
from sidecar.looma.directory.listing import PollError
from sidecar.looma.directory.members import Admission
from sidecar.looma.directory.membership import INTERVAL, Membership
from sidecar.looma.directory.reader import Reader
from sidecar.looma.http import HttpRegistry, Paths
from sidecar.looma.identity import Service
from sidecar.looma.registry import Failed
from sidecar.looma.report import NodeState
from sidecar.looma.reporter import Events, Reporter, ReporterSettings
from sidecar.upstream.state import UpstreamState
from sidecar.zervi.interface import Fetched, FetchError, RefreshSettings
from sidecar.zervi.key_log import KeyLog
from sidecar.zervi.refresher import Refresher
from sidecar.zervi.revocation import follower as following
from sidecar.zervi.revocation.follower import Follower
from sidecar.zervi.revocation.interface import FeedSettings, FeedSource

NODES = 10_000
GATEWAYS = 10  # each asks for the membership and for the allocations
GATEWAY_CALLS = 2 * GATEWAYS / INTERVAL  # per second
HEARTBEAT = 30.0  # looma.heartbeat
REFRESH = 300.0  # zervi.jwks.refresh
TTL = 300.0
EPOCH = 1_800_000_000.0
SEED = 20_261_121  # the same numbers each time
PICTURE = Path(__file__).parents[1] / "docs" / "fleet.png"

# Looma: the worst case in each phase.
LOOMA_PHASES = (
    Phase("all start in one second", 0, 120),
    Phase("steady", 120, 420),
    Phase("dead for 5 minutes", 420, 720),
    Phase("back, all nodes expired", 720, 1020),
    Phase("dead for 1 minute", 1020, 1080),
    Phase("back, its memory lost", 1080, 1380),
)

# Zervi. A sidecar without keys cannot verify a token, so it fetches keys as soon as it starts.
ZERVI_PHASES = (
    Phase("all start within 5 minutes", 0, 300),
    Phase("steady", 300, 900),
    Phase("dead for 5 minutes", 900, 1200),
    Phase("back", 1200, 1800),
)

# Zervi's feed of revoked tokens. Each poll is a request of its own, over HTTP.
POLL = 5.0  # zervi.revocation.poll
FEED_PHASES = (
    Phase("all start in one second", 0, 30),
    Phase("steady", 30, 90),
    Phase("a logout", 90, 120),
    Phase("dead for 1 minute", 120, 180),
    Phase("back", 180, 240),
)


class Traffic:
    """A server without a socket that counts its requests by kind and second."""

    def __init__(self, seconds: int) -> None:
        self.alive = True
        self.by_kind: dict[str, list[int]] = {}
        self._seconds = seconds

    def count(self, kind: str) -> None:
        """Count one request now."""
        second = int(asyncio.get_running_loop().time())
        self.by_kind.setdefault(kind, [0] * self._seconds)[second] += 1


class SimulatedLooma(Traffic):
    """Looma's cluster API with a TTL."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.heard_at: dict[str, float] = {}
        self._paced = json.dumps({"success": True, "ttl_seconds": TTL}).encode()

    async def __call__(
        self,
        method: str,  # noqa: ARG002 -- the interface of a caller
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,  # noqa: ARG002 -- as above
    ) -> Answer | Failed:
        """Answer a call of a reporter."""
        operation = url.split("/")[4]
        self.count(operation)
        if not self.alive:
            return Failed("Connection refused")
        now = asyncio.get_running_loop().time()
        service_id = body["service_id"] if operation == "register" else url.rpartition("/")[2]
        silent = now - self.heard_at.get(service_id, -TTL - 1)
        if operation == "heartbeat" and silent > TTL:
            return Answer(404)
        self.heard_at[service_id] = now
        return Answer(200, self._paced)


class SimulatedClient(RegistryClient):
    """A gateway's calls to Looma, where nothing has changed; a fleet's changes are few."""

    def __init__(self, looma: SimulatedLooma) -> None:
        self._looma = looma

    @asynccontextmanager
    async def send(self, *_: object) -> AsyncIterator[Any]:
        """Answer a call of a gateway."""
        self._looma.count("membership")
        if not self._looma.alive:
            raise PollError("Connection refused")
        yield NotModified()


class NotModified:
    """An answer with status 304."""

    status = 304


class SimulatedZervi(Traffic):
    """Zervi's key set."""

    where = "the simulation"

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self._document = jwks(new_key("fleet", "ES256"))

    async def fetch(self, validator: str | None) -> Fetched:
        """Answer a fetch of a refresher."""
        self.count("jwks")
        if not self.alive:
            raise FetchError("Connection refused", "")
        return Fetched(None if validator == '"1"' else self._document, '"1"')


class SimulatedFeed(Traffic):
    """Zervi's feed; ``entries`` is how many it has. A page with entries is followed by another."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.entries = 0

    def of_node(self, *_: object) -> "NodesFeed":
        """Return what one node reads."""
        return NodesFeed(self)


class NodesFeed:
    """One node's reading of the feed."""

    where = "the simulation"
    cursor: str | None = None

    def __init__(self, server: SimulatedFeed) -> None:
        self._server = server
        self._read = 0

    async def read(self, *_: object, whole: bool) -> None:  # noqa: ARG002 -- as HttpFeed's
        """Read to an empty page."""
        self._server.count("revocations")
        if not self._server.alive:
            raise FetchError("Connection refused", "")
        if self._read < self._server.entries:
            self._read = self._server.entries
            self._server.count("revocations")

    async def follow(self, _: object) -> None:
        """Get no messages."""

    async def close(self) -> None:
        """Do nothing."""


def epoch_now() -> float:
    """Return the simulated time of day."""
    return EPOCH + asyncio.get_running_loop().time()


def start_reporter(number: int, looma: Caller, random: Random) -> Reporter:
    """Start one node's reporter, configured as in the sidecar."""
    service = Service(f"node-{number}", "basic-server", "basic-server", "10.0.0.1", 10000)
    state = NodeState("sha256:0", 1, 1.0, ready=True)
    reporter = Reporter(
        ReporterSettings(service, "fleet", HEARTBEAT),
        HttpRegistry("http://looma:8888", Paths(), service.id, looma),
        lambda: state,
        Events(lambda *_: None, lambda _: None),
        random=random,
        clock=epoch_now,
    )
    reporter.start()
    reporter.upstream(UpstreamState.HEALTHY)
    return reporter


def start_gateway(looma: SimulatedLooma, random: Random) -> asyncio.Task[None]:
    """Start one gateway's reader of the directory, configured as in the sidecar."""
    members = Membership("http://looma:8888", Admission(()), SimulatedClient(looma))
    reader = Reader(members, lambda _: None, lambda _: None, random)
    return asyncio.create_task(reader.run())


def looma_steady(nodes: int) -> float:
    """Return the requests per second at Looma when nothing happens."""
    return nodes / HEARTBEAT + GATEWAY_CALLS


def start_refresher(zervi: SimulatedZervi, random: Random) -> Refresher:
    """Start one node's key-set refresher, configured as in the sidecar."""
    refresher = Refresher(
        zervi,
        frozenset({"ES256"}),
        RefreshSettings(refresh=REFRESH),
        on_keys=lambda _: None,
        on_refresh=lambda *_: None,
        log=KeyLog("fleet", zervi.where),
        clock=epoch_now,
        random=random,
    )
    refresher.start()
    return refresher


def start_follower(random: Random, entries: Entries) -> Follower:
    """Start one node's follower of the feed; all nodes share a table, which stays empty."""
    settings = FeedSettings(FeedSource("http://zervi"), frozenset({"zervi"}), POLL)
    follower = Follower(settings, lambda _: None, clock=epoch_now, wall=epoch_now, random=random)
    follower.revocations.entries = entries
    follower.start()
    return follower


async def until(moment: float) -> None:
    """Wait until a simulated time."""
    await asyncio.sleep(moment - asyncio.get_running_loop().time())


async def looma_story(looma: SimulatedLooma, nodes: int) -> None:
    """Start all nodes together, then stop Looma twice."""
    random = Random(SEED)
    reporters = [start_reporter(number, looma, random) for number in range(nodes)]
    gateways = [start_gateway(looma, random) for _ in range(GATEWAYS)]
    _, _, dead, back, dead_again, back_again = LOOMA_PHASES
    for outage, recovery in ((dead, back), (dead_again, back_again)):
        await until(outage.begin)
        looma.alive = False
        await until(recovery.begin)
        looma.alive = True
        if recovery is back_again:
            looma.heard_at.clear()
    await until(back_again.end - 0.001)
    for each in gateways:
        each.cancel()
    await asyncio.gather(*gateways, return_exceptions=True)
    await asyncio.gather(*(reporter.close() for reporter in reporters))


async def zervi_story(zervi: SimulatedZervi, nodes: int) -> None:
    """Start the nodes one after the other, then stop Zervi once."""
    random = Random(SEED)
    start, _, dead, back = ZERVI_PHASES
    refreshers = []
    for number in range(nodes):
        await until(number * start.end / nodes)
        refreshers.append(start_refresher(zervi, random))
    await until(dead.begin)
    zervi.alive = False
    await until(back.begin)
    zervi.alive = True
    await until(back.end - 0.001)
    await asyncio.gather(*(refresher.close() for refresher in refreshers))


async def feed_story(feed: SimulatedFeed, nodes: int) -> None:
    """Start all nodes together, revoke a token, then stop Zervi once."""
    random, entries = Random(SEED), Entries()
    _, _, logout, dead, back = FEED_PHASES
    with patch.object(following, "_feed", feed.of_node):
        followers = []
        for number in range(nodes):
            await until(number / nodes)
            followers.append(start_follower(random, entries))
        await until(logout.begin)
        feed.entries += 1
        await until(dead.begin)
        feed.alive = False
        await until(back.begin)
        feed.alive = True
        await until(back.end - 0.001)
        await asyncio.gather(*(follower.close() for follower in followers))


def run(story: Coroutine[Any, Any, None]) -> None:
    """Run a story to its end in simulated time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        runner.run(story)


def main() -> None:
    """Run the stories, print the tables, draw the picture."""
    logging.disable()
    looma, zervi = SimulatedLooma(LOOMA_PHASES[-1].end), SimulatedZervi(ZERVI_PHASES[-1].end)
    run(looma_story(looma, NODES))
    run(zervi_story(zervi, NODES))
    asked = SimulatedPermissions(PERMISSION_PHASES[-1].end, NODES // SAMPLE)
    run(permissions_story(asked, SEED))
    feed = SimulatedFeed(FEED_PHASES[-1].end)
    run(feed_story(feed, NODES))
    show(Story("Zervi's feed of revocations", FEED_PHASES, NODES / POLL, feed.by_kind))
    stories = (
        Story("Looma", LOOMA_PHASES, looma_steady(NODES), looma.by_kind),
        Story("Zervi", ZERVI_PHASES, NODES / REFRESH, zervi.by_kind),
        Story("Permissions", PERMISSION_PHASES, NODES * USERS / PERMISSIONS_TTL, asked.by_kind),
    )
    for story in stories:
        show(story)
    draw(stories, PICTURE)


if __name__ == "__main__":
    main()
