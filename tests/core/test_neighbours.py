"""Neighbour readings: how upstreams read a path beside the canonical way, by ``decide``."""

from itertools import product

import pytest

from sidecar.core.decision import Allow, Deny, Needs, decide
from sidecar.core.paths.problems import PathProblem
from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route
from tests.support.policies import NOW, bearer, request, snapshot

ADMIN = ("admin:read",)


def public(path: str, **others: object) -> Route:
    """Return a public route."""
    return Route(0, "public", path, public=True, **others)  # type: ignore[arg-type]  # -- any field


def user(path: str, **others: object) -> Route:
    """Return a route for every user with a token."""
    return Route(0, "user", path, **others)  # type: ignore[arg-type]  # -- any field


def admin(path: str, **others: object) -> Route:
    """Return a route that asks for a permission."""
    return Route(0, "admin", path, permissions=ADMIN, **others)  # type: ignore[arg-type]  # -- any field


def table(*routes: Route) -> tuple[Route, ...]:
    """Return the routes numbered, and named by their number too."""
    return tuple(
        Route(
            index,
            f"{route.name}-{index}",
            **{
                field: getattr(route, field)
                for field in Route.__slots__
                if field not in {"index", "name"}
            },
        )
        for index, route in enumerate(routes)
    )


def reason(
    routes: tuple[Route, ...],
    target: bytes,
    *,
    token: bool = False,
    method: str = "GET",
    host: str = "api.jobfirst.local",
    **settings: object,
) -> Reason:
    """Decide on a request, with or without the token of a user who holds no permission."""
    asked = request(target, method, bearer() if token else None, host)
    decision = decide(asked, snapshot(routes, **settings), {}, NOW)  # type: ignore[arg-type]  # -- settings are the policy's
    assert not isinstance(decision, Needs)
    return decision.reason


OVER = table(user("/api/*"), admin("/api/admin/*"))
FILES = table(public("/files"), admin("/files/*"))
ITEMS = table(public("/items/@me"), user("/items/{id}"))


@pytest.mark.parametrize(
    ("routes", "target"),
    [
        # case
        (OVER, b"/api/Admin/x"),
        (OVER, b"/API/admin/x"),  # no route at all, as before
        (OVER, b"/api/ADMIN/x"),
        (OVER, b"/api/adm%C4%B1n/x"),
        (OVER, b"/api/adm%C4%B0n/x"),
        (table(user("/api/{name}"), admin("/api/kiss")), b"/api/%E2%84%AAi%C5%BFs"),
        (table(user("/api/*"), admin("/api/Admin/*")), b"/api/admin/x"),
        (table(user("/{a}/{b}"), admin("/Api/ADMIN")), b"/api/admin"),
        # a trailing slash
        (table(public("/*"), admin("/x/*")), b"/x/"),
        (FILES, b"/files/"),
        (table(user("/api/*"), admin("/api/admin/*")), b"/api/admin/"),
        (table(user("/users/*"), admin("/users/*/keys/*")), b"/users/7/keys/"),
        (table(public("/login"), admin("/*")), b"/login/"),
        (table(public("/docs"), admin("/docs/{name}")), b"/docs/"),
        (table(public("/items/@me"), admin("/items/{id}")), b"/items/@me/"),
        # no trailing slash, where the table writes one
        (table(public("/docs/"), admin("/*")), b"/docs"),
        (table(public("/docs/"), admin("/{name}")), b"/docs"),
        (table(public("/docs/"), admin("/docs/*")), b"/docs"),
        # an empty rest
        (table(user("/api/*"), admin("/api/admin/*")), b"/api/admin"),
        (table(public("/*"), admin("/x/*")), b"/x"),
        # a format suffix
        *(
            (table(user("/api/*"), admin("/api/admin")), f"/api/admin.{suffix}".encode())
            for suffix in ("json", "xml", "html", "txt", "csv", "js", "yaml", "api", "JSON")
        ),
        # comparing before decoding
        (table(public("/items/@me"), admin("/items/{id}")), b"/items/%40me"),
        (table(public("/docs/open"), admin("/docs/{name}")), b"/docs/%6fpen"),
        (table(public("/caf\u00e9"), admin("/{name}")), b"/caf%c3%a9"),
        # several together
        (table(user("/api/*"), admin("/api/admin")), b"/api/ADMIN.json/"),
        (table(user("/api/*"), admin("/api/admin/*")), b"/api/ADMIN.json/"),
        (table(user("/{a}/{b}"), admin("/api/admin")), b"/%41PI/%61dmin.json"),
    ],
)
def test_no_spelling_of_a_path_is_less_protected(routes: tuple[Route, ...], target: bytes) -> None:
    """A user who lacks the permission gets nowhere that some upstream takes for the admin's."""
    assert reason(routes, target) in {Reason.TOKEN_MISSING, Reason.NO_ROUTE}
    assert reason(routes, target, token=True) in {Reason.PERMISSION_DENIED, Reason.NO_ROUTE}


