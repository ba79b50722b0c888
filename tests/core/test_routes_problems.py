"""Problems of route tables, found at load."""

import pytest

from sidecar.core.routes.patterns import MAX_NAME
from sidecar.core.routes.problems import KINDS
from sidecar.core.routes.table import (
    MAX_STEPS,
    PolicyError,
    Route,
    RouteProblem,
    compile_policy,
)
from sidecar.core.tokens.principal import Kind
from tests.support.policies import policy


def table(*paths: str) -> list[Route]:
    return [Route(index, f"r{index}", path) for index, path in enumerate(paths)]


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
        (Route(0, "r", "/a", owner=0), "owner", "not a {name}"),
        (Route(0, "r", "/*/a", owner=0), "owner", "not a {name}"),
        (Route(0, "r", "/{x}/*", owner=1), "owner", "not a {name}"),
        (Route(0, "r", "/{x}", owner=-1), "owner", "not a {name}"),
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
        (Route(0, "r", "/", hosts=frozenset({"*"})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"*.*.h"})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"*h"})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"a.*.h"})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"*."})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"*.[::1]"})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"*.h:80"})), "hosts", "has a port"),
        (Route(0, "r", "/", hosts=frozenset({""})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"."})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"http://h"})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"::1"})), "hosts", "not a host name"),
        (Route(0, "r", "/", hosts=frozenset({"bücher"})), "hosts", "not a host name"),
    ],
)
def test_a_route_that_makes_no_sense_is_a_problem_under_its_key(
    route: Route, key: str, why: str
) -> None:
    (problem,) = problems(route)
    assert (problem.route, problem.key) == (0, key)
    assert why in problem.message
    assert problem.help or key == "path"


def test_every_problem_of_every_route_is_reported_in_order() -> None:
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
    with pytest.raises(PolicyError, match=r"'get' is not a method; .* cannot require roles"):
        policy(
            [
                Route(0, "a", "/a", methods=frozenset({"get"})),
                Route(1, "b", "/b", public=True, roles=("r",)),
            ]
        )


def test_two_routes_cannot_have_the_same_name() -> None:
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


def test_paths_that_differ_only_in_case_are_rivals_if_case_is_ignored() -> None:
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
    assert compiled.match("any", "GET", ("svc2499", "users", "me")) is routes[9998]
    assert compiled.match("any", "GET", ("x", "svc7", "y")) is routes[31]
