"""How a sidecar begins and ends: the whole process, real signals, no Envoy."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.extauthz.service import CHECK
from tests.edge.looma_rig import server
from tests.edge.sidecar_rig import ROUTES, Sidecar, running, token, with_admin
from tests.edge.transport_rig import call, connect
from tests.support.checks import check_request
from tests.support.ports import free_port
from tests.support.waiting import eventually


def looma(port: int) -> dict[str, Any]:
    """Return a section that names a registry, with the most frequent heartbeats."""
    return {
        "url": f"http://127.0.0.1:{port}",
        "heartbeat": "1s",
        "service": {"name": "basic-server", "address": "10.0.0.7", "port": 10000},
    }


def listening(kind: str) -> dict[str, str]:
    """Return a section that listens with a transport of this kind."""
    return {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0", "transport": kind}


async def ended(sidecar: Sidecar) -> int:
    """Wait for the end, which must not take for ever."""
    async with asyncio.timeout(15):
        return await sidecar.ended()


@asynccontextmanager
async def starting(directory: Path) -> AsyncIterator[tuple[Sidecar, int]]:
    """Start a sidecar that waits for its policy: it reads a pipe, given as a descriptor."""
    sidecar = Sidecar(directory)
    policy = directory / "routes.yaml"
    policy.unlink()
    os.mkfifo(policy)
    pipe = -1

    def is_read() -> bool:
        nonlocal pipe
        try:
            pipe = os.open(policy, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            return False
        return True

    process = await sidecar.start()
    try:
        await eventually(is_read, "the policy is read", within=20)
        sidecar.write("routes.yaml", ROUTES)
        yield sidecar, pipe
    finally:
        await process.stop()


async def test_every_warning_of_the_configuration_is_logged_at_the_start(tmp_path: Path) -> None:
    issuers = [{"issuer": f"issuer-{number}", "secret_file": "weak"} for number in range(25)]

    def weak(sidecar: Sidecar) -> None:
        sidecar.write("weak", 40 * "a")
        sidecar.configure(zervi={"issuers": issuers})

    async with running(tmp_path, weak) as sidecar:
        assert len(sidecar.said("sidecar.yaml:")) == len(issuers)


async def test_sigterm_ends_a_start(tmp_path: Path) -> None:
    async with starting(tmp_path) as (sidecar, pipe):
        sidecar.signal(signal.SIGTERM)
        assert await ended(sidecar) == 0
        os.close(pipe)


async def test_sighup_does_not_end_a_start(tmp_path: Path) -> None:
    async with starting(tmp_path) as (sidecar, pipe):
        for _ in range(20):
            sidecar.signal(signal.SIGHUP)
        os.write(pipe, ROUTES.encode())
        os.close(pipe)
        await sidecar.until_ready()
        assert await sidecar.reason(bearer=token()) == "ok"


async def test_a_policy_that_changed_during_the_start_is_taken_over(tmp_path: Path) -> None:
    async with starting(tmp_path) as (sidecar, pipe):
        os.write(pipe, ROUTES.replace("/closed/*", "/former/*").encode())
        os.close(pipe)
        await sidecar.says("is in force (was ")
        assert await sidecar.reason(bearer=token()) == "ok"


async def test_sigterm_ends_it_while_a_reload_hangs(tmp_path: Path) -> None:
    async with running(tmp_path) as sidecar:
        policy = tmp_path / "routes.yaml"
        policy.unlink()
        os.mkfifo(policy)
        sidecar.signal(signal.SIGHUP)
        assert await sidecar.reason(bearer=token()) == "ok"
        sidecar.signal(signal.SIGTERM)
        assert await ended(sidecar) == 0


async def test_signals_of_both_kinds_at_once_end_it(tmp_path: Path) -> None:
    async with running(tmp_path) as sidecar:
        for _ in range(50):
            sidecar.signal(signal.SIGHUP)
        sidecar.signal(signal.SIGTERM)
        for _ in range(50):
            sidecar.signal(signal.SIGHUP)
        assert await ended(sidecar) == 0
        assert "Traceback" not in (tmp_path / "sidecar.stderr").read_text()


@pytest.mark.parametrize("kind", ["grpcio", "h2"])
async def test_it_answers_while_it_drains_and_a_second_signal_ends_that(
    tmp_path: Path, kind: str
) -> None:
    """A connection is open all the time, as Envoy's are."""

    def patient(sidecar: Sidecar) -> None:
        sidecar.configure(drain="10m", listen=listening(kind))

    async with running(tmp_path, patient) as sidecar, connect(sidecar.address("authz")) as envoy:
        await call(envoy, CHECK, check_request())
        sidecar.signal(signal.SIGTERM)
        await sidecar.says("draining for at most")
        assert (await sidecar.ops("/readyz"))[0] == 503
        assert (await sidecar.ops("/livez"))[0] == 200
        assert await sidecar.reason(bearer=token()) == "ok"
        sidecar.write("routes.yaml", ROUTES.replace("closed:read", "closed:write"))
        sidecar.signal(signal.SIGHUP)
        await sidecar.says("is in force (was ")
        assert await sidecar.reason(bearer=token()) == "permission_denied"
        sidecar.signal(signal.SIGTERM)
        assert await ended(sidecar) == 0


