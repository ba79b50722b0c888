"""Route tables: which route a request falls to."""

import pytest

from sidecar.core.routes.table import NotAllowed, PolicyError, Route, normalise_host
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
def test_an_invalid_host_is_none(host: str, normal: str | None) -> None:
    assert normalise_host(host) == normal


def wide(*hosts: str, path: str = "/a") -> Route:
    return Route(1, "wide", path, hosts=frozenset(hosts))


@pytest.mark.parametrize(
    ("host", "matches"),
    [
        ("b.example.com", True),
        ("b.c.example.com", True),
        ("B.EXAMPLE.com.:80", True),
        ("example.com", False),
        (".example.com", False),
        ("bexample.com", False),
        ("b.example.com.evil.test", False),
        ("*.example.com", False),
        ("b.example.com ", False),
        ("", False),
    ],
)
def test_a_wildcard_is_every_host_one_or_more_labels_below_as_in_envoy(
    host: str, matches: bool
) -> None:
    for written in ("*.example.com", "*.Example.COM."):
        found = policy([wide(written)]).match(host, "GET", ("a",))
        assert (found is not None) == matches


def test_an_exact_host_comes_before_the_longest_wildcard_and_that_before_none() -> None:
    hosts = ["c.b.example.com", "*.b.example.com", "*.example.com", ""]
    routes = [
        Route(index, f"r{index}", "/a", hosts=frozenset(filter(None, [host])))
        for index, host in enumerate(hosts)
    ]
    for table_ in (routes, routes[::-1]):
        seen = policy(table_)
        for host, index in (
            ("c.b.example.com", 0),
            ("d.b.example.com", 1),
            ("d.c.b.example.com", 1),
            ("b.example.com", 2),
            ("x.test", 3),
        ):
            assert seen.match(host, "GET", ("a",)) is routes[index]


def test_a_narrower_path_comes_before_a_host_that_is_named_exactly() -> None:
    routes = [Route(0, "exact", "/*", hosts=frozenset({API})), wide("*.jobfirst.local")]
    assert winner(routes, "/a") == "/a"


def test_wildcards_of_one_name_are_rivals_and_others_are_not() -> None:
    again = Route(2, "again", "/a", hosts=frozenset({"*.EXAMPLE.com"}))
    with pytest.raises(PolicyError):
        policy([wide("*.example.com"), again])
    assert policy([wide("*.b.example.com", "x.example.com"), again])


def test_an_invalid_host_matches_nothing_if_a_route_names_hosts() -> None:
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
