"""docs/zervi-revocations.openapi.yaml, the stand-in's feed, and what the sidecar reads agree."""

from typing import Any

import aiohttp
import jsonschema
import pytest

from demo.zervi import Zervi, start_zervi
from demo.zervi_revocations import PAGE, REVOCATIONS_PATH
from sidecar.core.tokens.revocations import Entries, EntryError
from sidecar.zervi.revocation.interface import MAX_CURSOR
from tests.edge.looma_contract import Contract
from tests.edge.revocation_rig import NOW, Feed, following, serving_feed
from tests.support.waiting import eventually

CONTRACT = Contract("zervi-revocations")
ENTRY = {"$ref": "#/components/schemas/Entry"}

ENTRIES: list[tuple[dict[str, Any], bool]] = [
    ({"user_id": "7", "not_before": NOW}, True),
    ({"user_id": "7", "not_before": NOW + 0.5, "issuer": "zervi"}, True),
    ({"service_id": "looma", "not_before": 0}, True),
    ({"token_sha256": "aB" * 32}, True),
    ({"token_sha256": "ab" * 32, "issuer": "zervi"}, True),
    ({"jti": "a"}, True),
    ({"issuer": "zervi", "not_before": NOW}, True),
    ({}, False),
    ({"user_id": "7"}, False),
    ({"user_id": "", "not_before": NOW}, False),
    ({"user_id": "x" * 1025, "not_before": NOW}, False),
    ({"user_id": "7", "not_before": -1}, False),
    ({"user_id": "7", "not_before": 1e15}, False),
    ({"user_id": "7", "not_before": "now"}, False),
    ({"user_id": "7", "service_id": "7", "not_before": NOW}, False),
    ({"jti": "a", "user_id": "7", "not_before": NOW}, False),
    ({"token_sha256": "ab"}, False),
    ({"issuer": "zervi"}, False),
    ({"not_before": NOW}, False),
]


@pytest.mark.parametrize(("entry", "right"), ENTRIES)
def test_the_contract_and_the_sidecar_accept_the_same_entries(
    entry: dict[str, Any], right: bool
) -> None:
    """The sidecar also takes integers for names, and ignores members that it does not know."""
    if right:
        CONTRACT.check(ENTRY, entry)
        assert Entries().add(entry, NOW)
        return
    with pytest.raises(jsonschema.ValidationError):
        CONTRACT.check(ENTRY, entry)
    with pytest.raises(EntryError):
        Entries().add(entry, NOW)


def test_the_bounds_of_the_contract_are_the_sidecars() -> None:
    assert CONTRACT.document["components"]["schemas"]["Cursor"]["maxLength"] == MAX_CURSOR


@pytest.fixture
async def zervi() -> Any:
    running = await start_zervi(0, b"x" * 32)
    yield running
    await running.stop()


async def get(base: str, after: str | None = None, tag: str | None = None) -> tuple[int, Any, str]:
    """Return status, body and ETag of a page, which fits the contract."""
    headers = {} if tag is None else {"If-None-Match": tag}
    query = {} if after is None else {"after": after}
    async with (
        aiohttp.ClientSession() as session,
        session.get(base + REVOCATIONS_PATH, params=query, headers=headers) as answer,
    ):
        body = await answer.json() if answer.status == 200 else None
        CONTRACT.check_answer("GET", REVOCATIONS_PATH, answer.status, body)
        return answer.status, body, answer.headers.get("ETag", "")


async def test_the_stand_in_answers_as_the_contract_says(zervi: Zervi) -> None:
    """Pages follow their cursors to an empty one, which repeats its cursor."""
    assert (await get(zervi.url))[1] == {"entries": [], "cursor": "0"}
    for number in range(PAGE + 1):
        zervi.revocations.revoke_user(number)
    status, first, tag = await get(zervi.url)
    assert (status, len(first["entries"])) == (200, PAGE)
    assert (await get(zervi.url, tag=tag))[0] == 304
    _, second, _ = await get(zervi.url, first["cursor"])
    assert len(second["entries"]) == 1
    _, last, _ = await get(zervi.url, second["cursor"])
    assert last == {"entries": [], "cursor": second["cursor"]}
    for unknown in ("9999", "-1", "x", "9" * 2000):
        assert (await get(zervi.url, unknown))[0] == 410


async def test_a_logout_and_a_disabled_user_are_in_the_feed(zervi: Zervi) -> None:
    """By the token's own user, before the next whole second; a bad token changes nothing."""
    url = zervi.url
    async with aiohttp.ClientSession() as session:
        for value, status in (("Bearer x", 401), (f"Bearer {zervi.token('alice')}", 200)):
            headers = {"Authorization": value}
            async with session.post(f"{url}/api/v1/auth/logout", headers=headers) as answer:
                assert answer.status == status
        for name, status in (("nobody", 404), ("bob", 200)):
            body = {"username": name}
            async with session.post(f"{url}/demo/disable", json=body) as answer:
                assert answer.status == status
        login = {"username": "bob", "password": "x"}
        async with session.post(f"{url}/api/v1/auth/login", json=login) as answer:
            assert answer.status in (401, 403)
    _, page, _ = await get(url)
    assert len(page["entries"]) == 2


async def test_the_sidecar_reads_the_stand_in(zervi: Zervi) -> None:
    """From its first page to a new entry."""
    for number in range(2 * PAGE + 1):
        zervi.revocations.revoke_user(number)
    async with following(zervi.url + REVOCATIONS_PATH) as followed:
        await followed.read(1, "success")
        assert followed.holds(0, PAGE, 2 * PAGE)
        zervi.revocations.revoke_user("new")
        await eventually(lambda: followed.holds("new"), "the new entry comes")


async def test_the_tests_own_feed_answers_as_the_contract_says() -> None:
    """What the other tests read is a feed."""
    async with serving_feed(Feed(*(entry for entry, right in ENTRIES if right), page=3)) as url:
        cursor: str | None = None
        for expected in (3, 3, 1, 0):
            _, page, _ = await get(url, cursor)
            assert len(page["entries"]) == expected
            cursor = page["cursor"]
        assert (await get(url, "99"))[0] == 410
