"""Route tables: what a path's pattern is, which route wins, and what is wrong at load."""

import re

import pytest

from sidecar.core.paths import MAX_SEGMENTS
from sidecar.core.patterns import MAX_NAME
from sidecar.core.principal import Kind
from sidecar.core.route_checks import KINDS
from sidecar.core.routes import (
    MAX_STEPS,
    NotAllowed,
    PolicyError,
    Route,
    RouteProblem,
    compile_policy,
    default_name,
    normalise_host,
    parse_pattern,
)
from tests.support.policies import policy

API = "api.jobfirst.local"


def table(*paths: str) -> list[Route]:
    return [Route(index, f"r{index}", path) for index, path in enumerate(paths)]


def winner(routes: list[Route], path: str, method: str = "GET", host: str = API) -> str | None:
    """Return the path of the route that wins, with ! where its methods are others."""
    segments = tuple(path.split("/")[1:]) if path != "/" else ()
    found = policy(routes).match(host, method, segments)
    if isinstance(found, NotAllowed):
        return f"!{found.route.path}"
    return found.path if found else None


# Patterns


@pytest.mark.parametrize(
    ("path", "segments", "tail"),
    [
        ("/", (), False),
        ("/*", (), True),
        ("/a", ("a",), False),
        ("/a/", ("a",), False),
        ("/a/*", ("a",), True),
        ("/a/*/", ("a",), True),
        ("/a/*/b", ("a", None, "b"), False),
        ("/*/*", (None,), True),
        ("/{id}", (None,), False),
        ("/用户/{id}", ("用户", None), False),
        ("/%E7%94%A8%e6%88%b7", ("用户",), False),
        ("/%61%2A%7Bx%7d", ("a*{x}",), False),
        ("/a.b/.c/...", ("a.b", ".c", "..."), False),
        ("/a%20b", ("a b",), False),
    ],
)
def test_a_pattern_is_literals_and_wildcards(
    path: str, segments: tuple[str | None, ...], tail: bool
) -> None:
    pattern = parse_pattern(path)
    assert (pattern.segments, pattern.tail) == (segments, tail)


def test_a_pattern_knows_where_its_names_stand() -> None:
    assert parse_pattern("/a/{user_id}/*/{order-id}/*").names == {"user_id": 1, "order-id": 3}


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("", "begins with /"),
        ("a", "begins with /"),
        ("*", "begins with /"),
        ("http://h/a", "begins with /"),
        ("/a//b", "a double slash"),
        ("//", "a double slash"),
        ("/a*", "a * stands inside"),
        ("/**", "a * stands inside"),
        ("/a/*.html/b", "a * stands inside"),
        ("/{a}/{a}", "{a} stands twice"),
        ("/{}", "is not a {name}"),
        ("/{a", "is not a {name}"),
        ("/a}", "is not a {name}"),
        ("/x{a}", "is not a {name}"),
        ("/{a}{b}", "is not a {name}"),
        ("/{1a}", "is not a {name}"),
        ("/{a:[0-9]+}", "is not a {name}"),
        ("/{*rest}", "is not a {name}"),
        ("/{" + "a" * 65 + "}", "is not a {name}"),
        ("/a?b=c", "no query"),
        ("/a/./b", "a dot segment"),
        ("/..", "a dot segment"),
        ("/a;b", "a ;"),
        ("/a#b", "a raw #"),
        ("/a b", "a raw space"),
        ("/a\\b", "a backslash"),
        ("/a\tb", "a raw control character"),
        ("/a\u0085b", "an encoded control character"),
        ("/%2e", "an encoded ."),
        ("/a%2fb", "an encoded /"),
        ("/a%25b", "an encoded %"),
        ("/a%3fb", "an encoded ?"),
        ("/%00", "an encoded control character"),
        ("/%zz", "a broken percent-escape"),
        ("/%ff", "not UTF-8"),
        ("/\ud800", "surrogate"),
        ("/x" * (MAX_SEGMENTS + 1), "at most 64 segments"),
        ("/x" * MAX_SEGMENTS + "/*", "at most 64 segments"),
    ],
)
def test_a_pattern_that_no_request_could_match_is_refused(path: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        parse_pattern(path)


@pytest.mark.parametrize("path", ["/x" * MAX_SEGMENTS, "/x" * (MAX_SEGMENTS - 1) + "/*"])
def test_a_pattern_has_up_to_64_segments(path: str) -> None:
    assert parse_pattern(path)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "root"),
        ("/*", "all"),
        ("/api/auth/*", "api-auth-all"),
        ("/api/users/{user_id}/orders/*", "api-users-user_id-orders-all"),
        ("/a/*/b", "a-any-b"),
        ("/a.b/c_d/", "a.b-c_d"),
        ("/用户", "route"),
        ("/a/%41b", "a-41b"),
        ("/" + "long" * 30, ("long" * 30)[: MAX_NAME - 8]),
    ],
)
def test_a_default_name_is_derived_from_the_path(path: str, name: str) -> None:
    assert default_name(path) == name
    assert policy([Route(0, name, "/")])


