"""Envoy remembers allows: the answers and the Basic Server's view are the same as without."""

import asyncio
import json
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from demo import minting
from demo.envoy import Envoy
from demo.process import Process
from demo.stack import DEMO, Setup, Stack, start_sidecar, until_ready
from sidecar.cli import main
from sidecar.config import load
from sidecar.workbench.generate.envoy import Choices, bootstrap
from tests.e2e.conftest import ROUTES, StartStack
from tests.support.http1 import Answer, send
from tests.support.ports import free_port
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATH = "/api/services/list"


@pytest.fixture(scope="session")
def transport() -> str:
    """Run each test once: Envoy's memory does not depend on the sidecar's transport."""
    return "h2"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(start_stack: StartStack) -> AsyncIterator[Stack]:
    async with start_stack(Setup(routes=ROUTES, remember="5s")) as made:
        yield made


def _lines(process: Process) -> list[dict[str, Any]]:
    whole, _, _ = process.stdout.read_text().rpartition("\n")
    return [json.loads(line) for line in whole.splitlines()]


async def _logged(envoy: Envoy, answer: Answer) -> dict[str, Any]:
    """Wait for Envoy's line of a request that reached the Basic Server."""
    (request_id,) = answer.arrived("x-request-id")

    def found() -> list[dict[str, Any]]:
        return [line for line in _lines(envoy.process) if line["request_id"] == request_id]

    await eventually(lambda: bool(found()), "the line of the access log")
    return found()[0]


def _bearer(stack: Stack, user: str = "alice", **claims: Any) -> tuple[str, str]:
    """Return a token that no other test has used."""
    token = minting.sign(minting.user_claims(user) | claims, stack.zervi.keys[0])
    return ("Authorization", f"Bearer {token}")


def _seen(answer: Answer) -> list[tuple[str, str]]:
    """Return the request as the Basic Server saw it, without what differs each time."""
    return sorted((name, value) for name, value in answer.json["headers"] if name != "x-request-id")


async def test_a_repeated_request_is_answered_from_memory_and_looks_the_same(stack: Stack) -> None:
    token = _bearer(stack, jti="same")
    spoofed = ("X-User-Id", "4"), ("X-Service-Id", "4"), ("X-Original-Url", "/x"), ("Proxy", "x")
    first = await send(stack.ports.envoy, PATH, token, *spoofed)
    again = await send(stack.ports.envoy, PATH, token, *spoofed)
    assert first.status == again.status == 200
    assert _seen(first) == _seen(again)
    asked, remembered = await _logged(stack.envoy, first), await _logged(stack.envoy, again)
    assert asked["remembered"] is None
    subject = minting.USERS["alice"].user_id
    assert remembered["remembered"] == (
        f"reason=ok route=api-services-all decision_id={asked['decision_id']} subject={subject}"
    )
    assert remembered["authz_microseconds"] is None


async def test_a_public_request_gets_no_identity_from_memory(stack: Stack) -> None:
    for _ in range(2):
        answer = await send(stack.ports.envoy, "/api/auth/login?public", ("X-User-Id", "4"))
        assert answer.status == 200
        assert answer.arrived("x-user-id") == []
    assert (await _logged(stack.envoy, answer))["remembered"].startswith("reason=public ")


async def test_each_caller_and_each_path_is_asked_about(stack: Stack) -> None:
    alice, bob = _bearer(stack, jti="callers"), _bearer(stack, "bob", jti="callers")
    for path in (PATH, f"{PATH}/x", f"{PATH}?x"):
        for user, token in (("alice", alice), ("bob", bob)):
            answer = await send(stack.ports.envoy, path, token)
            assert answer.arrived("x-username") == [user]
            assert (await _logged(stack.envoy, answer))["remembered"] is None


async def test_denials_are_asked_about_each_time(stack: Stack) -> None:
    token = _bearer(stack, jti="denied")
    ids = {
        (await send(stack.ports.envoy, "/api/cluster/nodes", token)).json["decision_id"]
        for _ in range(3)
    }
    assert len(ids) == 3
    logged = {line["decision_id"] for line in _lines(stack.sidecar)}
    await eventually(
        lambda: ids <= {line["decision_id"] for line in _lines(stack.sidecar)}, str(logged)
    )


@pytest.mark.parametrize("name", ["X.User.Id", "x~user~id", "x-user.id", "X-User-Id"])
async def test_no_spelling_of_an_identity_header_arrives(stack: Stack, name: str) -> None:
    """Whether the request is asked about or answered from memory."""
    token = _bearer(stack, jti=f"odd {name}")
    for remembered in (False, True):
        answer = await send(stack.ports.envoy, PATH, token, (name, "4"))
        assert "4" not in [value for _, value in answer.json["headers"]]
        assert ((await _logged(stack.envoy, answer))["remembered"] is not None) is remembered


