"""Key sets under load and under attack, through the whole service."""

import asyncio
import gc
import sys
import time
from collections import Counter, deque
from collections.abc import Awaitable

import pytest

from demo import minting
from demo.stack import Stack
from demo.zervi import start_zervi
from sidecar.core.decision import DecisionRecord
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens import base64url
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.keys import KeySet
from sidecar.extauthz.service import CHECK, CheckService
from sidecar.pb.ext_authz_pb2 import CheckResponse
from sidecar.zervi.interface import JwksUrl, RefreshSettings
from sidecar.zervi.keyring import KeyRing
from tests.support import http1
from tests.support.checks import check_request, reason_of, service
from tests.support.policies import PROTECTED, snapshot
from tests.support.waiting import eventually

ALGORITHMS = frozenset({"ES256"})
LISTED = "/api/services/list"
PACE = 200  # requests a second
ROTATIONS = 3
ROUND = 200  # requests between two rotations
REQUESTS = 5 * ROUND
FLOOD = 10_000
SHARE = 500  # of the flood, concurrently


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


async def moment(when: float) -> None:
    """Wait for a moment of the loop's clock; one that is past is now."""
    reached = asyncio.Event()
    asyncio.get_running_loop().call_at(when, reached.set)
    await reached.wait()


@pytest.mark.asyncio(loop_scope="session")
async def test_no_good_token_is_denied_while_keys_rotate_under_load(open_stack: Stack) -> None:
    """Old and new tokens through Envoy, over three rotations, at a pace that no answer holds up."""
    zervi, port = open_stack.zervi, open_stack.ports.envoy
    tokens = [zervi.token("alice")]
    answers: Counter[tuple[int, int]] = Counter()  # by the token's number and the status
    begin = asyncio.get_running_loop().time()

    async def rotate() -> None:
        for rotation in range(1, ROTATIONS + 1):
            await moment(begin + rotation * ROUND / PACE)
            await zervi.rotate()
            tokens.append(zervi.token("alice"))

    async def ask(token: int) -> None:
        answer = await http1.send(port, LISTED, bearer(tokens[token]))
        answers[token, answer.status] += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rotate())
        for number in range(REQUESTS):
            await moment(begin + number / PACE)
            newest = len(tokens) - 1
            tasks.create_task(ask(newest if number % 2 else number // 2 % len(tokens)))
    assert answers.total() == REQUESTS
    assert set(answers) == {(token, 200) for token in range(ROTATIONS + 1)}


@pytest.mark.asyncio(loop_scope="session")
async def test_a_withdrawn_key_stops_within_one_refresh(open_stack: Stack) -> None:
    """Its tokens were verified before and are cached; the next good key set ends them."""
    zervi, port = open_stack.zervi, open_stack.ports.envoy
    old = bearer(zervi.token("alice"))
    assert (await http1.send(port, LISTED, old)).status == 200
    await zervi.rotate(withdraw=True)
    # A new token makes the sidecar fetch; from then on the old one is refused.
    assert (await http1.send(port, LISTED, bearer(zervi.token("alice")))).status == 200
    answer = await http1.send(port, LISTED, old)
    assert answer.status == 401
    assert answer.json["reason"] == "token_key_unknown"


class Flooded:
    """The Check service over a key ring that fetches from the stand-in."""

    def __init__(self, url: str, settings: RefreshSettings) -> None:
        self.results: list[str] = []
        self.ring = KeyRing(
            [JwksUrl(minting.JWKS_ISSUER, ALGORITHMS, url)],
            settings,
            on_keys=self._on_keys,
            on_refresh=lambda _, result, __: self.results.append(result),
        )
        last: deque[DecisionRecord] = deque(maxlen=1)
        self.checks: CheckService = service(self._snapshot(None), self.ring, last)

    def _snapshot(self, keys: KeySet | None) -> Snapshot:
        return snapshot((PROTECTED,), (Issuer(minting.JWKS_ISSUER, ALGORITHMS, keys=keys),))

    def _on_keys(self, _: int, keys: KeySet) -> None:
        self.checks.swap(self._snapshot(keys))

    async def ask(self, token: str) -> str:
        message = check_request(headers={"authorization": [f"Bearer {token}".encode()]})
        given = self.checks.methods().unary[CHECK](message, time.monotonic() + 60)
        answer = await given if isinstance(given, Awaitable) else given
        return reason_of(CheckResponse.FromString(answer))


async def test_a_flood_of_made_up_kids_costs_a_fetch_a_cooldown_and_no_memory() -> None:
    """10,000 tokens with a kid of their own: good ones pass among them, two fetches are made."""
    zervi = await start_zervi(0, b"not used", algorithm="ES256")
    flooded = Flooded(zervi.jwks_url, RefreshSettings(3600.0, 5.0, 86400.0, 3600.0))
    await flooded.ring.start()
    try:
        await eventually(lambda: flooded.results, "the first keys")
        stranger = minting.new_key("stranger", "ES256")
        claims = minting.user_claims("alice") | {"permissions": ["closed:read"]}
        signature = minting.sign(claims, stranger).rpartition(".")[2]
        payload = minting.sign(claims, stranger).split(".")[1]
        good = minting.sign(claims, zervi.keys[-1])
        reasons: Counter[str] = Counter()
        blocks = 0
        for first in range(0, FLOOD, SHARE):
            numbers = range(first, first + SHARE)
            tokens = [made_up(number, payload, signature) for number in numbers]
            reasons.update(await asyncio.gather(*map(flooded.ask, tokens)))
            assert await flooded.ask(good) == "ok"
            gc.collect()
            blocks = blocks or sys.getallocatedblocks()  # what is allocated once is by now
        # On a busy machine, a request that waits longer than unknown_key_wait gets `retry-after`.
        assert set(reasons) <= {"token_key_unknown", "not_ready"}
        assert reasons.total() == FLOOD
        assert len(flooded.results) <= 3  # the first one, and a burst of two
        assert flooded.checks.cached_tokens == 1
        assert sys.getallocatedblocks() - blocks < FLOOD / 2
    finally:
        await flooded.ring.close()
        await zervi.stop()


def made_up(number: int, payload: str, signature: str) -> str:
    """Write a token with an unknown kid; signing each would only take time."""
    header = base64url.encode(b'{"alg":"ES256","kid":"made-up-%d"}' % number).decode()
    return f"{header}.{payload}.{signature}"