@pytest.mark.parametrize("kind", ["grpcio", "h2"])
async def test_peers_that_say_nothing_do_not_hold_up_the_end(tmp_path: Path, kind: str) -> None:
    """Half a preface at each gRPC address, half a request at the ops address."""
    listen = {**listening(kind), "health": "127.0.0.1:0"}
    async with running(tmp_path, lambda s: s.configure(listen=listen)) as sidecar:
        peers = []
        for key, begun in (("authz", b"PRI * HT"), ("health", b""), ("ops", b"GET /me")):
            host, _, port = sidecar.address(key).rpartition(":")
            _, peer = await asyncio.open_connection(host, int(port))
            peer.write(begun)
            peers.append(peer)
        sidecar.signal(signal.SIGTERM)
        assert await ended(sidecar) == 0
        for peer in peers:
            peer.close()


async def test_it_ends_once_envoy_is_gone(tmp_path: Path) -> None:
    """Before ``drain`` is over, where the transport can tell."""

    def patient(sidecar: Sidecar) -> None:
        sidecar.configure(drain="10m", listen=listening("h2"))

    async with running(tmp_path, patient) as sidecar:
        async with connect(sidecar.address("authz")) as envoy:
            await call(envoy, CHECK, check_request())
            sidecar.signal(signal.SIGTERM)
            await sidecar.says("draining for at most")
            await call(envoy, CHECK, check_request())
        assert await ended(sidecar) == 0


async def test_leaving_where_no_registry_is_configured_says_so(tmp_path: Path) -> None:
    """It is not ready any more all the same; the end is the last that is logged."""
    async with running(tmp_path, with_admin) as sidecar:
        status, body = await sidecar.admin("/leave")
        assert status == 200
        assert json.loads(body) == {
            "left": True,
            "detail": "no registry is configured; not ready, but still deciding",
        }
        assert (await sidecar.ops("/readyz"))[0] == 503
        await sidecar.says("left by command: not ready, still answering Checks; no registry")
        sidecar.signal(signal.SIGTERM)
        assert await ended(sidecar) == 0
        assert sidecar.said("")[-1] == "stopped"


async def test_leaving_and_ending_while_the_registry_hangs(tmp_path: Path) -> None:
    """Each costs at most what a call may take; requests are decided meanwhile."""
    async with server(None) as registry:
        section = looma(registry.port)
        async with running(tmp_path, lambda s: with_admin(s, looma=section)) as sidecar:
            await eventually(lambda: registry.accepted, "the registration is asked for")
            assert (await sidecar.ops("/readyz"))[0] == 200
            assert await sidecar.reason(bearer=token()) == "ok"
            leaving = asyncio.gather(*(sidecar.admin("/leave") for _ in range(3)))
            for status, body in await leaving:
                assert (status, json.loads(body)["left"]) == (502, False)
            assert (await sidecar.ops("/readyz"))[0] == 503
            assert await sidecar.reason(bearer=token()) == "ok"
            sidecar.signal(signal.SIGTERM)
            assert await ended(sidecar) == 0
            assert sidecar.said("could not deregister: ")


@pytest.mark.parametrize(
    "answer",
    [
        "refused",
        b"220 smtp.example.org ESMTP\r\n",
        b"HTTP/1.1 503 Busy\r\nRetry-After: 99999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n" + b"[" * 1_000_000,
    ],
    ids=["refused", "no HTTP", "busy for ever", "100 MB of brackets"],
)
async def test_a_registry_that_fails_changes_neither_decisions_nor_readiness(
    tmp_path: Path, answer: str | bytes
) -> None:
    async with server(answer if isinstance(answer, bytes) else None) as registry:
        section = looma(free_port() if answer == "refused" else registry.port)
        async with running(tmp_path, lambda s: s.configure(looma=section)) as sidecar:
            asked = 'zervi_sidecar_looma_requests_total{operation="register",result="%s"}'
            failed = 0.0
            async with asyncio.timeout(20):
                while not failed:
                    assert await sidecar.reason(bearer=token()) == "ok"
                    assert await sidecar.reason("/closed/1") == "token_missing"
                    assert (await sidecar.ops("/readyz"))[0] == 200
                    results = [await sidecar.metric(asked % r) for r in ("failed", "retry_after")]
                    failed = sum(results) or (await sidecar.metric(asked % "ok"))
            assert len(sidecar.said("register at the registry failed")) <= 1
            assert "Traceback" not in (tmp_path / "sidecar.stderr").read_text()


async def test_the_socket_of_a_killed_sidecar_is_replaced(tmp_path: Path) -> None:
    listen = {"authz": f"unix:{tmp_path}/authz.sock", "ops": "127.0.0.1:0"}
    async with running(tmp_path, lambda s: s.configure(listen=listen)) as sidecar:
        sidecar.signal(signal.SIGKILL)
        assert await sidecar.ended() == -signal.SIGKILL
        assert (tmp_path / "authz.sock").is_socket()
        successor = await sidecar.start()
        await sidecar.until_ready()
        assert await sidecar.reason(bearer=token()) == "ok"
        assert await successor.stop() == 0
        assert not (tmp_path / "authz.sock").exists()
