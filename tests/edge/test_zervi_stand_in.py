"""The demo's stand-in for Zervi behaves as the real one does, its faults too."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import jwt
import pytest
import pytest_asyncio

from demo import minting
from demo.zervi import Zervi, start_zervi
from sidecar.zervi.interface import JwksUrl
from tests.edge.zervi_rig import ALGORITHMS, SETTINGS, running

SECRET = b"a made-up secret of 32 bytes and more"


@pytest_asyncio.fixture
async def zervi() -> AsyncIterator[Zervi]:
    running_zervi = await start_zervi(0, SECRET, algorithm="ES256")
    yield running_zervi
    await running_zervi.stop()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(client: aiohttp.ClientSession, url: str, body: Any) -> tuple[int, Any]:
    async with client.post(url, json=body) as response:
        return response.status, await response.json()


async def login(
    client: aiohttp.ClientSession, zervi: Zervi, username: str, style: str = "zervi"
) -> str:
    form = {"username": username, "password": minting.USERS[username].password, "style": style}
    status, answer = await post(client, f"{zervi.url}/api/v1/auth/login", form)
    assert status == 200
    token: str = answer["data"]["token"]
    return token


@pytest.mark.parametrize("username", list(minting.USERS))
async def test_every_account_can_log_in(
    zervi: Zervi, client: aiohttp.ClientSession, username: str
) -> None:
    """The token is signed with the key of the JWKS, for the audience, with the user's claims."""
    token = await login(client, zervi, username)
    public = zervi.keys[-1].private.public_key()
    claims = jwt.decode(token, public, algorithms=["ES256"], audience="jobfirst")
    assert claims["iss"] == "https://zervi.jobfirst.local"
    assert claims["username"] == username
    assert jwt.get_unverified_header(token)["kid"] == zervi.keys[-1].kid


@pytest.mark.parametrize("style", [style for style in minting.STYLES if style != "zervi"])
async def test_todays_tokens_are_signed_with_the_secret(
    zervi: Zervi, client: aiohttp.ClientSession, style: str
) -> None:
    """Every style but the brief's is HS256."""
    token = await login(client, zervi, "alice", style)
    options: Any = {"verify_aud": False}
    assert jwt.decode(token, SECRET, algorithms=["HS256"], options=options)["user_id"] in (2, "2")


def test_todays_styles_have_the_claims_that_zervis_code_gives_them() -> None:
    """The quirks of design 6: null, object, text id, roles, floats, missing and odd claims."""
    claims = {style: minting.user_claims("alice", style) for style in minting.STYLES}
    assert claims["unified-auth"]["iss"] == "jobfirst-auth"
    assert minting.user_claims("guest", "unified-auth")["permissions"] is None
    assert not {"iss", "sub", "permissions"} & claims["user-service"].keys()
    assert minting.user_claims("bob", "basic-server")["role"] == "user"
    assert claims["gateway"]["user_id"] == "2"
    assert claims["gateway"]["roles"] == ["user"]
    assert claims["common-jwt"]["aud"] == ["jobfirst-users"]
    assert claims["refresh"]["token"].startswith("refresh-")
    assert isinstance(claims["odd"]["permissions"], dict)
    assert isinstance(claims["odd"]["exp"], float)


@pytest.mark.parametrize(
    "form",
    [
        {},
        [],
        {"username": "alice", "password": "wrong"},
        {"username": "nobody", "password": "nobody-made-up"},
        {"username": "alice", "password": 7},
        {"username": "alice", "password": "\ud800"},
        {"username": ["alice"], "password": "alice-made-up"},
    ],
)
async def test_a_wrong_login_gets_no_token(
    zervi: Zervi, client: aiohttp.ClientSession, form: object
) -> None:
    """401 and no data, whatever was sent."""
    status, answer = await post(client, f"{zervi.url}/api/v1/auth/login", form)
    assert status == 401
    assert answer == {"success": False, "error": "wrong username or password"}


async def test_validate_answers_200_for_invalid_tokens_too(
    zervi: Zervi, client: aiohttp.ClientSession
) -> None:
    """Its status proves nothing; success does."""
    url = f"{zervi.url}/api/v1/auth/validate"
    valid = minting.user_claims("alice")
    for bad in (
        "",
        "a.b.c",
        minting.forge(valid, zervi.keys[0]),
        minting.sign(minting.expired(valid), zervi.keys[0]),
        minting.sign(valid, b"another secret of 32 bytes or more"),
    ):
        status, answer = await post(client, url, {"token": bad})
        assert (status, answer["success"]) == (200, False)
    for good in (zervi.token("alice"), zervi.token("alice", "odd"), zervi.service_token("looma")):
        status, answer = await post(client, url, {"token": good})
        assert (status, answer["success"]) == (200, True)


async def test_a_service_gets_a_service_token(zervi: Zervi, client: aiohttp.ClientSession) -> None:
    """data.service_token and data.expires_in, only for the right secret."""
    url = f"{zervi.url}/api/v1/auth/service/login"
    service = minting.SERVICES["basic-server"]
    form = {"service_id": "basic-server", "service_secret": service.secret}
    status, answer = await post(client, url, form)
    assert status == 200
    assert answer["data"]["expires_in"] > 0
    claims = jwt.decode(answer["data"]["service_token"], SECRET, algorithms=["HS256"])
    assert claims["service_id"] == "basic-server"
    assert claims["iss"] == "zervigo-service-auth"
    status, answer = await post(client, url, {**form, "service_secret": "wrong"})
    assert status == 401


