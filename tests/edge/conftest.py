"""What the tests of several edges share."""

from importlib import import_module

import pytest

from tests.edge.transport_rig import NewServer


@pytest.fixture(params=["grpcio", "h2"])
def transport(request: pytest.FixtureRequest) -> NewServer:
    """Each transport's Server class: what holds for one holds for all."""
    server: NewServer = import_module(f"sidecar.transport.{request.param}").Server
    return server