@pytest.mark.parametrize(
    ("routes", "target"),
    [
        (OVER, b"/api/other/x"),
        (OVER, b"/api/Other/x"),
        (OVER, b"/api/01ARZ3NDEKTSV4RRFFQ69G5FAV"),
        (OVER, b"/api/administrator"),
        (OVER, b"/api/x.json"),
        (OVER, b"/api/admin.pdf"),
        (FILES, b"/files"),
        (table(public("/\u7528\u6237"), admin("/{name}")), b"/%E7%94%A8%E6%88%B7"),
        (table(user("/login"), admin("/login.json")), b"/login"),
        # what a route names letter by letter is that route's
        (table(user("/Docs"), admin("/docs"), admin("/*")), b"/Docs"),
        (table(user("/docs.json"), admin("/docs"), admin("/*")), b"/docs.json"),
        (table(user("/docs/"), admin("/docs/*"), admin("/*")), b"/docs/"),
        (table(user("/"), admin("/*")), b"/"),
        # neighbours that match no route are ignored
        (table(user("/{name}")), b"/Admin.json/"),
        (table(user("/a/*")), b"/a/%40/"),
    ],
)
def test_what_no_upstream_reads_otherwise_is_decided_as_before(
    routes: tuple[Route, ...], target: bytes
) -> None:
    """A user who lacks the permission passes."""
    assert reason(routes, target, token=True) in {Reason.OK, Reason.PUBLIC}


OWNED = table(
    user("/users/{id}", owner=1), user("/users/{id}/keys", owner=1), admin("/users/alice")
)


@pytest.mark.parametrize("subject", ["Alice7", "01ARZ3NDEKTSV4RRFFQ69G5FAV", "a@b.com", "x.json"])
@pytest.mark.parametrize("upstream", ["generic", "rails", "express", "django", "aspnet"])
def test_a_capture_is_compared_as_it_is_spelt(subject: str, upstream: str) -> None:
    """Folding and suffixes are for literals: who owns a path goes on owning it."""
    seen = snapshot(OWNED, upstream=upstream)
    for path in (f"/users/{subject}", f"/users/{subject}/keys"):
        own = decide(request(path.encode(), headers=bearer(user_id=subject)), seen, {}, NOW)
        assert isinstance(own, Allow), path
        other = decide(
            request(path.encode(), headers=bearer(user_id=subject.lower() + "8")), seen, {}, NOW
        )
        assert isinstance(other, Deny)
        assert other.reason is Reason.NOT_OWNER


def test_an_allow_names_the_canonical_route_and_its_target() -> None:
    """The neighbours' requirements are checked too, and the upstream gets the identity."""
    routes = table(public("/api/*", target="weak"), user("/api/admin/*", target="strict"))
    decision = decide(request(b"/api/Admin/x", headers=bearer()), snapshot(routes), {}, NOW)
    assert isinstance(decision, Allow)
    assert decision.reason is Reason.OK
    assert decision.route.target == "weak"
    assert decision.verified is not None


def test_the_canonical_denial_is_reported_first() -> None:
    """The client reads about the route that the path names."""
    routes = table(user("/api/*", roles=("auditor",)), admin("/api/admin/*"))
    decision = decide(request(b"/api/Admin/x", headers=bearer()), snapshot(routes), {}, NOW)
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.route) == (Reason.ROLE_DENIED, routes[0])


