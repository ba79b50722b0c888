"""A key ring with everything that it reports, for tests of the key-set engine."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from sidecar.core.tokens.keys import KeySet
from sidecar.zervi.interface import JwksUrl, RefreshSettings, Source
from sidecar.zervi.keyring import KeyRing
from tests.support.signing import ec_key, jwk, jwks
from tests.support.waiting import eventually

ISSUER = "https://zervi.test"
ALGORITHMS = frozenset({"ES256", "ES384", "ES512", "RS256", "PS256", "EdDSA"})

# Nothing happens by itself within a test, unless it failed before: a retry comes soon.
SETTINGS = RefreshSettings(refresh=3600.0, timeout=5.0, max_stale=86400.0, cooldown=3600.0)
HASTE = SETTINGS._replace(timeout=0.3)  # for servers that never finish


class Soonest(Random):
    """Dice that fall on next to no wait, and remember what they could have fallen on."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[tuple[float, float]] = []
        self.wait = 0.01

    def uniform(self, a: float, b: float) -> float:
        self.spans.append((a, b))
        return self.wait


class Clock:
    """Seconds since the epoch, moved by hand."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Rig:
    """What a key ring handed on: ``keys`` by issuer, and each fetch's ``results``."""

    def __init__(self, sources: Sequence[Source | None], settings: RefreshSettings) -> None:
        self.clock = Clock()
        self.dice = Soonest()
        self.keys: dict[int, KeySet] = {}
        self.swaps = 0
        self.results: list[tuple[int, str, str]] = []
        self.ring = KeyRing(
            sources,
            settings,
            on_keys=self._on_keys,
            on_refresh=lambda *result: self.results.append(result),
            clock=self.clock,
            random=self.dice,
        )

    def _on_keys(self, index: int, keys: KeySet) -> None:
        self.keys[index] = keys
        self.swaps += 1

    @property
    def kids(self) -> set[str]:
        """The first issuer's key ids."""
        return set(self.keys[0].by_kid) if 0 in self.keys else set()

    @property
    def last(self) -> tuple[str, str]:
        """The latest fetch's result and detail."""
        return self.results[-1][1:]

    def count(self, result: str) -> int:
        """How many fetches ended so."""
        return sum(entry[1] == result for entry in self.results)

    async def fetched(self, result: str = "success") -> None:
        """Wait for one more fetch that ends so."""
        before = self.count(result)
        await eventually(lambda: self.count(result) > before, f"a fetch that ends in {result}")

    async def ask(self, kid: str | None = "unknown", issuer: int = 0) -> bool:
        """Ask for a key and wait for the result."""
        answer = self.ring.refresh_for(issuer, kid)
        return answer if isinstance(answer, bool) else await answer


@contextlib.asynccontextmanager
async def running(
    *sources: Source | None, settings: RefreshSettings = SETTINGS
) -> AsyncIterator[Rig]:
    """Run a key ring over these sources."""
    rig = Rig(sources, settings)
    await rig.ring.start()
    try:
        yield rig
    finally:
        await rig.ring.close()


def source(url: str, ca_file: Path | None = None) -> JwksUrl:
    """Return an issuer with keys at this URL."""
    return JwksUrl(ISSUER, ALGORITHMS, url, ca_file)


def key_set(*kids: str) -> bytes:
    """Return a document with an EC key for each kid; the same key for the same kid."""
    return jwks(*(public(kid) for kid in kids))


def public(kid: str, **members: Any) -> dict[str, Any]:
    """Return the EC key of this kid as a JWK."""
    return jwk(ec_key(name=kid), kid=kid, use="sig", **members)