def test_a_default_name_that_is_taken_gets_a_number() -> None:
    assert default_name("/a/b", {"a-b", "a-b-2"}) == "a-b-3"


# Matching


def test_the_customers_table_decides_as_it_reads() -> None:
    routes = table("/api/auth/*", "/api/cluster/*", "/api/basic/*")
    assert winner(routes, "/api/auth/login") == "/api/auth/*"
    assert winner(routes, "/api/cluster/nodes/1") == "/api/cluster/*"
    assert winner(routes, "/api/auth") is None
    assert winner(routes, "/api") is None
    assert winner(routes, "/other") is None


@pytest.mark.parametrize(
    ("paths", "path", "wins"),
    [
        (["/a/*"], "/a", None),
        (["/a/*"], "/a/b", "/a/*"),
        (["/a/*"], "/a/b/c/d", "/a/*"),
        (["/*"], "/", "/*"),
        (["/*"], "/a/b", "/*"),
        (["/*", "/"], "/", "/"),
        (["/a/{x}"], "/a/b", "/a/{x}"),
        (["/a/{x}"], "/a", None),
        (["/a/{x}"], "/a/b/c", None),
        (["/a/*/c"], "/a/b/c", "/a/*/c"),
        (["/a/{x}", "/a/*"], "/a/b", "/a/{x}"),
        (["/a/b", "/a/{x}", "/a/*"], "/a/b", "/a/b"),
        # segment by segment: an early literal outweighs whatever follows
        (["/a/*", "/{x}/b"], "/a/b", "/a/*"),
        (["/a/*", "/{x}/b/c/d"], "/a/b/c/d", "/a/*"),
        (["/{x}/*", "/*"], "/a/b", "/{x}/*"),
        (["/a/{x}/c", "/a/b/*"], "/a/b/c", "/a/b/*"),
        # the narrower path must match whole
        (["/a/b/c", "/a/{x}/d"], "/a/b/d", "/a/{x}/d"),
        (["/a/b/c", "/a/{x}/c/d", "/a/*"], "/a/b/x", "/a/*"),
        (["/a/b", "/{x}/{y}/c"], "/a/b/c", "/{x}/{y}/c"),
        (["/a/b/c", "/*"], "/a/b", "/*"),
        # text
        (["/A"], "/a", None),
        (["/用户/*"], "/用户/1", "/用户/*"),
        (["/%7Bx%7D"], "/{x}", "/%7Bx%7D"),
        (["/%2A"], "/b", None),
    ],
)
def test_the_most_specific_path_that_matches_whole_wins(
    paths: list[str], path: str, wins: str | None
) -> None:
    assert winner(table(*paths), path) == wins
    assert winner(table(*reversed(paths)), path) == wins


def test_a_method_that_the_most_specific_path_lacks_is_not_looked_for_further() -> None:
    routes = [
        Route(0, "wide", "/*", public=True),
        Route(1, "read", "/a", methods=frozenset({"GET"})),
        Route(2, "write", "/a", methods=frozenset({"PUT", "DELETE"})),
    ]
    assert winner(routes, "/a", "GET") == "/a"
    found = policy(routes).match(API, "POST", ("a",))
    assert found == NotAllowed(routes[1], ("DELETE", "GET", "HEAD", "PUT"))


