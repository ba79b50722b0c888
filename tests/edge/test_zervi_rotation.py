"""Rotation while tokens keep coming: no good token is denied, a removed key stops."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from demo import minting
from demo.zervi import Zervi, start_zervi
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.verify import NeedsKey, Verified, verify
from sidecar.zervi.interface import JwksUrl, RefreshSettings
from tests.edge.zervi_rig import SETTINGS, Rig, running
from tests.support.judging import snapshot

ALGORITHMS = frozenset({"ES256"})
AUDIENCES = frozenset({minting.AUDIENCE})
READERS = 20
ROUND = 10 * READERS  # tokens between two rotations


@contextlib.asynccontextmanager
async def zervi_and_rig(settings: RefreshSettings) -> AsyncIterator[tuple[Zervi, Rig]]:
    """Run the stand-in and a key ring that has its first keys."""
    zervi = await start_zervi(0, b"not used here, but 32 bytes are due", algorithm="ES256")
    source = JwksUrl(minting.JWKS_ISSUER, ALGORITHMS, zervi.jwks_url)
    async with running(source, settings=settings) as rig:
        rig.clock.now = time.time()
        await rig.fetched()
        yield zervi, rig
    await zervi.stop()


def look(rig: Rig, token: bytes) -> Verified | NeedsKey:
    """Verify against the keys of this moment."""
    issuer = Issuer(minting.JWKS_ISSUER, ALGORITHMS, AUDIENCES, keys=rig.keys[0])
    return verify(token, snapshot(issuer), time.time())


async def accepted(rig: Rig, token: bytes) -> bool:
    """Judge as the Check service does: look, wait once for a key that is missing, look again."""
    found = look(rig, token)
    if isinstance(found, NeedsKey):
        await rig.ask(found.kid)
        found = look(rig, token)
    return isinstance(found, Verified)


@pytest.mark.parametrize("refresh", [1.0, 3600.0], ids=["in_background_too", "on_demand_alone"])
async def test_no_good_token_is_denied_while_the_issuer_rotates(refresh: float) -> None:
    """Tokens of the newest key and of all earlier ones pass, at every moment of six rotations."""
    async with zervi_and_rig(SETTINGS._replace(refresh=refresh)) as (zervi, rig):
        tokens = [zervi.token("alice").encode()]
        answers: list[bool] = []
        rotating = True

        async def present(turn: int) -> None:
            while rotating:
                turn += 1
                token = tokens[-1] if turn % 2 else tokens[turn % len(tokens)]
                answers.append(await accepted(rig, token))
                await asyncio.wait([asyncio.ensure_future(rig.ask(issuer=1))])  # lets others run

        readers = [asyncio.ensure_future(present(number)) for number in range(READERS)]
        for rotation in range(1, 7):
            await zervi.rotate()
            tokens.append(zervi.token("alice").encode())
            while len(answers) < rotation * ROUND:
                await asyncio.wait(readers, timeout=0.001)
        rotating = False
        await asyncio.gather(*readers)
        assert all(answers)
        assert len(rig.kids) == 7


async def test_a_withdrawn_key_stops_with_the_next_refresh() -> None:
    """Once a good set lacks the key its tokens need a key that does not exist."""
    async with zervi_and_rig(SETTINGS) as (zervi, rig):
        old = zervi.token("alice").encode()
        assert await accepted(rig, old)
        await zervi.rotate(withdraw=True)
        assert await accepted(rig, zervi.token("alice").encode())
        assert not await accepted(rig, old)
