"""The inputs of every section."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.rounds import Plan
from bench.sidecars import PERMISSION, Kind, Sidecar, running
from demo.minting import SigningKey, sign, user_claims

NEW_PATHS = 5_000  # used in turn, so none is still remembered
USERS = 500  # their tokens stay in the cache


@dataclass(frozen=True)
class World:
    """Zervi's key and address, a directory for files, the plan."""

    key: SigningKey
    jwks_url: str
    directory: Path
    plan: Plan
    before: Path | None = None  # the source tree of an earlier commit to compare with

    def token(self, number: int = 0) -> str:
        """Return a token with the permission, a different one for each number."""
        claims = {**user_claims("alice"), "permissions": [PERMISSION], "jti": str(number)}
        return sign(claims, self.key)

    def file(self, name: str, lines: Sequence[str]) -> Path:
        """Write the lines that wrk sends."""
        path = self.directory / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def paths(self) -> Path:
        """Write requests for wrk with one token, each with a different path."""
        token = self.token()
        return self.file("paths", [f"{token} /{number}" for number in range(NEW_PATHS)])

    def users(self) -> Path:
        """Write requests for wrk of different users, each with a different path."""
        tokens = [
            sign({**user_claims("alice"), "user_id": number, "permissions": [PERMISSION]}, self.key)
            for number in range(USERS)
        ]
        lines = [f"{tokens[number % USERS]} /{number}" for number in range(NEW_PATHS)]
        return self.file("users", lines)

    @asynccontextmanager
    async def sidecars(self, *kinds: Kind) -> AsyncIterator[list[Sidecar]]:
        """Run sidecars concurrently."""
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(running(kind, self.jwks_url, self.directory))
                for kind in kinds
            ]
