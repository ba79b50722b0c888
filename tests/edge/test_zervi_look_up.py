"""Look-ups over HTTP, from servers that answer well and in every bad way."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.core.tokens.lookups import Granted
from sidecar.zervi.credentials import Bearer, Client, Held
from sidecar.zervi.interface import FetchError
from sidecar.zervi.look_up import (
    PermissionsLookUp,
    PermissionsSource,
    VerdictLookUp,
    VerdictSource,
)
from tests.edge import key_server
from tests.edge.certificates import Authority
from tests.edge.key_server import Exchange, KeyServer, document, serving
from tests.edge.test_zervi_tls import server_tls

NOW = 1_800_000_000.0
NAMES = ["data:read", "data:write"]
GRANTED = Granted(("data:read", "data:write"))


def body(value: object) -> key_server.Answer:
    return document(json.dumps(value).encode())


def permissions(server: KeyServer, **others: Any) -> PermissionsLookUp:
    url = server.url.replace("jwks.json", "api/users/{subject}/permissions")
    return PermissionsLookUp(PermissionsSource(url, 60.0, 600.0, 0.3, **others))


def verdicts(server: KeyServer, kind: Any = "rfc7662", **others: Any) -> VerdictLookUp:
    source = VerdictSource("jobfirst-auth", kind, server.url, 30.0, 600.0, 0.3, **others)
    return VerdictLookUp(source, lambda: NOW)


async def test_permissions_are_asked_for_with_the_subject_as_one_segment(tmp_path: Path) -> None:
    """Whatever it contains; the sidecar's own token is read for each look-up."""
    file = tmp_path / "token"
    async with serving(body(NAMES)) as server:
        asking = permissions(server, credential=Bearer(Held(file, None)))
        for subject, segment in (
            ("7", "7"),
            ("a/../b", "a%2F..%2Fb"),
            ("a?b#c d", "a%3Fb%23c%20d"),
            ("%2e%2e", "%252e%252e"),
            ("张", "%E5%BC%A0"),
        ):
            file.write_text(f"token-for-{segment}\n")
            assert (await asking.find(subject, b"")).value == GRANTED
            exchange = server.exchanges[-1]
            assert exchange.target == f"/api/users/{segment}/permissions"
            assert exchange.headers["authorization"] == f"Bearer token-for-{segment}"


@pytest.mark.parametrize(
    "value",
    [
        NAMES,
        {"permissions": NAMES},
        {"code": 0, "message": "", "data": NAMES},
        {"code": 0, "message": "", "data": {"permissions": NAMES, "user_id": 7}},
        {"success": True, "data": {"permissions": NAMES, "user": {"id": "7"}}},
        {"success": True, "permissions": NAMES, "user_id": "7"},
        {"permissions": [*NAMES, "data:read"], "sub": "7", "roles": None},
    ],
)
async def test_each_shape_of_permissions_is_read(value: object) -> None:
    async with serving(body(value)) as server:
        assert await permissions(server).find("7", b"") == (GRANTED, False, float("inf"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"permissions": ["a"], "roles": ["admin"]}, Granted(("a",), ("admin",))),
        ({"code": 0, "data": {"permissions": None, "roles": []}}, Granted((), ())),
        ({"code": 0, "data": None}, Granted(())),
        ([], Granted(())),
    ],
)
async def test_roles_and_empty_lists_are_read(value: object, expected: Granted) -> None:
    async with serving(body(value)) as server:
        assert (await permissions(server).find("7", b"")).value == expected


@pytest.mark.parametrize(
    "answer",
    [
        document(b"<html>", status="404 Not Found"),
        body({"success": False, "error": "no such user"}),
        body({"success": False, "code": 500, "data": ["*"]}),
    ],
)
async def test_an_unknown_user_has_none(answer: key_server.Answer) -> None:
    async with serving(answer) as server:
        found = await permissions(server).find("7", b"")
    assert found.negative
    assert found.value is None


async def huge(exchange: Exchange) -> None:
    await document(json.dumps(["x" * 1000] * 100).encode())(exchange)


