"""The service token: where it comes from, when it is renewed, and that it stays secret."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import jwt
import pytest

from bench.virtual_time import VirtualTimeLoop
from demo.looma import start_looma
from demo.minting import SERVICES
from demo.zervi import start_zervi
from sidecar.looma.answers import Answer
from sidecar.looma.registry import Failed
from sidecar.looma.token import (
    EnvTokens,
    FileTokens,
    Login,
    LoginTokens,
    NoTokenError,
    WithToken,
)
from tests.edge.looma_rig import SERVICE, Node, ScriptedCalls, http_caller, http_registry, running
from tests.support.waiting import eventually

SECRET = "made-up-secret-of-at-least-32-bytes"
LOGIN = Login("http://zervi.test/api/v1/auth/service/login", "basic-server", "hush-hush")

T = TypeVar("T")


def service_token(*permissions: str, secret: str = SECRET) -> str:
    claims = {"service_id": "a", "allowed_apis": permissions, "exp": time.time() + 60}
    return jwt.encode(claims, secret, algorithm="HS256")


def logged_in(token: object, expires_in: object = 100) -> Answer:
    data = {"service_token": token, "expires_in": expires_in}
    return Answer(200, json.dumps({"success": True, "data": data}).encode())


def in_virtual_time(story: Callable[[], Awaitable[T]]) -> T:
    async def run() -> T:
        return await story()

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(run())


def login_tokens(*answers: Answer | Failed) -> tuple[LoginTokens, ScriptedCalls]:
    calls = ScriptedCalls(answers)
    return LoginTokens(LOGIN, calls), calls


async def test_a_registry_that_demands_service_register_refuses_without_and_accepts_with_it(
    tmp_path: Path,
) -> None:
    looma, node, file = await start_looma(0, token_secret=SECRET), Node(), tmp_path / "token"
    try:
        async with http_caller() as http:
            caller = WithToken(http, FileTokens(file), "Authorization", "Bearer ")
            async with running(node.reporter(http_registry(looma.url, caller))):
                await eventually(lambda: len(node.requests) >= 2, "no file, no call")
                assert not looma.requests
                for wrong in (
                    service_token("service:read"),
                    service_token("service:register", secret="x" * 32),
                ):
                    file.write_text(wrong)
                    node.requests.clear()
                    await eventually(lambda: len(node.requests) >= 3, "refused")
                    assert set(node.requests[1:]) == {("register", "unauthorized")}
                file.write_text(service_token("service:register") + "\n")
                await eventually(lambda: SERVICE.id in looma.nodes, "accepted")
    finally:
        await looma.stop()


async def test_a_token_from_zervis_login_is_accepted() -> None:
    zervi = await start_zervi(0, SECRET.encode(), algorithm="ES256")
    looma, node = await start_looma(0, token_secret=SECRET), Node()
    try:
        async with http_caller() as http:
            login = Login(
                f"{zervi.url}/api/v1/auth/service/login",
                "basic-server",
                SERVICES["basic-server"].secret,
            )
            tokens = LoginTokens(login, http)
            caller = WithToken(http, tokens, "Authorization", "Bearer ")
            async with running(node.reporter(http_registry(looma.url, caller))) as reporter:
                await eventually(lambda: ("heartbeat", "ok") in node.requests, "a heartbeat")
                assert await reporter.leave()
            await tokens.close()
        assert len({request.authorization for request in looma.requests}) == 1
    finally:
        await looma.stop()
        await zervi.stop()


async def test_a_logins_secret_in_a_file_is_read_for_each_login(tmp_path: Path) -> None:
    """A secret that is changed needs no restart; a line break at the end is none of it."""
    file = tmp_path / "secret"
    calls = ScriptedCalls([logged_in("one"), logged_in("two")])
    tokens = LoginTokens(Login(LOGIN.url, LOGIN.service_id, file), calls)
    with pytest.raises(NoTokenError, match="secret file: No such file or directory"):
        await tokens.token()
    file.write_bytes(b"hush\n")
    assert await tokens.token() == "one"
    file.write_bytes(b"hush-hush\r\n")
    assert await tokens.other_than("one") == "two"
    assert [body["service_secret"] for _, _, body, _ in calls.seen] == ["hush", "hush-hush"]


@pytest.mark.parametrize("content", [b"", b"\n", b"xxx\xff", b"x" * 100_000])
async def test_a_file_that_holds_no_secret_is_told_without_what_it_holds(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    calls = ScriptedCalls([logged_in("one")])
    tokens = LoginTokens(Login(LOGIN.url, LOGIN.service_id, file), calls)
    with pytest.raises(NoTokenError, match=r"^the login's secret file (is|holds)") as refused:
        await tokens.token()
    assert "xxx" not in str(refused.value)
    assert not calls.seen


async def test_a_file_is_read_again_when_it_was_replaced(tmp_path: Path) -> None:
    file = tmp_path / "token"
    tokens = FileTokens(file)
    file.write_text("one\n")
    assert await tokens.token() == "one"
    assert await tokens.other_than("one") is None
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").rename(file)
    assert await tokens.other_than("one") == "two"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"a\r\nX-Admin: 1", "characters that are invalid in a header"),
        ("é".encode(), "characters that are invalid in a header"),
        (b"x" * 10_000, "is longer than"),
    ],
)
async def test_what_no_header_may_carry_is_no_token(
    tmp_path: Path, content: bytes, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_bytes(content)
    with pytest.raises(NoTokenError, match=problem):
        await FileTokens(file).token()
    monkeypatch.setenv("LOOMA_TEST_TOKEN", content.decode())
    with pytest.raises(NoTokenError, match=problem):
        await EnvTokens("LOOMA_TEST_TOKEN").token()


async def test_a_file_or_variable_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NoTokenError, match="No such file"):
        await FileTokens(tmp_path / "absent").token()
    with pytest.raises(NoTokenError, match="LOOMA_TEST_ABSENT is empty"):
        await EnvTokens("LOOMA_TEST_ABSENT").token()


def test_a_login_is_used_until_four_fifths_of_its_life_and_then_renewed() -> None:
    async def story() -> None:
        tokens, calls = login_tokens(logged_in("one"), logged_in("two"))
        assert await tokens.token() == "one"
        await asyncio.sleep(79.0)
        assert await tokens.token() == "one"
        await asyncio.sleep(2.0)
        assert await tokens.token() == "two"
        assert len(calls.seen) == 2
        assert calls.seen[0][:3] == (
            "POST",
            LOGIN.url,
            {"service_id": "basic-server", "service_secret": "hush-hush"},
        )

    in_virtual_time(story)


def test_a_renewal_that_fails_leaves_the_old_token_until_its_end() -> None:
    async def story() -> None:
        tokens, _ = login_tokens(logged_in("one"), Failed("refused"))
        assert await tokens.token() == "one"
        await asyncio.sleep(90.0)
        assert await tokens.token() == "one"
        await asyncio.sleep(20.0)
        with pytest.raises(NoTokenError, match="refused"):
            await tokens.token()

    in_virtual_time(story)


async def test_logins_at_the_same_time_are_one() -> None:
    tokens, calls = login_tokens(logged_in("one"))
    assert set(await asyncio.gather(*(tokens.token() for _ in range(20)))) == {"one"}
    assert len(calls.seen) == 1


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (Failed("no answer within 2 s"), "no answer within 2 s"),
        (Answer(401, b'{"success": false}'), "was refused: HTTP status 401"),
        (Answer(200, b'{"success": false, "data": {"service_token": "x"}}'), "was refused"),
        (Answer(200, b'{"success": true}'), "was refused"),
        (Answer(200, b"[]"), "was refused"),
        (Answer(200, b"\xff"), "was refused"),
        (Answer(200, None), "was refused"),
        (logged_in(17), "has no data.service_token"),
        (logged_in(""), "is empty"),
        (logged_in("a\nb"), "characters that are invalid in a header"),
        (logged_in("\ud800"), "characters that are invalid in a header"),
    ],
)
async def test_a_login_that_gives_no_token_is_an_error(answer: Answer, problem: str) -> None:
    tokens, _ = login_tokens(answer)
    with pytest.raises(NoTokenError, match=problem):
        await tokens.token()


@pytest.mark.parametrize("expires_in", [None, "100", -1, 0, True, [], float("inf")])
def test_a_life_that_is_no_number_is_taken_for_five_minutes(expires_in: object) -> None:
    async def story() -> None:
        tokens, calls = login_tokens(logged_in("one", expires_in))
        await tokens.token()
        await asyncio.sleep(239.0)
        await tokens.token()
        assert len(calls.seen) == 1
        await asyncio.sleep(2.0)
        await tokens.token()
        assert len(calls.seen) == 2

    in_virtual_time(story)


def authorizations(calls: ScriptedCalls) -> list[str]:
    return [headers["Authorization"] for _, _, _, headers in calls.seen]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_replaced_once(status: int) -> None:
    registry = ScriptedCalls([Answer(status), Answer(200)])
    tokens, _ = login_tokens(logged_in("one"), logged_in("two"))
    answer = await WithToken(registry, tokens, "Authorization", "Bearer ")("POST", "http://r.test")
    assert answer == Answer(200)
    assert authorizations(registry) == ["Bearer one", "Bearer two"]


def test_a_registry_that_refuses_fresh_tokens_too_costs_a_login_a_minute() -> None:
    async def story() -> None:
        registry = ScriptedCalls([Answer(403)])
        tokens, logins = login_tokens(*(logged_in(str(n), 9000) for n in range(9)))
        caller = WithToken(registry, tokens, "Authorization", "Bearer ")
        for _ in range(59):
            assert await caller("POST", "http://r.test") == Answer(403)
            await asyncio.sleep(1.0)
        assert len(logins.seen) == 2
        await asyncio.sleep(2.0)
        await caller("POST", "http://r.test")
        assert len(logins.seen) == 3

    in_virtual_time(story)


async def test_without_a_token_no_call_is_made() -> None:
    registry = ScriptedCalls([Answer(200)])
    tokens, _ = login_tokens(Failed("refused"))
    answer = await WithToken(registry, tokens, "Authorization", "Bearer ")("POST", "http://r.test")
    assert answer == Failed("Zervi's service login: refused")
    assert registry.seen == []


async def test_neither_token_nor_secret_is_logged_or_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Not by a registry that sends back what it was sent, either."""
    caplog.set_level(logging.DEBUG)
    token = service_token("service:register")

    async def echo(method: str, url: str, body: Any = None, headers: Any = None) -> Answer:
        told = {"code": headers["Authorization"], "message": headers["Authorization"]}
        return Answer(500, json.dumps(told).encode())

    tokens, _ = login_tokens(logged_in(token))
    caller = WithToken(echo, tokens, "Authorization", "Bearer ")
    node = Node()
    async with running(node.reporter(http_registry("http://r.test", caller))):
        await eventually(lambda: len(node.requests) >= 3, "three failures")
    assert "HTTP status 500" in caplog.text
    shown = caplog.text + repr(LOGIN) + repr(tokens)
    assert token not in shown
    assert "hush-hush" not in shown
