"""What the tests of several edges share: the event loops and the transports."""

import asyncio
from collections.abc import Callable
from importlib import import_module

import pytest
import uvloop

import sidecar.transport.grpcio  # noqa: F401 -- before grpc itself: it silences grpcio's own log
from tests.edge.transport_rig import NewServer

LoopFactories = dict[str, Callable[[], asyncio.AbstractEventLoop]]


def pytest_asyncio_loop_factories(item: pytest.Item) -> LoopFactories:
    """Run on uvloop, as the sidecar does; what serves sockets also on asyncio's own loop."""
    factories: LoopFactories = {"uvloop": uvloop.new_event_loop}
    if {"transport", "both_loops"} & set(getattr(item, "fixturenames", ())):
        factories["asyncio"] = asyncio.new_event_loop
    return factories


@pytest.fixture
def both_loops() -> None:
    """Make a test of one server run on both event loops."""


@pytest.fixture(params=["grpcio", "h2"])
def transport(request: pytest.FixtureRequest) -> NewServer:
    """Each transport's Server class: what holds for one holds for all."""
    server: NewServer = import_module(f"sidecar.transport.{request.param}").Server
    return server