def test_get_includes_head_and_nothing_includes_get() -> None:
    get = [Route(0, "r", "/", methods=frozenset({"GET"}))]
    assert winner(get, "/", "HEAD") == "/"
    assert winner(get, "/", "OPTIONS") == "!/"
    assert winner(get, "/", "get") == "!/"
    assert winner([Route(0, "r", "/", methods=frozenset({"HEAD"}))], "/", "GET") == "!/"


def test_a_route_without_methods_answers_every_method() -> None:
    for method in ("GET", "OPTIONS", "PURGE", "x"):
        assert winner(table("/a"), "/a", method) == "/a"


def test_hosts_come_before_none_among_equal_paths() -> None:
    routes = [Route(0, "any", "/a"), Route(1, "api", "/a", hosts=frozenset({API}))]
    assert policy(routes).match(API, "GET", ("a",)) is routes[1]
    assert policy(routes).match("other", "GET", ("a",)) is routes[0]


def test_a_narrower_path_comes_before_hosts() -> None:
    routes = [Route(0, "any", "/a/b"), Route(1, "api", "/a/*", hosts=frozenset({API}))]
    assert winner(routes, "/a/b") == "/a/b"


def test_a_narrower_path_for_another_host_takes_no_part() -> None:
    routes = [
        Route(0, "any", "/a/*"),
        Route(1, "other", "/a/b", hosts=frozenset({"other"})),
        Route(2, "other-x", "/{x}/b/c", hosts=frozenset({"other"})),
    ]
    assert winner(routes, "/a/b") == "/a/*"
    assert winner(routes, "/a/b", host="other") == "/a/b"
    assert winner(routes, "/x/b/c") is None


def test_the_host_is_chosen_before_the_method() -> None:
    routes = [
        Route(0, "any", "/a"),
        Route(1, "api", "/a", hosts=frozenset({API}), methods=frozenset({"GET"})),
    ]
    assert winner(routes, "/a", "POST") == "!/a"
    assert policy(routes).match(API, "POST", ("a",)) == NotAllowed(routes[1], ("GET", "HEAD"))


@pytest.mark.parametrize(
    "host", [API, "API.JobFirst.LOCAL", f"{API}:8443", f"{API}.", f"{API}.:80", f"{API}:"]
)
def test_hosts_ignore_case_and_port_and_one_trailing_dot(host: str) -> None:
    for written in (API, API.upper(), f"{API}."):
        routes = [Route(0, "api", "/", hosts=frozenset({written}))]
        assert winner(routes, "/", host=host) == "/"