async def test_the_engine_follows_the_stand_ins_rotation(
    zervi: Zervi, client: aiohttp.ClientSession
) -> None:
    """The JWKS is a good set, revalidates by ETag, gains a key, and loses the old one."""
    source = JwksUrl(minting.JWKS_ISSUER, ALGORITHMS, zervi.jwks_url)
    async with running(source, settings=SETTINGS._replace(refresh=1.0)) as rig:
        await rig.fetched()
        assert rig.kids == {"zervi-1"}
        await rig.fetched("not_modified")
        _status, answer = await post(client, f"{zervi.url}/demo/rotate", {})
        assert answer["data"] == {"keys": ["zervi-1", "zervi-2"], "signing": "zervi-2"}
        await rig.fetched()
        assert rig.kids == {"zervi-1", "zervi-2"}
        assert jwt.get_unverified_header(zervi.token("bob"))["kid"] == "zervi-2"
        await post(client, f"{zervi.url}/demo/rotate", {"withdraw": True})
        await rig.fetched()
        assert rig.kids == {"zervi-3"}


async def test_the_stand_in_can_be_down_and_come_back(
    zervi: Zervi, client: aiohttp.ClientSession
) -> None:
    """While down everything but the demo's own switches answers 503."""
    await post(client, f"{zervi.url}/demo/down", {"down": True})
    async with client.get(zervi.jwks_url) as response:
        assert response.status == 503
    await post(client, f"{zervi.url}/demo/down", {"down": False})
    async with client.get(zervi.jwks_url) as response:
        assert response.status == 200


async def test_a_port_in_use_is_an_error_that_says_so(zervi: Zervi) -> None:
    """A second stand-in on one port does not start."""
    port = int(zervi.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        await start_zervi(port, SECRET, algorithm="ES256")


async def test_permissions_are_those_of_the_moment(
    zervi: Zervi, client: aiohttp.ClientSession
) -> None:
    """Not those of a token; a disabled user has none, an unknown one is a 404."""
    url = f"{zervi.url}/api/users/2/permissions"
    zervi.live.permissions["2"] = ["a"]
    for held in (["a"], []):
        async with client.get(url) as response:
            data = (await response.json())["data"]
        assert (data["user_id"], data["permissions"]) == ("2", held)
        zervi.live.disabled.add("2")
    async with client.get(f"{zervi.url}/api/users/77/permissions") as response:
        assert response.status == 404


@pytest.mark.parametrize("token", ["opaque", "jwt"])
async def test_a_token_is_active_until_its_user_is_disabled(
    zervi: Zervi, client: aiohttp.ClientSession, token: str
) -> None:
    """By introspection and by validate, which answers 200 for invalid tokens too."""
    text = zervi.live.opaque_token("alice") if token == "opaque" else zervi.token("alice")
    for active in (True, False):
        async with client.post(f"{zervi.url}/oauth/introspect", data={"token": text}) as response:
            answer = await response.json()
        assert (answer["active"], answer.get("username")) == (active, "alice" if active else None)
        status, answer = await post(client, f"{zervi.url}/api/v1/auth/validate", {"token": text})
        assert (status, answer["success"]) == (200, active)
        zervi.live.disabled.add("2")


@pytest.mark.parametrize("by", ["the user", "the console", "a disabled account"])
@pytest.mark.parametrize("token", ["opaque", "jwt"])
async def test_a_logout_reaches_the_feed_and_each_look_up_alike(
    zervi: Zervi, client: aiohttp.ClientSession, token: str, by: str
) -> None:
    """The user, an operator of the console and an administrator have the same effect."""
    own = zervi.token("alice")
    text = zervi.live.opaque_token("alice") if token == "opaque" else own
    if by == "the user":
        url, sent = f"{zervi.url}/api/v1/auth/logout", {"Authorization": f"Bearer {own}"}
        async with client.post(url, headers=sent) as response:
            assert response.status == 200
    elif by == "the console":
        await post(client, f"{zervi.url}/api/users/2/logout", {})
    else:
        await post(client, f"{zervi.url}/demo/disable", {"username": "alice"})
    async with client.get(f"{zervi.url}/api/v1/auth/revocations") as response:
        (entry,) = (await response.json())["entries"]
    assert entry["user_id"] == "2"
    async with client.post(f"{zervi.url}/oauth/introspect", data={"token": text}) as response:
        assert (await response.json())["active"] is False
    _status, answer = await post(client, f"{zervi.url}/api/v1/auth/validate", {"token": text})
    assert answer["success"] is False
    async with client.get(f"{zervi.url}/api/users/2/auth-metrics") as response:
        assert (await response.json())["data"]["revoked_before"] == entry["not_before"]


async def test_a_role_is_granted_and_withdrawn(zervi: Zervi, client: aiohttp.ClientSession) -> None:
    for change, roles in (("grant", ["user", "admin"]), ("withdraw", ["user"])):
        form = {"username": "alice", "role": "admin"}
        await post(client, f"{zervi.url}/demo/{change}", form)
        async with client.get(f"{zervi.url}/api/users/2/permissions") as response:
            assert (await response.json())["data"]["roles"] == roles
    status, _answer = await post(client, f"{zervi.url}/demo/grant", {"username": "unknown"})
    assert status == 404
