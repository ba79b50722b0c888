"""What a real server was seen to run is never decided as less strict than that handler's route.

The tables of tests/upstreams are the judge: each row is a request, and the handler that ran. The
policy has the server's own routes, that handler's protected and every other public, so an allow
without a token is a way in.
"""

import re
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from sidecar.core.decision import Allow, decide
from sidecar.core.paths.canonical import ALLOWABLE
from sidecar.core.routes.table import Route
from sidecar.core.snapshot import Snapshot
from tests.support.policies import NOW, request, snapshot
from tests.upstreams.observe import Row
from tests.upstreams.scenario import ROUTES
from tests.upstreams.table import DOCUMENTED, Observed, names, read

PROFILES = {
    "aiohttp": "fastapi",
    "bottle": "fastapi",
    "django": "django",
    "django-ignore-case": "django",
    "django-rest-framework": "django",
    "express4": "express",
    "express5": "express",
    "express5-method-override": "express",
    "express5-mounted": "express",
    "fastapi": "fastapi",
    "flask": "fastapi",
    "go-chi": "go",
    "go-echo": "go",
    "go-fiber": "express",
    "go-gin": "go",
    "go-gorilla": "go",
    "go-servemux": "go",
    "koa": "express",
    "laravel": "laravel",
    "nginx": "nginx",
    "nginx-ignore-case": "nginx",
    "rails": "rails",
    "sinatra": "fastapi",
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
def policy_of(protected: str, upstream: str, ignore_case: bool, allow: frozenset[str]) -> Snapshot:
    """Return a policy of the registered routes, of which one is protected, and a public rest."""
    routes = [Route(0, "elsewhere", "/*", public=True)]
    for index, each in enumerate(ROUTES, 1):
        closed = each.name == protected
        routes.append(
            Route(
                index,
                each.name,
                each.path,
                methods=frozenset({each.method} if each.method else ()),
                public=not closed,
                permissions=("closed",) if closed else (),
            )
        )
    return snapshot(routes, upstream=upstream, ignore_case=ignore_case, allow_paths=allow)


class Open(NamedTuple):
    """What stays open, and why: expressions of the server, the profile and the target."""

    why: str
    server: str
    upstream: str
    target: str


OPEN = (
    Open(
        "Both routes match letter by letter, and neither is the wider: which one runs is a matter "
        "of their order. The lint overlap says so.",
        ".*",
        ".*",
        "/mixed/start/end",
    ),
    Open(
        "Echo gives a last {name} the rest of the path. To read it so would change ordinary paths "
        "of every table with /x/{id} beside /x/*; the guide tells to write /x/{id}/* too.",
        "go-echo",
        "go|generic",
        "/(docs|items|things)/[^/]*/.+",
    ),
    Open(
        "generic takes a closed list of formats; the profiles rails and spring take any.",
        "rails|spring-5-suffix",
        "generic",
        r"/(api/admin|docs/secret)\.(php|foo)?",
    ),
    Open(
        "A {name} of Rails takes no dot. Under generic ids such as a@b.com must own their path.",
        "rails",
        "generic",
        "/users/7.json/keys",
    ),
    Open(
        "Sanic registers a literal quoted, so the path as it is written is never that route's.",
        "sanic",
        "generic",
        "/items/@me",
    ),
    Open(
        "These compare before decoding (hapi refuses to register it): a literal that is not ASCII "
        "never matches unless it is registered encoded, which its developer sees immediately.",
        "express.*|go-fiber|hapi|koa|tornado",
        "generic|express",
        "/fold/(stra%C3%9Fe|caf%C3%A9)",
    ),
    Open(
        "proxy_pass with $uri sends a decoded path on, a space at its end too. With it a request "
        "can be split in two: it is a fault of that configuration.",
        "nginx-behind-nginx-decoded",
        "generic",
        "/(docs/secret|api/admin)%20",
    ),
)


def why_open(server: str, upstream: str, target: str) -> str | None:
    """Return why a request may pass, None where it may not."""
    for each in OPEN:
        of = zip(each[1:], (server, upstream, target), strict=True)
        if all(re.fullmatch(pattern, text) for pattern, text in of):
            return each.why
    return None


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


class WayIn(NamedTuple):
    """A request that is allowed without a token, and runs a protected handler."""

    upstream: str
    method: str
    target: str
    seen: str


def ways_in(
    table: Observed, upstreams: Iterable[str], judged: Judged, allow: frozenset[str] = frozenset()
) -> list[WayIn]:
    """Return the rows whose handler is protected, and which are allowed without a token."""
    rows = [row for row in table.rows if "handler" in row]
    ignore_case = table.server.endswith("-ignore-case")
    wrong = []
    for row in filter(judged, rows):
        headers = {
            name: (value.strip().encode(),)
            for name, _, value in (line.partition(":") for line in row.get("headers", ()))
        }
        asked = request(row["target"].encode("latin-1"), row.get("method", "GET"), headers)
        for upstream in upstreams:
            closed = policy_of(row["handler"], upstream, ignore_case, allow)
            decision = decide(asked, closed, {}, NOW)
            if isinstance(decision, Allow):
                seen = f"runs {row['handler']}, decided as {decision.route.name}"
                wrong.append(WayIn(upstream, asked.method, row["target"], seen))
    return wrong


def profiles(server: str) -> list[str]:
    """Return the profiles by which a server is compared."""
    return ["generic", *([PROFILES[server]] if server in PROFILES else [])]


@pytest.mark.parametrize("server", names())
def test_the_page_tells_which_value_a_server_needs(server: str) -> None:
    """A program without a framework has generic, whatever it does."""
    page = (Path(__file__).parents[2] / "docs" / "upstreams.md").read_text(encoding="utf-8")
    table = page.partition("## Which value to set")[2].partition("\n## ")[0].lower()
    (name,) = re.findall(r"^(?:go-)?([a-z]+)", server)
    rows = [row for row in table.splitlines() if re.search(rf"\b{name}\b.*\|.*`", row)]
    wanted = f"`{PROFILES.get(server, 'generic')}`"
    if server not in PROFILES and not rows:
        assert name in {"node", "php", "python"}
    elif server != "nginx-behind-nginx-decoded":
        assert any(wanted in row for row in rows)


@pytest.mark.parametrize("server", names())
@pytest.mark.parametrize("allow", [frozenset[str](), ALLOWABLE], ids=["plain", "all-features"])
def test_no_spelling_of_a_path_reaches_a_protected_handler_of_a_real_server(
    server: str, allow: frozenset[str]
) -> None:
    """Under ``generic`` and under the server's own profile, with and without ``allow_paths``."""
    wrong = [
        way
        for way in ways_in(read(server), profiles(server), of_paths, allow)
        if why_open(server, way.upstream, way.target) is None
    ]
    assert not wrong, "\n".join(map(str, wrong))


@pytest.mark.parametrize("allow", [frozenset[str](), ALLOWABLE], ids=["plain", "all-features"])
def test_nor_of_one_that_is_known_by_its_documentation_only(allow: frozenset[str]) -> None:
    """ASP.NET: nothing here can show that it does so."""
    wrong = ways_in(read("aspnet", DOCUMENTED), ["generic", "aspnet"], of_paths, allow)
    assert not wrong, "\n".join(map(str, wrong))


def test_what_is_named_as_open_is_open() -> None:
    """So that the list is not longer than it must be."""
    found = {
        why_open(server, way.upstream, way.target)
        for server in names()
        for way in ways_in(read(server), profiles(server), of_paths)
    }
    assert found - {None} == {each.why for each in OPEN}


@pytest.mark.parametrize("server", names())
def test_no_method_reaches_a_protected_handler_of_a_real_server(server: str) -> None:
    """HEAD for GET, OPTIONS and made-up preflights, unknown methods, ``_method``."""
    wrong = ways_in(read(server), profiles(server), of_methods)
    assert not wrong, "\n".join(map(str, wrong))