@pytest.mark.parametrize(
    ("host", "normal"),
    [
        ("[::1]:8443", "[::1]"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("localhost", "localhost"),
        ("a_b.local", "a_b.local"),
        ("", ""),
        (f"{API} ", None),
        (f" {API}", None),
        (f"{API}..", None),
        (f".{API}", None),
        (f"{API}, other", None),
        (f"user@{API}", None),
        (f"{API}:80:80", None),
        (f"{API}:http", None),
        (f"{API}/", None),
        (f"{API}\0", None),
        (f"{API}\n", None),
        ("api.jobfirst.loca\u0131", None),
        ("\u212a", None),
        ("::1", None),
        ("[::1", None),
    ],
)
def test_what_is_no_host_is_none(host: str, normal: str | None) -> None:
    assert normalise_host(host) == normal


def test_what_is_no_host_matches_nothing_where_a_route_names_hosts() -> None:
    routes = [
        Route(0, "any", "/*", public=True),
        Route(1, "api", "/*", hosts=frozenset({API}), permissions=("p",)),
    ]
    assert policy(routes).match(f"{API} ", "GET", ("a",)) is None
    assert policy(routes[:1]).match(f"{API} ", "GET", ("a",)) is routes[0]


def test_literals_are_case_sensitive_unless_case_is_ignored() -> None:
    routes = table("/Admin/Straße/{x}", "/*")
    sensitive, insensitive = policy(routes), policy(routes, ignore_case=True)
    segments = ("aDMIN", "STRASSE", "X")
    assert sensitive.match(API, "GET", segments) is routes[1]
    assert insensitive.match(API, "GET", segments) is routes[0]


# Problems


def problems(*routes: Route, ignore_case: bool = False) -> list[RouteProblem]:
    with pytest.raises(PolicyError) as refusal:
        compile_policy(routes, digest="test", ignore_case=ignore_case)
    return list(refusal.value.problems)


@pytest.mark.parametrize(
    ("route", "key", "why"),
    [
        (Route(0, "r", "/", public=True, permissions=("p",)), "permissions", "public"),
        (Route(0, "r", "/", public=True, any_permissions=("p",)), "any_permissions", "public"),
        (Route(0, "r", "/", public=True, roles=("r",)), "roles", "public"),
        (Route(0, "r", "/{x}", public=True, owner=0), "owner", "public"),
        (Route(0, "r", "/", public=True, issuers=frozenset({"i"})), "issuers", "public"),
        (
            Route(0, "r", "/", public=True, principals=frozenset({"service"})),
            "principals",
            "public",
        ),
        (Route(0, "r", "/", principals=frozenset({"robot"})), "principals", "'robot'"),
        (Route(0, "r", "/", owner_unless=("p",)), "owner_unless", "there is none"),
        (Route(0, "r", "/a", owner=0), "owner", "no {name}"),
        (Route(0, "r", "/*/a", owner=0), "owner", "no {name}"),
        (Route(0, "r", "/{x}/*", owner=1), "owner", "no {name}"),
        (Route(0, "r", "/{x}", owner=-1), "owner", "no {name}"),
        (Route(0, "r", "a"), "path", "begins with /"),
        (Route(0, "", "/"), "name", "cannot be a name"),
        (Route(0, "-x", "/"), "name", "cannot be a name"),
        (Route(0, "a b", "/"), "name", "cannot be a name"),
        (Route(0, "a\n", "/"), "name", "cannot be a name"),
        (Route(0, "用户", "/"), "name", "cannot be a name"),
        (Route(0, "x" * (MAX_NAME + 1), "/"), "name", "cannot be a name"),
        (Route(0, "r", "/", methods=frozenset({"get"})), "methods", "'get'"),
        (Route(0, "r", "/", methods=frozenset({""})), "methods", "''"),
        (Route(0, "r", "/", methods=frozenset({"GET,PUT"})), "methods", "'GET,PUT'"),
        (Route(0, "r", "/", hosts=frozenset({"h:80"})), "hosts", "has a port"),
        (Route(0, "r", "/", hosts=frozenset({"[::1]:80"})), "hosts", "has a port"),
        (Route(0, "r", "/", hosts=frozenset({"*.h"})), "hosts", "no host name"),
        (Route(0, "r", "/", hosts=frozenset({""})), "hosts", "no host name"),
        (Route(0, "r", "/", hosts=frozenset({"."})), "hosts", "no host name"),
        (Route(0, "r", "/", hosts=frozenset({"http://h"})), "hosts", "no host name"),
        (Route(0, "r", "/", hosts=frozenset({"::1"})), "hosts", "no host name"),
        (Route(0, "r", "/", hosts=frozenset({"bücher"})), "hosts", "no host name"),
    ],
)
def test_a_route_that_makes_no_sense_is_a_problem_under_its_key(
    route: Route, key: str, why: str
) -> None:
    (problem,) = problems(route)
    assert (problem.route, problem.key) == (0, key)
    assert why in problem.message
    assert problem.help or key == "path"


def test_every_problem_of_every_route_is_reported_at_once_in_order() -> None:
    found = problems(
        Route(0, "a", "/a", methods=frozenset({"get"})),
        Route(1, "a", "b", public=True, roles=("r",), permissions=("p",)),
        Route(2, "c", "/a/{x", hosts=frozenset({"h:1"})),
    )
    assert [(problem.route, problem.key) for problem in found] == [
        (0, "methods"),
        (1, "permissions"),
        (1, "roles"),
        (1, "path"),
        (1, "name"),
        (2, "hosts"),
        (2, "path"),
    ]


def test_a_policy_error_reads_as_its_problems() -> None:
    with pytest.raises(PolicyError, match=r"'get' is no method; .* cannot require roles"):
        policy(
            [
                Route(0, "a", "/a", methods=frozenset({"get"})),
                Route(1, "b", "/b", public=True, roles=("r",)),
            ]
        )


def test_a_name_is_one_routes_alone() -> None:
    (problem,) = problems(Route(0, "a", "/a"), Route(1, "a", "/b"))
    assert (problem.route, problem.key, problem.other) == (1, "name", 0)


GET = frozenset({"GET"})
HEAD = frozenset({"HEAD"})
PUT = frozenset({"PUT"})
H = frozenset({"h"})
G = frozenset({"g"})


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Route(0, "a", "/a"), Route(1, "b", "/a")),
        (Route(0, "a", "/a"), Route(1, "b", "/a/")),
        (Route(0, "a", "/a"), Route(1, "b", "/%61")),
        (Route(0, "a", "/{x}"), Route(1, "b", "/{y}")),
        (Route(0, "a", "/{x}/b"), Route(1, "b", "/*/b")),
        (Route(0, "a", "/*"), Route(1, "b", "/*")),
        (Route(0, "a", "/a"), Route(1, "b", "/a", methods=GET)),
        (Route(0, "a", "/a", methods=GET), Route(1, "b", "/a")),
        (Route(0, "a", "/a", methods=GET | PUT), Route(1, "b", "/a", methods=PUT)),
        (Route(0, "a", "/a", methods=GET), Route(1, "b", "/a", methods=HEAD)),
        (Route(0, "a", "/a", hosts=H | G), Route(1, "b", "/a", hosts=H)),
        (Route(0, "a", "/a", hosts=H), Route(1, "b", "/a", hosts=frozenset({"H."}))),
        (Route(0, "a", "/a", hosts=H, methods=GET), Route(1, "b", "/a", hosts=H)),
    ],
)
def test_two_routes_that_could_win_the_same_request_are_a_problem(one: Route, two: Route) -> None:
    (problem,) = problems(one, two)
    assert (problem.route, problem.key, problem.other) == (1, "path", 0)
    assert "'a' (/" in problem.message