BAD: list[tuple[str, key_server.Answer, str]] = [
    ("html", document(b"<html>login</html>"), "HTML"),
    ("empty", document(b""), "empty"),
    ("not json", document(b'["a"'), "not JSON"),
    ("a key twice", document(b'{"permissions": ["a"], "permissions": ["b"]}'), "twice"),
    ("text", body("data:read"), "not a list of texts"),
    ("an object", body({"permissions": {"data:read": True}}), "not a list of texts"),
    ("numbers", body([1, 2]), "not a list of texts"),
    ("an empty name", body([""]), "not a list of texts"),
    ("a list of lists", body([["a"]]), "not a list of texts"),
    ("roles as text", body({"permissions": [], "roles": "admin"}), "not a list of texts"),
    ("nothing known", body({"result": ["a"]}), "no permissions"),
    ("an error's code", body({"code": 500, "message": "x", "data": ["a"]}), "`code` is not 0"),
    ("a code of text", body({"code": "0", "data": ["a"]}), "not an integer"),
    ("a success of text", body({"success": "true", "data": ["a"]}), "not true or false"),
    ("another user", body({"permissions": ["a"], "user_id": 8}), "another user"),
    ("another user inside", body({"code": 0, "data": {"permissions": [], "id": 8}}), "another"),
    ("another user's object", body({"permissions": [], "user": {"id": 8}}), "another user"),
    ("a user of a wrong type", body({"permissions": [], "user_id": [7]}), "another user"),
    ("too many names", body([f"name:{number:040}" for number in range(300)]), "identity headers"),
    ("huge", huge, "larger than 64 KiB"),
    ("endless", key_server.endless_body, "larger than 64 KiB"),
    ("compressed", document(b"x", headers={"Content-Encoding": "gzip"}), "compressed"),
    ("a redirect", document(b"", status="302 Found", headers={"Location": "/x"}), "redirects"),
    ("no content", document(b"[]", status="204 No Content"), "status 204"),
    ("unauthorized", document(b"[]", status="401 Unauthorized"), "status 401"),
    ("a broken server", document(b'["*"]', status="500 Internal Server Error"), "status 500"),
    ("down", document(b'{"success": false}', status="503 Service Unavailable"), "status 503"),
    ("not http", key_server.closes, "without an answer"),
    ("cut", key_server.reset_in_body, ""),
]


@pytest.mark.parametrize(("answer", "cause"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
async def test_any_other_answer_is_a_failure_that_says_why(
    answer: key_server.Answer, cause: str
) -> None:
    """And quotes nothing of the answer. It may be the question's fault if there is an answer."""
    async with serving(answer) as server:
        with pytest.raises(FetchError) as failure:
            await permissions(server).find("7", b"")
    outages = {"status 401", "status 503", "without an answer", ""}
    assert failure.value.answered is (cause not in outages)
    assert cause in failure.value.cause
    assert failure.value.advice
    assert "data:read" not in failure.value.cause


@pytest.mark.parametrize(
    ("kind", "media", "expected"),
    [
        (
            "rfc7662",
            "application/x-www-form-urlencoded",
            b"token=a%2Bb%26c%3D%22d&token_type_hint=access_token",
        ),
        ("zervi", "application/json", b'{"token": "a+b&c=\\"d"}'),
    ],
)
async def test_the_token_is_sent_as_data(kind: str, media: str, expected: bytes) -> None:
    """It cannot add parameters or members."""
    received: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"\r\n\r\n"))
        received.append(await reader.readexactly(len(expected)))
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 34\r\n\r\n")
        writer.write(b'{"active": false, "success":false}')
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    source = VerdictSource("a", kind, f"http://127.0.0.1:{port}/x", 30.0, 600.0, 0.3)  # type: ignore[arg-type]  # -- a kind
    async with server:
        assert (await VerdictLookUp(source).find(b"digest", b'a+b&c="d')).negative
    assert f"content-type: {media}" in received[0].decode().lower()
    assert received[1] == expected


