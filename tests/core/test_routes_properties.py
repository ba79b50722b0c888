"""Matching compared with a linear scan over random tables."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.routes.table import (
    MAX_STEPS,
    NotAllowed,
    Policy,
    PolicyError,
    Route,
    compile_policy,
    parse_pattern,
)

HOSTS = ["h", "g"]
METHODS = ["GET", "HEAD", "PUT"]
WORDS = ["a", "b", "A"]

words = st.sampled_from(WORDS)
paths = st.builds(
    lambda segments, tail: "/" + "/".join([*segments, *tail]),
    st.lists(st.one_of(words, st.just("*")), max_size=4),
    st.sampled_from([[], ["*"]]),
)
few_methods = st.frozensets(st.sampled_from(METHODS), max_size=2)
few_hosts = st.frozensets(st.sampled_from(HOSTS), max_size=2)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Route, ...]:
    drawn = draw(st.lists(st.tuples(paths, few_methods, few_hosts), max_size=7))
    return tuple(
        Route(index, f"r{index}", path, methods=methods, hosts=hosts)
        for index, (path, methods, hosts) in enumerate(drawn)
    )


requests = st.tuples(
    st.sampled_from([*HOSTS, "other"]),
    st.sampled_from([*METHODS, "POST"]),
    st.lists(words, max_size=5).map(tuple),
)


# The reference: every route is tried, and those that match are compared segment by segment.


def ranks(route: Route, segments: Sequence[str], *, ignore_case: bool) -> list[int] | None:
    """Return how specific a route's path is at each segment, None where it does not match."""
    written = route.path.strip("/").split("/") if route.path != "/" else []
    found: list[int] = []
    for index, word in enumerate(written):
        if word == "*" and index == len(written) - 1:
            matches = len(segments) > index or index == 0
            return [*found, 2] if matches else None
        if index >= len(segments):
            return None
        seen = segments[index]
        if ignore_case:
            word, seen = word.lower(), seen.lower()
        if word not in ("*", seen):
            return None
        found.append(1 if word == "*" else 0)
    return found if len(segments) == len(written) else None


def answers(route: Route, method: str) -> bool:
    includes = {"HEAD"} if "GET" in route.methods else set()
    return not route.methods or method in route.methods | includes


def scan(
    routes: Sequence[Route], request: tuple[str, str, tuple[str, ...]], *, ignore_case: bool
) -> Route | set[str] | None:
    """Return the winner, or the methods of the path that won, or None."""
    host, method, segments = request
    candidates = []
    for route in routes:
        rank = ranks(route, segments, ignore_case=ignore_case)
        if rank is not None and (not route.hosts or host in route.hosts):
            candidates.append((rank, not route.hosts, route))
    if not candidates:
        return None
    best = min((rank, hostless) for rank, hostless, _ in candidates)
    group = [route for rank, hostless, route in candidates if (rank, hostless) == best]
    for route in group:
        if answers(route, method):
            return route
    return {name for name in METHODS for route in group if answers(route, name)}


def rivals(one: Route, two: Route, *, ignore_case: bool) -> bool:
    """Return whether two routes could win one request, by trying the requests that tell."""
    paths_ = [route.path.strip("/") for route in (one, two)]
    if ignore_case:
        paths_ = [path.lower() for path in paths_]
    if paths_[0] != paths_[1] or bool(one.hosts) != bool(two.hosts):
        return False
    if one.hosts and not one.hosts & two.hosts:
        return False
    return any(answers(one, method) and answers(two, method) for method in [*METHODS, "POST"])


def compiled(routes: Sequence[Route], *, ignore_case: bool = False) -> Policy | None:
    try:
        return compile_policy(routes, digest="", ignore_case=ignore_case)
    except PolicyError:
        return None