def test_a_neighbours_denial_names_its_route_and_tells_the_operator_why() -> None:
    """Without the detail an operator could not find out why this path needs that permission."""
    decision = decide(request(b"/api/Admin/x", headers=bearer()), snapshot(OVER), {}, NOW)
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.route) == (Reason.PERMISSION_DENIED, OVER[1])
    assert "/api/admin/*" in decision.detail


def test_a_neighbours_method_counts() -> None:
    """An upstream that reads the path otherwise would run a handler that no route lets through."""
    routes = table(public("/api/*"), public("/api/admin", methods=frozenset({"GET"})))
    assert reason(routes, b"/api/Admin", method="POST") is Reason.METHOD_NOT_ALLOWED
    assert reason(routes, b"/api/Admin") is Reason.PUBLIC


def test_a_neighbour_is_for_the_same_host() -> None:
    """A stricter route of another host is another upstream's."""
    routes = table(user("/api/*"), admin("/api/admin", hosts=frozenset({"a.test", "b.test"})))
    assert reason(routes, b"/api/Admin", token=True, host="c.test") is Reason.OK
    for host in ("a.test", "B.test:8443"):
        assert reason(routes, b"/api/Admin", token=True, host=host) is Reason.PERMISSION_DENIED


A_TEST = frozenset({"a.test"})


@pytest.mark.parametrize("host", ["A.example.test", "a.example.test.", "a.EXAMPLE.test:80"])
def test_another_spelling_of_a_host_bypasses_no_wildcard_and_no_route_for_every_host(
    host: str,
) -> None:
    """One that compares letter by letter takes it for another name below, or for none of them."""
    exact = public("/x", hosts=frozenset({"a.example.test"}))
    wide = frozenset({"*.example.test"})
    for routes in (
        table(exact, admin("/x", hosts=wide)),
        table(exact, public("/x", hosts=wide), admin("/x")),
        table(public("/x", hosts=wide), admin("/x")),
    ):
        assert reason(routes, b"/x", host=host) is Reason.TOKEN_MISSING
        assert reason(routes, b"/x", host="a.example.test:80") is Reason.PUBLIC


@pytest.mark.parametrize("path", ["/x", "/x/*"])
@pytest.mark.parametrize("host", ["A.test", "a.test.", "A.TEST.:8443"])
def test_another_spelling_of_a_host_does_not_bypass_the_route_for_every_host(
    path: str, host: str
) -> None:
    """Go's ServeMux and Werkzeug take it for a host that no route names."""
    routes = table(public(path, hosts=A_TEST), admin(path))
    target = path.replace("*", "1").encode()
    for ordinary in ("a.test", "a.test:8443"):
        assert reason(routes, target, host=ordinary) is Reason.PUBLIC
    assert reason(routes, target, host=host) is Reason.TOKEN_MISSING
    assert reason(routes, target, host=host, token=True) is Reason.PERMISSION_DENIED
    assert reason(table(public(path, hosts=A_TEST)), target, host=host) is Reason.PUBLIC
    assert reason(table(public(path, hosts=A_TEST), public("/*")), target, host=host) is (
        Reason.PUBLIC
    )


def test_a_path_without_a_route_has_no_neighbours() -> None:
    """What no route matches is denied, whatever it would be in another spelling."""
    assert reason(table(public("/open"), user("/{a}/b")), b"/Open") is Reason.NO_ROUTE


