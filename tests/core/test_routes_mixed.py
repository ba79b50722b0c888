"""Names between literals, ``{id}:purge``: which route wins, and who reads them differently."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.paths.canonical import canonicalise
from sidecar.core.reasons import Reason
from sidecar.core.routes.segments import Mixed, MixedIndex, both, covers
from sidecar.core.routes.table import PolicyError, Route, compile_policy
from tests.core.test_neighbours import reason
from tests.core.test_routes import table, winner
from tests.support.policies import NOW, bearer, policy, request, snapshot


@pytest.mark.parametrize(
    ("paths", "path", "wins"),
    [
        (["/{id}:purge", "/{id}"], "/7:purge", "/{id}:purge"),
        (["/{id}:purge", "/{id}"], "/7:prune", "/{id}"),
        (["/{id}:purge", "/7:purge"], "/7:purge", "/7:purge"),
        (["/{id}:purge"], "/:purge", None),
        (["/{id}:purge"], "/7:purge:purge", "/{id}:purge"),
        (["/{id}:purge", "/*"], "/7:purge/x", "/*"),
        (["/{id}:purge/*", "/*"], "/7:purge/x", "/{id}:purge/*"),
        (["/v{n}/a", "/{x}/a"], "/v1/a", "/v{n}/a"),
        (["/v{n}/a", "/{x}/b"], "/v1/b", "/{x}/b"),
        (["/v{n}", "/{x}"], "/v", "/{x}"),
        (["/Products({id})", "/{x}"], "/Products(7)", "/Products({id})"),
        (["/{f}.json", "/{f}"], "/a.b.json", "/{f}.json"),
        (["/.{f}", "/{f}"], "/.env", "/.{f}"),
        # the longest literal text, whichever side it is on
        (["/{x}e", "/{x}:purge"], "/7:purge", "/{x}:purge"),
        (["/v{x}", "/{x}:purge"], "/v7:purge", "/{x}:purge"),
        (["/v{x}:a", "/{x}:a"], "/v7:a", "/v{x}:a"),
        (["/{x}.tar.gz", "/{x}.gz"], "/a.tar.gz", "/{x}.tar.gz"),
        (["/{x}.tar.gz", "/{x}.gz"], "/a.gz", "/{x}.gz"),
        # the narrower path must match whole
        (["/{x}:purge/a", "/{x}e/b"], "/7:purge/b", "/{x}e/b"),
        (["/{x}:purge/a", "/{x}/b", "/{x}e/c"], "/7:purge/b", "/{x}/b"),
        # segment by segment: an early literal outweighs whatever follows
        (["/{x}:a/{y}", "/{x}/b"], "/7:a/b", "/{x}:a/{y}"),
    ],
)
def test_a_literal_beats_a_mixed_segment_and_that_a_name(
    paths: list[str], path: str, wins: str | None
) -> None:
    assert winner(table(*paths), path) == wins
    assert winner(table(*reversed(paths)), path) == wins


@pytest.mark.parametrize(
    ("paths", "conflict"),
    [
        (["/a{x}", "/{x}b"], True),
        (["/ab{x}", "/a{x}c"], True),
        (["/a{x}/c", "/{x}b/c"], True),
        (["/a{x}/*", "/{x}b/c"], True),
        (["/a{x}/c", "/{x}b/d"], False),
        (["/a{x}", "/{x}b/*"], False),
        (["/a{x}", "/{x}bc"], False),
        (["/a{x}", "/b{x}"], False),
        (["/a{x}", "/a{y}"], True),
        (["/{x}:a", "/{x}:b"], False),
    ],
)
def test_an_overlap_without_a_more_specific_route_is_an_error_at_both(
    paths: list[str], conflict: bool
) -> None:
    try:
        policy(table(*paths))
    except PolicyError as error:
        (problem,) = error.problems
        assert conflict
        assert (problem.route, problem.other, problem.key) == (1, 0, "path")
        assert paths[0] in problem.message
    else:
        assert not conflict


def test_such_routes_are_none_on_different_hosts() -> None:
    hosts = [frozenset({"h.test"}), frozenset({"*.g.test"})]
    routes = [Route(0, "a", "/a{x}", hosts=hosts[0]), Route(1, "b", "/{x}b", hosts=hosts[1])]
    assert policy(routes)
    with pytest.raises(PolicyError):
        policy([routes[0], Route(1, "b", "/{x}b", hosts=frozenset({"*.test"}))])


def test_literals_of_a_mixed_segment_ignore_case_with_ignore_case() -> None:
    routes = table("/V{n}/{id}:Purge", "/*")
    segments = ("v1", "7:pURGE")
    assert policy(routes).match("", "GET", segments) == routes[1]
    assert policy(routes, ignore_case=True).match("", "GET", segments) == routes[0]


THINGS = (
    Route(0, "thing", "/v1/things/{id}", public=True),
    Route(1, "purge", "/v1/things/{id}:purge"),
)
STRICT = (
    Route(0, "thing", "/v1/things/{id}"),
    Route(1, "purge", "/v1/things/{id}:purge", public=True),
)


@pytest.mark.parametrize(
    ("routes", "target"),
    [
        (THINGS, b"/v1/things/7:purge"),
        (THINGS, b"/v1/things/7%3Apurge"),
        (THINGS, b"/v1/things/7%3apurge"),
        (THINGS, b"/v1/things/7:%70urge"),
        (THINGS, b"/v1/things/7:PURGE"),
        (THINGS, b"/V1/Things/7:Purge"),
        (THINGS, b"/v1/things/7:purge/"),
        (THINGS, b"/v1/things/7:purge.json"),
        (THINGS, b"/v1/things/7:PURGE.json/"),
        (THINGS, b"/v1/things/:purge"),
        (STRICT, b"/v1/things/7%3Apurge"),
        (STRICT, b"/v1/things/7:%70urge"),
        (STRICT, b"/v1/things/7:8:purge"),
        (STRICT, b"/v1/things/7:8:purge/"),
    ],
)
def test_no_spelling_of_a_verb_is_less_protected(routes: tuple[Route, ...], target: bytes) -> None:
    assert reason(routes, target) in {Reason.TOKEN_MISSING, Reason.NO_ROUTE}


@pytest.mark.parametrize(
    "target", [b"/v1/things/a%40b.com:purge", b"/v1/things/%E7%94%A8:purge", b"/v1/things/7:purge"]
)
def test_an_encoded_id_is_no_reason_for_doubt(target: bytes) -> None:
    """Only escapes in the literal text tell upstreams apart."""
    assert reason(STRICT, target) is Reason.PUBLIC


# What was observed on 2026-11-28 with {id}:purge or {id}.json registered before {id}.
OBSERVED = (
    # chi v5
    ("go", "/x/a:b:purge", "wide"),
    ("go", "/x/:purge", "mixed"),
    ("go", "/x/7%3Apurge", "wide"),
    ("go", "/f/a.b.json", "wide"),
    ("go", "/f/.json", "mixed"),
    ("go", "/f/a%2Ejson", "wide"),
    # gorilla
    ("go", "/x/7%3Apurge", "mixed"),
    ("go", "/x/:purge", "wide"),
    # Fastify, Express 4 and 5
    ("generic", "/f/.json", "mixed"),
    ("generic", "/f/a.b.json", "mixed"),
    ("express", "/f/a%2Ejson", "wide"),
    # Symfony 5.4, Laravel 8
    *(
        (upstream, target, seen)
        for upstream in ("symfony", "laravel", "generic")
        for target, seen in (
            ("/x/a:b:purge", "wide"),
            ("/x/7%3Apurge", "mixed"),
            ("/f/a.b.json", "wide"),
        )
    ),
    # Rails 6.1
    ("rails", "/f/a%2Ejson", "wide"),
)


@pytest.mark.parametrize(("upstream", "target", "seen"), OBSERVED)
def test_the_handler_that_a_real_router_ran_is_never_less_protected(
    upstream: str, target: str, seen: str
) -> None:
    protected = {"mixed": seen == "mixed", "wide": seen == "wide"}
    paths = {"mixed": ["/x/{id}:purge", "/f/{id}.json"], "wide": ["/x/{id}", "/f/{id}"]}
    routes = [
        Route(index, f"r{index}", path, public=not protected[kind])
        for index, (kind, path) in enumerate((k, p) for k, each in paths.items() for p in each)
    ]
    dots = frozenset({"encoded_dot"})
    asked = target.encode()
    assert reason(tuple(routes), asked, upstream=upstream, allow_paths=dots) is Reason.TOKEN_MISSING


@pytest.mark.parametrize(
    ("target", "subject", "owns"),
    [
        (b"/users/7:keys", 7, True),
        (b"/users/8:keys", 7, False),
        (b"/users/7%3Akeys", 7, True),
        (b"/users/a@b.com:keys", "a@b.com", True),
        (b"/users/7:keys:keys", 7, False),
    ],
)
def test_the_owner_is_what_the_name_takes(target: bytes, subject: object, owns: bool) -> None:
    routes = [Route(0, "keys", "/users/{id}:keys", owner=1)]
    decision = decide(request(target, headers=bearer(user_id=subject)), snapshot(routes), {}, NOW)
    assert isinstance(decision, Allow if owns else Deny)
    assert decision.reason is (Reason.OK if owns else Reason.NOT_OWNER)


def test_the_owner_of_a_path_in_another_case_is_the_same() -> None:
    routes = [Route(0, "keys", "/users/{id}:keys", owner=1)]
    seen = snapshot(routes, ignore_case=True)
    asked = request(b"/Users/Ab:KEYS", headers=bearer(user_id="Ab"))
    assert isinstance(decide(asked, seen, {}, NOW), Allow)


texts = st.text("ab:.", max_size=4)
some_mixed = st.builds(Mixed, texts, texts).filter(lambda mixed: mixed.size > 0)


@settings(max_examples=300)
@given(st.lists(some_mixed, max_size=8), st.text("ab:.", min_size=1, max_size=10), st.booleans())
def test_the_index_finds_what_a_scan_finds_the_most_specific_last(
    written: list[Mixed], text: str, empty: bool
) -> None:
    index: MixedIndex[int] = MixedIndex()
    for each in written:
        index.add(each, 1)
    found = [mixed for mixed, _ in index.matching(text, empty=empty)]
    assert set(found) == {mixed for mixed in written if mixed.takes(text, empty=empty)}
    assert [mixed.size for mixed in found] == sorted(mixed.size for mixed in found)
    if written:
        assert len(found) <= index.most_at_once(lambda _: 1) <= len(set(written))


@settings(max_examples=300)
@given(st.lists(some_mixed, max_size=8, unique=True))
def test_every_two_that_neither_is_more_specific_are_found(written: list[Mixed]) -> None:
    index: MixedIndex[int] = MixedIndex()
    for each in written:
        index.add(each, 1)
    expected = {
        frozenset((one, other))
        for one in written
        for other in written
        if one != other and one.size == other.size and both(one, other) is not None
    }
    assert {frozenset(pair) for pair in index.unordered()} == expected


@settings(max_examples=300)
@given(some_mixed, some_mixed, st.text("ab:.", min_size=1, max_size=10))
def test_what_covers_another_takes_all_that_it_takes(one: Mixed, other: Mixed, text: str) -> None:
    if covers(one, other) and other.takes(text):
        assert one.takes(text)
    if one.takes(text) and other.takes(text):
        shared = both(one, other)
        assert shared is not None
        assert one.takes(shared)
        assert other.takes(shared)


def _seconds(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(7):
        begin = time.perf_counter()
        for _ in range(50):
            work()
        best = min(best, time.perf_counter() - begin)
    return best


def test_a_look_up_costs_no_more_among_ten_thousand_mixed_routes() -> None:
    def with_routes(count: int) -> float:
        paths = [f"/v1/things/{{id}}:verb{number:05}" for number in range(count)]
        seen = compile_policy(table("/v1/things/{id}", *paths), digest="")
        path = canonicalise(b"/v1/things/7:verb00003", raw_headers=True)
        route = seen.match("h", "GET", path.readings[0])
        assert isinstance(route, Route)
        assert route.path == paths[3]
        return _seconds(lambda: [seen.match("h", "GET", path.readings[0]),
                                 seen.is_read_otherwise(path, "h", [route])])  # fmt: skip

    assert with_routes(10_000) < 4 * with_routes(10)


@pytest.mark.parametrize("segment", ["{}a:verb1", "{}.json", "x{}:", ":verb1{}", "{}"])
def test_the_cost_of_a_look_up_grows_with_the_length_of_the_path(segment: str) -> None:
    paths = [f"/{{id}}:verb{number}" for number in range(40)] + ["/{id}.json", "/x{id}", "/{id}"]
    seen = snapshot(table(*paths))

    def of_length(length: int) -> float:
        asked = request(b"/" + segment.format("a:b." * (length // 4)).encode())
        return _seconds(lambda: decide(asked, seen, {}, NOW))

    assert of_length(8000) < 8 * 4 * of_length(1000)
