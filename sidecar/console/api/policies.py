"""``/api/policies``: the tables that nodes run, what they require, and how two differ."""

import asyncio
from collections import Counter, defaultdict
from typing import Any, Final

from aiohttp import web

from sidecar.console.answers import answer, fail
from sidecar.console.caller import Caller
from sidecar.console.fleet.cluster import Cluster
from sidecar.console.pages.words import text
from sidecar.console.policies.differences import Difference, differences
from sidecar.console.policies.requires import Said, requirements
from sidecar.console.policies.tables import Table, TableFiles, Tables
from sidecar.console.shared import Shared
from sidecar.core.routes.route import Route

EVERY: Final = 5.0  # seconds between two looks at the files
MAX_SERVICES: Final = 50  # that are named for a policy


class PoliciesApi:
    """Handlers over the tables of the configuration and the digests that nodes report."""

    def __init__(self, files: TableFiles, cluster: Cluster) -> None:
        self._files = files
        self._cluster = cluster
        self.tables = Shared("the policies", self._read, EVERY)

    async def policies(self, _request: web.Request, _caller: Caller) -> web.Response:
        """Return every policy that is known or runs."""
        return answer(await self.listing())

    async def policy(self, request: web.Request, _caller: Caller) -> web.Response:
        """Return one policy, and with ``from`` how it differs from another."""
        return answer(await self.one(request.match_info["digest"], request.query.get("from", "")))

    async def listing(self) -> dict[str, Any]:
        """Return ``GET /api/policies``."""
        tables, runs = await self.known(), await self._runs()
        digests = sorted(
            {*tables.by_digest, *runs}, key=lambda each: (-runs.get(each, Counter()).total(), each)
        )
        return {
            "policies": [
                _summary(digest, tables.by_digest.get(digest), runs.get(digest, Counter()))
                for digest in digests
            ],
            "problems": [problem._asdict() for problem in tables.problems],
        }

    async def one(self, digest: str, other: str = "") -> dict[str, Any]:
        """Return ``GET /api/policies/{digest}``. Raises ProblemError."""
        tables, runs = await self.known(), await self._runs()
        table = tables.by_digest.get(digest)
        if table is None and digest not in runs:
            fail(404, "NO_POLICY", "no node runs such a policy, and the console has no such table")
        found = _summary(digest, table, runs.get(digest, Counter()))
        found["routes"] = [] if table is None else list(map(_route, table.config.policy.routes))
        found["lint"] = [
            {
                "code": each.code,
                "severity": each.severity,
                "line": each.line,
                "message": each.message,
                "help": each.help,
            }
            for each in (() if table is None else table.findings)
        ]
        found["differences"] = None
        if other:
            before = tables.by_digest.get(other)
            if before is None or table is None:
                fail(404, "NO_TABLE", "the console has no such table to compare with")
            compared = await asyncio.to_thread(
                differences, before.config.policy, table.config.policy
            )
            found["differences"] = list(map(_difference, compared))
        return found

    async def table(self, digest: str) -> Table:
        """Return a table; with an empty digest, a current one. Raises ProblemError."""
        tables = (await self.known()).by_digest
        if not digest:
            current = [table for table in tables.values() if table.current]
            if not current:
                fail(404, "NO_TABLE", "no table is configured: `policies` is empty or unusable")
            return current[0]
        if digest not in tables:
            fail(404, "NO_TABLE", "the console has no table with this digest")
        return tables[digest]

    async def known(self) -> Tables:
        """Return the tables that are known now."""
        return (await self.tables.get()).value or Tables({}, ())

    async def digests(self) -> set[str] | None:
        """Return the digests that are known, None where no table is configured."""
        tables = await self.known()
        return set(tables.by_digest) if tables.by_digest or tables.problems else None

    async def _read(self) -> Tables:
        return await asyncio.to_thread(self._files.read)

    async def _runs(self) -> dict[str, Counter[str]]:
        """Return the services that run each digest, with their numbers of nodes."""
        runs: dict[str, Counter[str]] = defaultdict(Counter)
        view = (await self._cluster.nodes.get()).value  # tables are shown without a registry too
        for node in () if view is None else view.fleet.nodes.values():
            if node.report.digest:
                runs[node.report.digest][node.service] += 1
        return runs


def _summary(digest: str, table: Table | None, runs: Counter[str]) -> dict[str, Any]:
    findings = Counter(str(each.severity) for each in table.findings) if table else Counter()
    return {
        "digest": digest,
        "known": table is not None,
        "current": table is not None and table.current,
        "file": "" if table is None else table.name,
        "nodes": runs.total(),
        "services": [name for name, _ in runs.most_common(MAX_SERVICES)],
        "route_count": 0 if table is None else len(table.config.policy.routes),
        "findings": {name: findings[name] for name in ("error", "warning", "info")},
    }


def _route(route: Route) -> dict[str, Any]:
    said = list(requirements(route)) or [Said("req_token")]
    return {
        "name": route.name,
        "path": route.path,
        "methods": sorted(route.methods),
        "hosts": sorted(route.hosts),
        "target": route.target,
        "public": route.public,
        "requires": [_said(each) for each in said],
    }


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "kind": each.kind,
        "effect": each.effect,
        "route": each.name,
        "path": each.path,
        "methods": list(each.methods),
        "changes": [{"effect": change.effect, **_said(change.said)} for change in each.changes],
    }


def _said(said: Said) -> dict[str, Any]:
    """Return a sentence in English, with the parts from which a page makes it in its language."""
    return {"code": said.code, "values": list(said.values), "text": sentence("en", said)}


def sentence(language: Any, said: Said) -> str:
    """Return a sentence about a route."""
    first = said.values[0] if said.values else ""
    last = said.values[-1] if said.values else ""
    return text(language, said.code, values=", ".join(said.values), old=first, new=last)
