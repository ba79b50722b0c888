"""The whole picture for every test here: Zervi, the sidecar, a real Envoy, a Basic Server."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from demo.envoy import connection_manager, ext_authz_filter
from demo.ports import Ports
from demo.stack import BOOTSTRAPS, DEMO, Setup, Stack, running
from sidecar.documents.own_yaml import read
from tests.e2e.grpc_upstream import GrpcUpstream
from tests.support.ports import free_port

# The demo's table and what only tests need.
ROUTES = (
    (DEMO / "routes.yaml").read_text()
    + """
    - path: "/jobfirst.Echo/*"
      name: grpc-echo
      methods: [POST]
      permissions: ["service:access"]
"""
)


def patience() -> dict[str, Any]:
    """Return the filter's settings as shipped, but with time for a busy machine.

    A sidecar that is started anew takes longer here than the three seconds for which Envoy's
    shipped settings let a request wait.
    """
    service = ext_authz_filter(read(BOOTSTRAPS / "envoy.yaml"))["grpc_service"]
    service["timeout"] = "30s"
    service["retry_policy"]["num_retries"] = 1000
    return {"grpc_service": service}


def only_the_sidecar() -> dict[str, Any]:
    """Return the connection manager's settings without what else refuses requests or headers.

    So a test sees what the sidecar itself does: no second lock, no headers that Envoy removes.
    """
    manager = connection_manager(read(BOOTSTRAPS / "envoy.yaml"))
    filters, table = manager["http_filters"], manager["route_config"]
    del table["request_headers_to_remove"]
    return {
        "http_filters": [f for f in filters if f["name"] != "envoy.filters.http.rbac"],
        "route_config": table,
    }


def forwarding_preflights() -> dict[str, Any]:
    """Return the connection manager's filters for ``cors_preflight: forward``."""
    manager = connection_manager(read(BOOTSTRAPS / "envoy.yaml"))
    filters = manager["http_filters"]
    (rbac,) = [f["typed_config"] for f in filters if f["name"] == "envoy.filters.http.rbac"]
    (policy,) = rbac["rules"]["policies"].values()
    matcher = policy["principals"][0]["sourced_metadata"]["metadata_matcher"]["value"]
    matcher["or_match"]["value_matchers"].append({"string_match": {"exact": "preflight"}})
    return {"http_filters": filters}


StartStack = Callable[..., AbstractAsyncContextManager[Stack]]


@pytest.fixture(scope="session", params=["h2", "grpcio"])
def transport(request: pytest.FixtureRequest) -> str:
    """Name the transport that the sidecar listens with."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def start_stack(tmp_path_factory: pytest.TempPathFactory, transport: str) -> StartStack:
    """Give a way to start a further stack, for tests that break theirs or set it up otherwise."""

    @asynccontextmanager
    async def start(setup: Setup | None = None) -> AsyncIterator[Stack]:
        directory: Path = tmp_path_factory.mktemp("stack")
        wanted = setup or Setup(routes=ROUTES)

        def configure(config: dict[str, Any]) -> None:
            config["listen"]["transport"] = transport
            if wanted.configure is not None:
                wanted.configure(config)

        ports = Ports(*(free_port() for _ in Ports._fields))
        async with running(ports, directory, replace(wanted, configure=configure)) as made:
            yield made

    return start


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def upstream() -> AsyncIterator[GrpcUpstream]:
    """Run the gRPC half of the Basic Server."""
    server = GrpcUpstream()
    await server.start()
    yield server
    await server.stop()


class SharedStacks:
    """Stacks that every test may use and none may break, each started by the first that needs it.

    They outlive the file and the transport: pytest-xdist runs a file at a time, with one transport
    after the other, and would start both anew for each file.
    """

    def __init__(self, until: AsyncExitStack) -> None:
        self._until = until
        self._running: dict[str, Stack] = {}

    async def get(self, name: str, start: AbstractAsyncContextManager[Stack]) -> Stack:
        """Return the stack called ``name``; without one, start it."""
        if name not in self._running:
            self._running[name] = await self._until.enter_async_context(start)
        return self._running[name]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_stacks() -> AsyncIterator[SharedStacks]:
    """Keep what runs until the session ends."""
    async with AsyncExitStack() as until:
        yield SharedStacks(until)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(
    start_stack: StartStack, transport: str, upstream: GrpcUpstream, shared_stacks: SharedStacks
) -> Stack:
    """Give the stack that the tests of this room share."""
    setup = Setup(routes=ROUTES, upstream_grpc=upstream.port)
    return await shared_stacks.get(f"e2e {transport}", start_stack(setup))


@pytest.fixture
def port(stack: Stack) -> int:
    """Give the port of Envoy's listener."""
    return stack.ports.envoy
