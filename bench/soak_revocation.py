"""Revokes users while Envoy remembers their requests, and sees for how long these still pass."""

import asyncio
import json
import time
from collections.abc import Sequence
from itertools import count

from bench.soak_traffic import ENVOYS_OWN, HOST, Http1, Kind, Tally
from demo.minting import SigningKey, sign, user_claims
from demo.zervi import Zervi

POLL_SECONDS = 1.0  # of the sidecar, ±15 %
SLACK_SECONDS = 2.0  # for a busy machine, to poll and to answer
PAUSE_SECONDS = 0.02  # between two requests
REPEATS = 20  # requests before a user is revoked, and after the memory is over
FIRST_USER = 100_000  # no user of the demo


class Revoker:
    """Revokes one user after the other. ``longest`` is in seconds from revocation to last allow.

    ``memory`` is for how many seconds Envoy remembers. One request asks ahead of this time's end,
    so others may pass after its denial until the memory is over.
    """

    def __init__(
        self, port: int, zervi: Zervi, signers: Sequence[SigningKey], memory: float
    ) -> None:
        self._port, self._zervi, self._signers = port, zervi, signers
        self._memory = memory
        self.revoked = 0
        self.longest = 0.0

    async def run(self, tally: Tally) -> None:
        """Revoke for ever; unexpected answers go to ``tally``."""
        for user in count(FIRST_USER):
            token = sign({**user_claims("alice"), "user_id": user}, self._signers[-1])
            allowed = Kind("a user to revoke", 200, str(user), token=lambda token=token: token)  # type: ignore[misc]  # -- mypy has no type for a default
            for _ in range(REPEATS):
                await self._is_allowed(allowed, tally)
            self._zervi.revocations.revoke_user(user)
            begin = time.monotonic()
            last = 0.0
            while await self._is_allowed(allowed, tally) is not False:
                last = time.monotonic() - begin
                await asyncio.sleep(PAUSE_SECONDS)
            over = time.monotonic() + self._memory
            while time.monotonic() < over:
                if await self._is_allowed(allowed, tally):
                    last = time.monotonic() - begin
                await asyncio.sleep(PAUSE_SECONDS)
            self.longest = max(self.longest, last)
            for _ in range(REPEATS):
                if await self._is_allowed(allowed, tally):
                    tally.wrong.append(f"user {user}: passed when the memory was over")
                await asyncio.sleep(PAUSE_SECONDS)
            self.revoked += 1

    async def _is_allowed(self, kind: Kind, tally: Tally) -> bool | None:
        """Send a request; None: the sidecar was not asked, because its connection was cut."""
        reader, writer = await asyncio.open_connection(HOST, self._port)
        try:
            status, body = await Http1(reader, writer).ask(kind)
        finally:
            writer.close()
        if status == 503 and ENVOYS_OWN in body:
            tally.lost += 1
            return None
        if status == 401 and json.loads(body)["reason"] == "token_revoked":
            return False
        if not kind.is_right(status, body):
            tally.wrong.append(f"{kind.name}: {status} {body[:300]!r}")
        return True
