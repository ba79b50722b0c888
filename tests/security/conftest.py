"""A stack whose Envoy lets pass whatever it gets no answer to: only a proper denial denies."""

import json
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from demo.stack import Setup, Stack
from tests.e2e.conftest import (
    ROUTES,
    SharedStacks,
    StartStack,
    only_the_sidecar,
    shared_stacks,
    start_stack,
    transport,
)
from tests.support.envoy_before import envoy_before, port_of

__all__ = ["shared_stacks", "start_stack", "transport"]

FAULTY = Path(__file__).with_name("faulty_sidecar.py")
FAIL_OPEN: Mapping[str, Any] = {"failure_mode_allow": True, "failure_mode_allow_header_add": True}

PERMISSIONS = 100_000


def configure(config: dict[str, Any]) -> None:
    """Give roles that no header could hold, and one whose permissions just fit."""
    config["zervi"]["role_permissions"].update(
        huge=[f"permission:{number}" for number in range(PERMISSIONS)],
        large=[f"p:{number}" for number in range(1000)],
    )
    config["zervi"]["jwks"] = {"refresh": "1s", "cooldown": "1s"}


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def open_stack(start_stack: StartStack, transport: str, shared_stacks: SharedStacks) -> Stack:
    """Give a stack that fails open; its sidecar breaks where a request's ``x-fault`` says so."""
    setup = Setup(
        routes=ROUTES,
        configure=configure,
        serve=(sys.executable, str(FAULTY), "serve"),
        manager=only_the_sidecar(),
        ext_authz=FAIL_OPEN,
    )
    return await shared_stacks.get(f"open {transport}", start_stack(setup))


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def bare_envoy(
    open_stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[int]:
    """Run a second Envoy before it, which cleans nothing and lets underscores pass; its port."""
    envoy = await envoy_before(
        open_stack,
        tmp_path_factory.mktemp("bare"),
        "bare",
        manager={
            **only_the_sidecar(),
            "normalize_path": False,
            "merge_slashes": False,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "common_http_protocol_options": {"headers_with_underscores_action": "ALLOW"},
        },
        ext_authz=FAIL_OPEN,
    )
    yield port_of(envoy)
    await envoy.stop()


async def envoy_errors(stack: Stack) -> int:
    """Return how many Checks Envoy counts as errors: each of them was let through."""
    wanted = "/stats?filter=ext_authz.*(error|failure_mode_allowed)&format=json"
    stats = json.loads(await stack.envoy.admin(wanted))["stats"]
    return sum(stat.get("value", 0) for stat in stats)