async def test_the_memory_of_a_request_is_not_that_of_its_connection(stack: Stack) -> None:
    token = _bearer(stack, jti="connection")
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        headers = {"authorization": token[1]}
        url = f"http://127.0.0.1:{stack.ports.envoy}"
        for _ in range(2):
            async with session.get(f"{url}{PATH}", headers=headers) as answer:
                assert answer.status == 200
                seen = await answer.json()
        assert seen
        async with session.get(f"{url}/api/cluster/nodes") as answer:
            assert (answer.status, (await answer.json())["reason"]) == (401, "token_missing")
        async with session.get(f"{url}/api/cluster/nodes", headers=headers) as answer:
            assert answer.status == 403


async def test_no_client_can_say_that_its_request_is_remembered(stack: Stack) -> None:
    names = ("zervi.remember", "zervi-remember", "x-zervi-remember", "x-envoy-metadata")
    headers = [(name, '{"allow": {"reason": "ok"}}') for name in names]
    answer = await send(stack.ports.envoy, "/api/cluster/nodes", *headers)
    assert (answer.status, answer.json["reason"]) == (401, "token_missing")


async def test_a_token_is_not_remembered_past_its_exp(stack: Stack) -> None:
    """Without memory it is accepted for the leeway more; a request after exp is asked about."""
    token = _bearer(stack, jti="exp", exp=minting.user_claims("alice")["iat"] - 1)
    for _ in range(2):
        answer = await send(stack.ports.envoy, PATH, token)
        assert (answer.status, (await _logged(stack.envoy, answer))["remembered"]) == (200, None)


async def test_what_was_answered_from_memory_is_counted(stack: Stack) -> None:
    token = _bearer(stack, jti="counted")
    path = "/api/users/2/orders/counted"
    for _ in range(4):
        answer = await send(stack.ports.envoy, path, token)
        assert answer.status == 200
    assert (await _logged(stack.envoy, answer))["remembered"] is not None
    # Until the memory is over.
    while (await _logged(stack.envoy, answer))["remembered"] is not None:
        answer = await send(stack.ports.envoy, path, token)
        await asyncio.sleep(0.2)
    (request_id,) = answer.arrived("x-request-id")
    await eventually(
        lambda: any(line["decision_id"] == request_id for line in _lines(stack.sidecar)),
        "the decision",
    )
    line = next(line for line in _lines(stack.sidecar) if line["decision_id"] == request_id)
    assert line["repeats"] >= 3
    metrics = (await send(stack.ports.ops, "/metrics")).body
    assert f'zervi_sidecar_remembered_total{{route="user-orders"}} {line["repeats"]}.0' in metrics


async def test_while_the_sidecar_is_down_only_what_is_remembered_passes(
    start_stack: StartStack,
) -> None:
    """And only until its time is over: then the second lock and ext_authz deny."""
    async with start_stack(Setup(routes=ROUTES, remember="5s")) as own:
        token = _bearer(own)
        assert (await send(own.ports.envoy, PATH, token)).status == 200
        await own.sidecar.stop()
        assert (await send(own.ports.envoy, PATH, token)).status == 200
        assert (await send(own.ports.envoy, f"{PATH}/new", token)).status == 503
        statuses = {200}
        while statuses == {200}:
            statuses = {(await send(own.ports.envoy, PATH, token)).status}
        assert statuses == {503}


async def test_another_policy_takes_effect_when_the_memory_is_over(start_stack: StartStack) -> None:
    async with start_stack(Setup(routes=ROUTES, remember="200ms")) as own:
        token = _bearer(own)
        assert (await send(own.ports.envoy, PATH, token)).status == 200
        routes = own.directory / "routes.yaml"
        changed = routes.with_name("changed")
        changed.write_text(routes.read_text().replace("service:access", "service:other"))
        changed.replace(routes)
        status = 200
        while status == 200:
            status = (await send(own.ports.envoy, PATH, token)).status
        assert status == 403
        await asyncio.sleep(0.2)  # the memory's time: this request may have asked ahead of its end
        for _ in range(20):
            assert (await send(own.ports.envoy, PATH, token)).status == 403


async def test_an_envoy_of_another_configuration_asks_about_each_request(
    start_stack: StartStack,
) -> None:
    """A reload adds a header to remove, which that Envoy's filter does not know."""
    async with start_stack(Setup(routes=ROUTES, remember="5s")) as own:
        config = own.directory / "sidecar.yaml"
        text = config.read_text().replace("policy:\n", "policy:\n  remove_headers: [proxy]\n")
        changed = config.with_name("changed")
        changed.write_text(text)
        changed.replace(config)
        await eventually(lambda: "sidecar.yaml reloaded" in own.sidecar.output(), "the reload")
        token = _bearer(own)
        for _ in range(2):
            answer = await send(own.ports.envoy, PATH, token)
            assert (await _logged(own.envoy, answer))["remembered"] is None
        await eventually(lambda: "generate envoy --remember" in own.sidecar.output(), "a warning")


