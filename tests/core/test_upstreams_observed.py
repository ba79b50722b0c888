"""What a real server was seen to run is never decided as less strict than that handler's route.

The tables of tests/upstreams are the judge: each row is a request, and the handler that ran. The
policy has the server's own routes, that handler's protected and every other public, so an allow
without a token is a way in.
"""

from collections.abc import Callable, Iterable
from functools import cache

import pytest

from sidecar.core.decision import Allow, decide
from sidecar.core.paths import ALLOWABLE
from sidecar.core.routes import Route
from sidecar.core.snapshot import Snapshot
from tests.support.policies import NOW, request, snapshot
from tests.upstreams.observe import Row
from tests.upstreams.scenario import ROUTES
from tests.upstreams.table import DOCUMENTED, Observed, names, read

PROFILES = {
    "django": "django",
    "django-ignore-case": "django",
    "django-rest-framework": "django",
    "express4": "express",
    "express5": "express",
    "express5-method-override": "express",
    "express5-mounted": "express",
    "fastapi": "fastapi",
    "go-chi": "go",
    "go-echo": "go",
    "go-gin": "go",
    "go-gorilla": "go",
    "go-servemux": "go",
    "koa": "express",
    "laravel": "laravel",
    "nginx": "nginx",
    "nginx-ignore-case": "nginx",
    "rails": "rails",
    "spring-5": "spring",
    "spring-5-ignore-case": "spring",
    "spring-5-suffix": "spring",
    "spring-7": "spring",
    "spring-7-ignore-case": "spring",
    "symfony": "symfony",
    "symfony-index-php": "symfony",
}
"""Which ``policy.upstream`` a server's operator would write. The others have generic only."""


@cache
def policy_of(
    handlers: frozenset[str],
    protected: str,
    upstream: str,
    ignore_case: bool,
    allow: frozenset[str],
) -> Snapshot:
    """Return a policy of the registered routes, of which one is protected, and a public rest."""
    routes = [Route(0, "elsewhere", "/*", public=True)]
    for each in ROUTES:
        if each.name in handlers:
            closed = each.name == protected
            routes.append(
                Route(
                    len(routes),
                    each.name,
                    each.path,
                    methods=frozenset({each.method} if each.method else ()),
                    public=not closed,
                    permissions=("closed",) if closed else (),
                )
            )
    return snapshot(routes, upstream=upstream, ignore_case=ignore_case, allow_paths=allow)


Judged = Callable[[Row], bool]


def of_paths(row: Row) -> bool:
    """Say whether a row is about the path and nothing else."""
    return not {"method", "headers", "body"} & row.keys()


def of_methods(row: Row) -> bool:
    """Say whether a row is about the method, and a Check shows what it is about.

    A body is not shown (``check`` warns of it), and headers that override a method are removed.
    """
    overridden = any("override" in each for each in row.get("headers", ()))
    return not of_paths(row) and "body" not in row and not overridden


def ways_in(
    table: Observed, upstreams: Iterable[str], judged: Judged, allow: frozenset[str] = frozenset()
) -> list[str]:
    """Name the rows whose handler is protected, and which are allowed without a token."""
    rows = [row for row in table.rows if "handler" in row]
    handlers = frozenset(row["handler"] for row in rows)
    ignore_case = table.server.endswith("-ignore-case")
    wrong = []
    for row in filter(judged, rows):
        headers = {
            name: (value.strip().encode(),)
            for name, _, value in (line.partition(":") for line in row.get("headers", ()))
        }
        asked = request(row["target"].encode("latin-1"), row.get("method", "GET"), headers)
        for upstream in upstreams:
            closed = policy_of(handlers, row["handler"], upstream, ignore_case, allow)
            decision = decide(asked, closed, {}, NOW)
            if isinstance(decision, Allow):
                wrong.append(
                    f"{upstream}: {asked.method} {row['target']} runs {row['handler']}, "
                    f"decided as {decision.route.name}"
                )
    return wrong


def profiles(server: str) -> list[str]:
    """Return the profiles under which a server is judged."""
    return ["generic", *([PROFILES[server]] if server in PROFILES else [])]


@pytest.mark.parametrize("server", names())
@pytest.mark.parametrize("allow", [frozenset[str](), ALLOWABLE], ids=["plain", "all-features"])
def test_no_spelling_of_a_path_reaches_a_protected_handler_of_a_real_server(
    server: str, allow: frozenset[str]
) -> None:
    """Under ``generic`` and under the server's own profile, with and without ``allow_paths``."""
    wrong = ways_in(read(server), profiles(server), of_paths, allow)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("allow", [frozenset[str](), ALLOWABLE], ids=["plain", "all-features"])
def test_nor_of_one_that_is_known_by_its_documentation_only(allow: frozenset[str]) -> None:
    """ASP.NET: nothing here can show that it does so."""
    wrong = ways_in(read("aspnet", DOCUMENTED), ["generic", "aspnet"], of_paths, allow)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("server", names())
def test_no_method_reaches_a_protected_handler_of_a_real_server(server: str) -> None:
    """HEAD for GET, OPTIONS and made-up preflights, methods that nobody knows, ``_method``."""
    wrong = ways_in(read(server), profiles(server), of_methods)
    assert not wrong, "\n".join(wrong)