@pytest.mark.parametrize(
    ("upstream", "routes", "target", "expected"),
    [
        ("express", OVER, b"/api/Admin/x", Reason.PERMISSION_DENIED),
        ("aspnet", OVER, b"/api/Admin/x", Reason.PERMISSION_DENIED),
        ("django", OVER, b"/api/Admin/x", Reason.OK),
        ("go", OVER, b"/api/Admin/x", Reason.OK),
        ("fastapi", OVER, b"/api/Admin/x", Reason.OK),
        ("django", ITEMS, b"/items/%40me", Reason.PUBLIC),
        ("express", table(user("/api/*"), admin("/api/admin")), b"/api/admin.json", Reason.OK),
        (
            "django",
            table(user("/api/*"), admin("/api/admin")),
            b"/api/admin.json",
            Reason.PERMISSION_DENIED,
        ),
        (
            "rails",
            table(user("/api/*"), admin("/api/admin")),
            b"/api/admin.pdf",
            Reason.PERMISSION_DENIED,
        ),
        ("express", table(public("/login"), admin("/*")), b"/login/", Reason.PUBLIC),
        ("go", table(public("/login"), admin("/*")), b"/login/", Reason.PERMISSION_DENIED),
        ("go", table(public("/docs/"), admin("/{name}")), b"/docs", Reason.PERMISSION_DENIED),
        ("express", table(public("/docs/"), admin("/{name}")), b"/docs", Reason.PUBLIC),
        ("go", FILES, b"/files/", Reason.PERMISSION_DENIED),
        ("fastapi", FILES, b"/files/", Reason.PERMISSION_DENIED),
        ("spring", table(user("/api/*"), admin("/api/x/*")), b"/api/x", Reason.PERMISSION_DENIED),
    ],
)
def test_an_upstream_that_is_named_has_its_own_readings(
    upstream: str, routes: tuple[Route, ...], target: bytes, expected: Reason
) -> None:
    """``policy.upstream`` leaves out what that upstream does not do."""
    assert reason(routes, target, token=True, upstream=upstream) is expected


AMBIGUOUS = table(user("/api/*"), admin("/api/admin"))


@pytest.mark.parametrize(
    ("feature", "target"),
    [
        ("semicolon", b"/api/ADMIN;x"),
        ("encoded_slash", b"/api%2fADMIN%2f"),
        ("double_slash", b"/api//Admin.json"),
        ("encoded_percent", b"/api/%2541dmin"),
        ("encoded_dot", b"/api/x/%2e%2e/Admin"),
        ("encoded_dot", b"/api/admin%2ejson"),
    ],
)
def test_neighbours_are_those_of_every_reading_that_allow_paths_lets_in(
    feature: str, target: bytes
) -> None:
    """Several readings each have their own neighbours."""
    routes = table(user("/*"), user("/api/*"), admin("/api/admin"))
    allow = frozenset({feature})
    assert reason(routes, target, token=True, allow_paths=allow) is Reason.PERMISSION_DENIED


def test_a_path_whose_readings_take_too_much_work_is_refused() -> None:
    """A table could be made in which one path is read in a thousand ways."""
    paths = ["".join(f"/{word}" for word in words) for words in product("aA*", repeat=6)]
    routes = [Route(index, f"r{index}", path) for index, path in enumerate(paths)]
    seen = snapshot(routes)
    decision = decide(request(b"/%61" * 6 + b"/", headers=bearer()), seen, {}, NOW)
    assert isinstance(decision, Deny)
    assert (decision.reason, decision.needs) == (
        Reason.MALFORMED_REQUEST,
        (PathProblem.TOO_MUCH_WORK,),
    )
    assert isinstance(decide(request(b"/a" * 6, headers=bearer()), seen, {}, NOW), Allow)


def test_ignore_case_is_as_narrow_as_the_narrowest_upstream() -> None:
    """``ſ`` is an ``s`` to some, so the literal counts, and to others not, so the capture does."""
    routes = table(public("/status"), admin("/{name}"))
    assert reason(routes, b"/STATUS", ignore_case=True) is Reason.PUBLIC
    assert reason(routes, b"/%C5%BFtatus", ignore_case=True) is Reason.TOKEN_MISSING
    routes = table(public("/{name}"), admin("/admin"))
    for spelling in (b"/ADMIN", b"/adm%C4%B1n", b"/ADM%C4%B0N"):
        assert reason(routes, spelling, ignore_case=True) is Reason.TOKEN_MISSING


def test_ignore_case_takes_a_literal_beyond_ascii_as_it_is_written() -> None:
    """An ordinary request is not a spelling of another path."""
    routes = table(public("/caf\u00e9"), public("/\u7528\u6237"), admin("/{name}"))
    assert reason(routes, b"/caf%C3%A9", ignore_case=True) is Reason.PUBLIC
    assert reason(routes, b"/%E7%94%A8%E6%88%B7", ignore_case=True) is Reason.PUBLIC