def _file(directory: Path, **changes: str) -> str:
    """Generate a bootstrap that remembers for 5 s, with other values; its path."""
    config = load(DEMO / "sidecar.yaml", {"ZERVI_JWT_SECRET": "made up for this test" * 2})
    text = bootstrap(config, Choices("", remember=5000))
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    file = directory / "envoy.yaml"
    file.write_text(text)
    return str(file)


async def test_a_flood_of_requests_ends_older_memories_and_is_bounded(
    start_stack: StartStack, tmp_path: Path
) -> None:
    """Two generations of four: 0 to 3 and 4 to 7, then 4 to 7 and 8."""
    bounded = _file(tmp_path, **{"MAX_ENTRIES = 4096": "MAX_ENTRIES = 4"})
    async with start_stack(Setup(routes=ROUTES, bootstrap=bounded)) as own:
        token = _bearer(own)
        answers = [
            await send(own.ports.envoy, f"{PATH}/{number}", token)
            for number in (*range(9), 8, 7, 4, 0)
        ]
        logged = [(await _logged(own.envoy, answer))["remembered"] for answer in answers]
        remembered = [each is not None for each in logged]
        assert remembered == [False] * 9 + [True, True, True, False]


async def test_new_requests_wait_for_a_sidecar_that_was_killed_and_comes_back(
    start_stack: StartStack, tmp_path: Path
) -> None:
    """As without memory."""
    patient = _file(
        tmp_path, **{"num_retries: 20": "num_retries: 1000", "timeout: 3s": "timeout: 30s"}
    )
    async with start_stack(Setup(routes=ROUTES, bootstrap=patient)) as own:
        token = _bearer(own)
        assert (await send(own.ports.envoy, PATH, token)).status == 200
        own.sidecar.signal(signal.SIGKILL)
        await own.sidecar.wait()
        waiting = [
            asyncio.create_task(send(own.ports.envoy, f"{target}/{number}", token))
            for number in range(5)
            for target in (PATH, "/api/cluster/nodes")
        ]
        config = own.directory / "sidecar.yaml"
        command = [sys.executable, "-m", "sidecar", "serve", "--config", str(config)]
        successor = await start_sidecar(command, own.directory, own.secret)
        try:
            await until_ready(successor, own.ops_url)
            answers = await asyncio.gather(*waiting)
        finally:
            await successor.stop()
        assert [answer.status for answer in answers] == [200, 403] * 5


@pytest_asyncio.fixture(loop_scope="session")
async def of_four_workers(stack: Stack, tmp_path: Path) -> AsyncIterator[Envoy]:
    """Run the stack's Envoy once more, with four worker threads: each has a memory of its own."""
    loaded = json.loads((stack.directory / "envoy.json").read_text())
    for listener in loaded["static_resources"]["listeners"]:
        listener["address"]["socket_address"]["port_value"] = free_port()
    envoy = await Envoy.start(loaded, tmp_path, concurrency=4)
    yield envoy
    await envoy.stop()


async def test_every_worker_of_an_envoy_answers_alike(stack: Stack, of_four_workers: Envoy) -> None:
    """Whichever a connection comes to: it is asked about once by each at most."""
    port = int(of_four_workers.url.rpartition(":")[2])
    token = _bearer(stack, jti="workers")
    answers = [await send(port, PATH, token) for _ in range(20)]
    assert {answer.status for answer in answers} == {200}
    assert all(_seen(answer) == _seen(answers[0]) for answer in answers)
    logged = [await _logged(of_four_workers, answer) for answer in answers]
    assert 1 <= [line["remembered"] for line in logged].count(None) <= 4


async def test_the_config_dump_of_an_envoy_that_remembers_has_no_finding(
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Envoy writes its filters otherwise than they were given; a changed program is found there."""
    monkeypatch.setenv("ZERVI_JWT_SECRET", stack.secret.decode())
    file = tmp_path / "dump.json"
    command = ["doctor", str(file), "--config", str(stack.directory / "sidecar.yaml")]
    dump = await stack.envoy.admin("/config_dump?include_eds")
    file.write_text(dump)
    assert main([*command, "--strict"]) == 0, capsys.readouterr().out
    changed = dump.replace("LONGEST = 5000", "LONGEST = 60000")
    assert changed != dump
    file.write_text(changed)
    assert main(command) == 1