def test_a_route_with_two_rivals_names_both() -> None:
    found = problems(
        Route(0, "a", "/a", methods=GET), Route(1, "b", "/a", methods=PUT), Route(2, "c", "/a")
    )
    assert [(problem.route, problem.other) for problem in found] == [(2, 0), (2, 1)]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (Route(0, "a", "/a"), Route(1, "b", "/A")),
        (Route(0, "a", "/a/{x}"), Route(1, "b", "/a/*")),
        (Route(0, "a", "/a"), Route(1, "b", "/a", hosts=H)),
        (Route(0, "a", "/a", hosts=G), Route(1, "b", "/a", hosts=H)),
        (Route(0, "a", "/a", methods=GET), Route(1, "b", "/a", methods=PUT)),
        (Route(0, "a", "/a/{x}"), Route(1, "b", "/{x}/a")),
    ],
)
def test_two_routes_that_cannot_win_the_same_request_are_none(one: Route, two: Route) -> None:
    assert policy([one, two]).routes == (one, two)


def test_paths_that_differ_in_case_alone_are_rivals_where_case_is_ignored() -> None:
    (problem,) = problems(Route(0, "a", "/a"), Route(1, "b", "/A"), ignore_case=True)
    assert problem.other == 0


def test_the_kinds_of_principals_are_the_principals_own() -> None:
    assert set(Kind) == KINDS


def branching(depth: int) -> list[Route]:
    """Return a table in which every segment may be a literal or anything, in every combination."""
    paths = [""]
    for _ in range(depth):
        paths = [path + segment for path in paths for segment in ("/a", "/*")]
    return table(*(path + "/end" for path in paths))


def test_a_table_whose_lookups_could_take_too_many_steps_is_a_problem() -> None:
    assert policy(branching(7))
    (problem,) = problems(*branching(9))
    assert problem.key == "path"
    assert str(MAX_STEPS) in problem.message
    assert "/*" in branching(9)[problem.route].path


def test_an_ordinary_table_of_ten_thousand_routes_compiles() -> None:
    shapes = ["/svc{}/*", "/svc{}/users/{{id}}/orders/*", "/svc{}/users/me", "/*/svc{}/{{x}}"]
    routes = table(*(shapes[index % 4].format(index // 4) for index in range(10_000)))
    compiled = policy(routes)
    assert compiled.match(API, "GET", ("svc2499", "users", "me")) is routes[9998]
    assert compiled.match(API, "GET", ("x", "svc7", "y")) is routes[31]