@pytest.mark.parametrize(
    ("kind", "credential", "authorization"),
    [
        ("rfc7662", None, None),
        ("rfc7662", Client("a b", Held(None, "LOOK_UP_SECRET")), "Basic YStiOnMlM0ElMkI="),
        ("zervi", Bearer(Held(None, "LOOK_UP_SECRET")), "Bearer s:+"),
    ],
)
async def test_the_sidecar_shows_who_it_is(
    kind: str, credential: Any, authorization: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOK_UP_SECRET", "s:+")
    async with serving(body({"active": False, "success": False})) as server:
        await verdicts(server, kind, credential=credential).find(b"digest", b"token")
        assert server.exchanges[-1].headers.get("authorization") == authorization


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("rfc7662", {"active": True, "sub": "7", "exp": NOW + 9}, {"sub": "7", "exp": NOW + 9}),
        ("rfc7662", {"active": False, "sub": "7"}, None),
        ("zervi", {"success": True, "data": {"valid": True, "claims": {"a": 1}}}, {"a": 1}),
        ("zervi", {"code": 0, "message": "", "data": {"user_id": 7}}, {"user_id": 7}),
        (
            "zervi",
            {"success": True, "user": {"id": 7, "status": "active"}, "permissions": ["a"]},
            {"user_id": 7, "id": 7, "status": "active", "permissions": ["a"]},
        ),
        ("zervi", {"success": True, "user": {"id": 7, "status": "disabled"}}, None),
        ("zervi", {"success": True, "data": {"valid": False, "claims": {"a": 1}}}, None),
        ("zervi", {"success": False, "error": "invalid token"}, None),
        ("zervi", {"success": False, "data": {"valid": True, "claims": {"a": 1}}}, None),
    ],
)
async def test_each_shape_of_a_verdict_is_read(
    kind: str, value: object, expected: dict[str, Any] | None
) -> None:
    async with serving(body(value)) as server:
        found = await verdicts(server, kind).find(b"digest", b"token")
    assert (found.value, found.negative) == (expected, expected is None)
    assert found.life == (9.0 if expected and "exp" in expected else float("inf"))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_the_status_of_zervi_is_not_trusted_in_either_direction(status: int) -> None:
    invalid, valid = {"success": False}, {"success": True, "data": {"claims": {"user_id": 7}}}
    async with serving(document(json.dumps(invalid).encode(), status=f"{status} X")) as server:
        assert (await verdicts(server, "zervi").find(b"d", b"t")).negative
        server.answer = document(json.dumps(valid).encode(), status=f"{status} X")
        with pytest.raises(FetchError, match="calls valid"):
            await verdicts(server, "zervi").find(b"d", b"t")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("rfc7662", {}),
        ("rfc7662", {"active": "true"}),
        ("rfc7662", {"active": 1, "sub": "7"}),
        ("rfc7662", [True]),
        ("rfc7662", {"success": True}),
        ("zervi", {"valid": True, "claims": {"user_id": 7}}),
        ("zervi", {"success": "true", "data": {"claims": {}}}),
        ("zervi", {"success": True, "code": 500, "data": {"claims": {}}}),
        ("zervi", {"success": True, "data": {"valid": "yes", "claims": {}}}),
        ("zervi", {"success": True, "data": {"claims": ["a"]}}),
        ("zervi", {"success": True, "data": {"user": "7"}}),
        ("zervi", {"success": True, "data": ["7"]}),
        ("zervi", {"code": 0, "data": None}),
    ],
)
async def test_a_verdict_that_does_not_say_yes_clearly_is_a_failure(
    kind: str, value: object
) -> None:
    async with serving(body(value)) as server:
        with pytest.raises(FetchError):
            await verdicts(server, kind).find(b"digest", b"token")


@pytest.mark.parametrize("kind", ["rfc7662", "zervi"])
@pytest.mark.parametrize(
    "answer",
    [
        document(b"<html>"),
        document(b"", status="302 Found", headers={"Location": "/x"}),
        document(b'{"active": true, "success": true}', status="500 X"),
        key_server.endless_body,
        key_server.closes,
    ],
)
async def test_a_fault_is_never_a_verdict(kind: str, answer: key_server.Answer) -> None:
    async with serving(answer) as server:
        with pytest.raises(FetchError):
            await verdicts(server, kind).find(b"digest", b"token")


@pytest.mark.parametrize(
    ("content", "cause"),
    [(None, "cannot be read"), ("", "not visible"), ("a b", "not visible"), ("x" * 9000, "8 KiB")],
)
async def test_without_its_own_token_nothing_is_sent(
    content: str | None, cause: str, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    async with serving(body(NAMES)) as server:
        with pytest.raises(FetchError, match=cause):
            await permissions(server, credential=Bearer(Held(file, None))).find("7", b"")
        assert not server.exchanges


async def test_over_tls_only_the_named_authority_is_trusted(tmp_path: Path) -> None:
    ours, other = Authority("ours"), Authority("other")
    for name, authority in (("ours", ours), ("other", other)):
        (tmp_path / name).write_bytes(authority.pem)
    async with serving(body(NAMES), server_tls(ours, tmp_path)) as server:
        assert (await permissions(server, ca_file=tmp_path / "ours").find("7", b"")).value
        with pytest.raises(FetchError, match="does not verify"):
            await permissions(server, ca_file=tmp_path / "other").find("7", b"")
        with pytest.raises(FetchError, match="ca_file cannot be used"):
            await permissions(server, ca_file=tmp_path / "none").find("7", b"")