@settings(max_examples=300)
@given(tables(), st.lists(requests, min_size=1, max_size=4), st.booleans())
def test_a_table_is_refused_only_for_rivals_and_matches_like_a_scan(
    routes: tuple[Route, ...],
    asked: list[tuple[str, str, tuple[str, ...]]],
    ignore_case: bool,
) -> None:
    pairs = {
        (two.index, one.index)
        for one, two in combinations(routes, 2)
        if rivals(one, two, ignore_case=ignore_case)
    }
    try:
        table = compile_policy(routes, digest="", ignore_case=ignore_case)
    except PolicyError as error:
        found = {(problem.route, problem.other) for problem in error.problems}
        assert found <= pairs
        assert {route for route, _ in found} == {route for route, _ in pairs}
        return
    assert not pairs
    for request in asked:
        match = table.match(*request)
        expected = scan(routes, request, ignore_case=ignore_case)
        if isinstance(match, NotAllowed):
            assert set(match.methods) == expected
            assert list(match.methods) == sorted(match.methods)
            assert match.route in routes
        else:
            assert match == expected


@settings(max_examples=200)
@given(st.data(), tables(), requests)
def test_the_order_of_routes_makes_no_difference(
    data: st.DataObject, routes: tuple[Route, ...], request: tuple[str, str, tuple[str, ...]]
) -> None:
    shuffled = data.draw(st.permutations(routes))
    one, two = compiled(routes), compiled(shuffled)
    assert (one is None) == (two is None)
    if one is None or two is None:
        return
    first, second = one.match(*request), two.match(*request)
    if isinstance(first, NotAllowed) and isinstance(second, NotAllowed):
        assert first.methods == second.methods
    else:
        assert first == second


class _Counting(dict[str, Any]):
    visits: ClassVar[int] = 0

    def get(self, key: str, default: Any = None) -> Any:
        _Counting.visits += 1
        return super().get(key, default)


@settings(max_examples=150)
@given(tables(), requests)
def test_a_lookup_takes_no_more_steps_than_were_counted_at_load(
    routes: tuple[Route, ...], request: tuple[str, str, tuple[str, ...]]
) -> None:
    table = compiled(routes)
    if table is None:
        return
    nodes = [table._root]
    for node in nodes:
        mixed = [below for _, below in node.mixed.items()] if node.mixed else []
        nodes += [*node.literals.values(), *mixed, *filter(None, (node.one, node.tail))]
        node.literals = _Counting(node.literals)
    _Counting.visits = 0
    table.match(*request)
    assert _Counting.visits <= table._root.steps() <= MAX_STEPS


@settings(max_examples=300)
@given(st.text(max_size=30) | st.text("/{}*%2fa.;?\\ ", max_size=30))
def test_any_text_is_a_pattern_or_a_value_error(path: str) -> None:
    try:
        pattern = parse_pattern(path)
    except ValueError:
        return
    assert not any(isinstance(pattern.segments[index], str) for index in pattern.names.values())
    assert all(segment is None or segment for segment in pattern.segments)


anything = st.text(max_size=8)


@settings(max_examples=150)
@given(
    st.lists(
        st.builds(
            Route,
            index=st.integers(0, 3),
            name=anything,
            path=st.one_of(paths, anything),
            methods=st.frozensets(anything, max_size=2),
            hosts=st.frozensets(anything, max_size=2),
            public=st.booleans(),
            owner=st.none() | st.integers(-2, 4),
            principals=st.frozensets(anything, max_size=2),
        ),
        max_size=4,
    ),
    st.tuples(anything, anything, st.lists(anything, max_size=70).map(tuple)),
    st.booleans(),
)
def test_any_routes_are_a_policy_or_a_policy_error_and_any_request_has_an_answer(
    routes: list[Route], request: tuple[str, str, tuple[str, ...]], ignore_case: bool
) -> None:
    table = compiled(routes, ignore_case=ignore_case)
    if table is None:
        return
    match = table.match(*request)
    assert match is None or (match.route if isinstance(match, NotAllowed) else match) in routes
