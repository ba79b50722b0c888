"""Neighbour readings compared with models of upstreams, each of which tries every route."""

import re
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sidecar.core.decision import Allow, Deny, decide
from sidecar.core.paths.canonical import ALLOWABLE, canonicalise
from sidecar.core.paths.upstreams import GENERIC, LISTED_SUFFIXES, UPSTREAMS, Upstream
from sidecar.core.reasons import Reason
from sidecar.core.routes.patterns import parse_pattern
from sidecar.core.routes.route import NotAllowed, Route
from sidecar.core.routes.segments import Mixed
from sidecar.core.routes.table import Policy, PolicyError, compile_policy
from tests.support.policies import NOW, bearer, request, snapshot

HOST = "api.jobfirst.local"
LEVELS = [
    {"public": True},
    {},
    {"permissions": ("p",)},
]  # what routes ask for, each more than the last

words = st.sampled_from(["a", "b", "Ab", "ab", "kis", "*", "*", "*"])
mixed_words = st.sampled_from(
    ["{n}:ab", "{n}:kis", "{n}:Ab", "{n}:a", "{n}b", "a{n}", "a{n}:ab", "{n}.json", "Kis{n}"]
)


def path_of(segments: list[str], tail: list[str], slash: str) -> str:
    """Write a path, with a name of its own for each segment that has one."""
    named = [segment.replace("{n}", f"{{n{index}}}") for index, segment in enumerate(segments)]
    return "/" + "/".join([*named, *tail]) + slash


paths = st.builds(
    path_of,
    st.lists(st.one_of(words, words, mixed_words), min_size=1, max_size=3),
    st.sampled_from([[], [], ["*"]]),
    st.sampled_from(["", "", "", "/"]),
)


@st.composite
def tables(draw: st.DrawFn, upstream: str = GENERIC, *, ignore_case: bool = False) -> Policy:
    """Draw a table of routes that ask for more or less."""
    drawn = draw(st.lists(st.tuples(paths, st.sampled_from(LEVELS)), min_size=1, max_size=6))
    if draw(st.booleans()):
        drawn.append(("/*", draw(st.sampled_from(LEVELS))))
    routes = [
        Route(index, f"r{index}", path, **level)  # type: ignore[arg-type]  # -- fields of a route
        for index, (path, level) in enumerate(drawn)
    ]
    try:
        return compile_policy(routes, digest="", upstream=upstream, ignore_case=ignore_case)
    except PolicyError:
        assume(False)
        raise


SPELT = {
    "a": ["a", "A", "%61", "a.json", "A.xml"],
    "b": ["b", "B", "%42", "b.csv.json"],
    "ab": ["ab", "AB", "aB", "Ab", "%61b", "ab.html"],
    "kis": ["kis", "%E2%84%AAis", "ki%c5%bf", "K%C4%B0S", "k%C4%B1s.json"],
    "x": ["x", "X", "x.json", "%40x", "7"],
    ":ab": ["7:ab", "7:AB", "7%3Aab", "7%3aab", "7:%61b", "a%40b:ab", ":ab", "a:b:ab", "7:ab.json"],
    ":a": ["7:a", "7:A", "7:a.json.xml", "7.8:a", ":a:a"],
    ":kis": ["7:kis", "7:ki%c5%bf", "7:%E2%84%AAis", "ki%CC%87s:kis", "KIS7", "kisi%CC%87"],
    ".json": [".json", "b.a.json", "a.JSON", "ab:ab", "a7:ab", "aa:a:ab", "a7b", "ABb", "aB"],
}
segments_spelt = st.sampled_from([word for forms in SPELT.values() for word in forms])
targets = st.builds(
    lambda segments, slash: ("/" + "/".join(segments) + slash).encode(),
    st.lists(segments_spelt, min_size=1, max_size=4),
    st.sampled_from(["", "", "/"]),
)


def level(found: Route | NotAllowed | None) -> int:
    """Return how much a route asks for."""
    assert isinstance(found, Route)
    return 0 if found.public else 1 + len(found.permissions)


def required(table: Policy, target: bytes, seen_by: Upstream | None = None) -> tuple[int, int]:
    """Return what the canonical route asks for, and what the sidecar does with all readings."""
    path = canonicalise(target, raw_headers=True)
    (segments,) = path.readings
    route = table.match(HOST, "GET", segments)
    if not isinstance(route, Route):
        return -1, -1
    if seen_by is not None:
        table = table.seen_by(seen_by)
    neighbours = table.neighbours
    if neighbours is None:
        return level(route), level(route)
    found = [level(route)]
    if path.plain and route.index in table.read_alike:
        assert not neighbours.concern(path, [route])
    elif neighbours.concern(path, [route]):
        found += [level(other) for _, other in neighbours.reached(path, HOST, "GET")]
    return level(route), max(found)


# The reference: an upstream that does each thing in one way, which tries every route.


class Model(NamedTuple):
    """One upstream, as it is set up at one place."""

    fold: str  # "", "ascii", "wide"
    encoded: bool
    suffixes: frozenset[str] | None
    keeps_slash: bool
    empty_capture: bool
    capture_with_slash: bool
    tail_after_slash: bool
    empty_tail: bool
    mixed: str  # "", "empty" for empty captures, "ends" for captures that end at the literal


def models(
    upstream: Upstream, *, ignore_case: bool = False, mixed: bool = False
) -> Iterator[Model]:
    """Yield every upstream that has some of these readings, for a table with ``mixed`` or not."""
    of_mixed = ["empty"] * upstream.empty_parts + ["ends"] * upstream.literals_end_captures
    folds = ["ascii", "wide"] if ignore_case else ["", "ascii", "wide"]
    both = [False, True]
    for model in product(
        folds if upstream.ignores_case or ignore_case else [""],
        both if upstream.compares_encoded else [False],
        [frozenset[str](), upstream.suffixes],
        [kept for kept in both if (upstream.keeps_slash if kept else upstream.ignores_slash)],
        both if upstream.empty_captures else [False],
        both if upstream.slashed_captures else [False],
        both if upstream.keeps_slash else [False],
        both if upstream.empty_tails else [False],
        ["", *of_mixed] if mixed else [""],
    ):
        yield Model(*model)


def folded(text: str, how: str) -> str:
    """Fold as much as the widest upstream, only ASCII, or nothing."""
    if how == "wide":
        text = text.translate({0x212A: "k", 0x17F: "s", 0x130: "i", 0x131: "i"})
    if how:
        text = "".join(c.lower() if c.isascii() else c for c in text)
    return text


def is_literal(model: Model, literal: str, raw: str, decoded: str, *, last: bool) -> bool:
    """Say whether an upstream takes a segment for a literal."""
    forms = forms_of(model, raw, decoded, last=last)
    return any(form == folded(literal, model.fold) for form in forms)


def forms_of(model: Model, raw: str, decoded: str, *, last: bool) -> list[str]:
    """Return a segment as an upstream compares it: folded, and also without its format."""
    seen = raw if model.encoded else decoded
    forms = [seen]
    if last and "." in seen:
        rest, _, suffix = seen.rpartition(".")
        if model.suffixes is None or suffix in model.suffixes:
            forms.append(rest)
    return [folded(form, model.fold) for form in forms]


def is_mixed(model: Model, mixed: Mixed, raw: str, decoded: str, *, last: bool) -> bool:
    """Say whether an upstream takes a segment for a name between literals."""
    prefix, suffix = (folded(text, model.fold) for text in mixed)
    capture = ".*" if model.mixed == "empty" else ".+"
    if model.mixed == "ends" and suffix:
        capture = f"[^{re.escape(suffix[0])}]+"
    pattern = re.compile(re.escape(prefix) + capture + re.escape(suffix), re.DOTALL)
    return any(map(pattern.fullmatch, forms_of(model, raw, decoded, last=last)))


def rank(
    model: Model, route: Route, raw: Sequence[str], decoded: Sequence[str], *, slash: bool
) -> list[tuple[float, int]] | None:
    """Return how specific a route is at each segment, None where the upstream does not match it.

    With each segment is whether it is a literal in other letters.
    """
    pattern = parse_pattern(route.path)
    with_slash = route.path.endswith("/") and pattern.segments != () and not pattern.tail
    if model.keeps_slash and with_slash and not slash:
        return None
    keeps = model.keeps_slash and slash and not with_slash
    ranks: list[tuple[float, int]] = []
    for index, literal in enumerate(pattern.segments):
        if index >= len(decoded):
            if index == len(decoded) and keeps and literal is None and model.empty_capture:
                keeps = False  # the capture takes what is after the slash
                ranks.append((2, 0))
                continue
            return None
        last = index == len(decoded) - 1
        if literal is None:
            ranks.append((2, 0))
        elif isinstance(literal, Mixed):
            if not is_mixed(model, literal, raw[index], decoded[index], last=last):
                return None
            ranks.append((1 + 1 / (2 + literal.size), int(not literal.takes(decoded[index]))))
        elif is_literal(model, literal, raw[index], decoded[index], last=last):
            ranks.append((0, int(literal != decoded[index])))
        else:
            return None
    more = len(decoded) - len(pattern.segments)
    if pattern.tail:
        after_slash = slash and model.keeps_slash and model.tail_after_slash
        needed = 0 if model.empty_tail or after_slash or not pattern.segments else 1
        return [*ranks, (3, 0)] if more >= needed else None
    if more > 0:
        return None
    last_capture = pattern.segments[-1:] == (None,) or (
        isinstance(pattern.segments[-1], Mixed) and not pattern.segments[-1].suffix
    )
    if keeps and not (last_capture and model.capture_with_slash):
        return None
    return [*ranks, (-1, 0)]


def served(table: Policy, model: Model, target: bytes) -> int:
    """Return what the route of the handler that an upstream runs asks for, -1 where it has none."""
    text = target.decode()
    slash = text.endswith("/")
    raw = text.strip("/").split("/")
    (decoded,) = canonicalise(target, raw_headers=True).readings
    ranked = [
        (found, level(route))
        for route in table.routes
        if (found := rank(model, route, raw, decoded, slash=slash)) is not None
    ]
    best = min(ranked, key=lambda pair: list(zip(*pair[0], strict=True)), default=([], -1))
    return best[1]


@settings(max_examples=250, deadline=None)
@given(st.data(), st.sampled_from(sorted(UPSTREAMS)), st.booleans(), targets)
def test_no_spelling_is_less_protected_than_what_an_upstream_runs_for_it(
    data: st.DataObject, upstream: str, ignore_case: bool, target: bytes
) -> None:
    """Whichever of the profile's readings an upstream has, and whatever the table is."""
    table = data.draw(tables(upstream, ignore_case=ignore_case))
    _, asked = required(table, target)
    assume(asked >= 0)
    mixed = any("{" in route.path for route in table.routes)
    for model in models(UPSTREAMS[upstream], ignore_case=ignore_case, mixed=mixed):
        assert served(table, model, target) <= asked, model


@settings(max_examples=200, deadline=None)
@given(tables(), targets)
def test_no_reading_makes_a_path_less_protected_than_its_own_route(
    table: Policy, target: bytes
) -> None:
    """The strictest counts, so nothing that a neighbour is can open anything."""
    canonical, asked = required(table, target)
    assert asked >= canonical


@settings(max_examples=200, deadline=None)
@given(tables(), targets)
def test_a_table_whose_wildcards_lie_over_nothing_stricter_decides_as_before(
    table: Policy, target: bytes
) -> None:
    """Only a spelling that its own route does not have can need more than that route."""
    wide = [r for r in table.routes if parse_pattern(r.path).takes_many]
    literal = [r for r in table.routes if r not in wide]
    assume(max(map(level, wide), default=0) <= 1)
    assume(not wide or max(map(level, literal), default=0) <= min(map(level, wide)))
    assume(len({level(route) for route in wide}) < 2)
    canonical, asked = required(table, target)
    # `/a` is another spelling of `/a/`: an upstream that keeps the slash may run a wildcard.
    own = not any(route.path.endswith("/") for route in literal)
    plain = own and b"%" not in target and not target.endswith(b"/")
    if not wide:
        assert table.neighbours is None
    if plain or not wide:
        assert asked == canonical


pieces = st.sampled_from(
    [b"/", b"//", b"a", b"A", b"admin", b"%41", b"%2f", b"%2e", b"%253b", b";", b".json", b".",
     b"index.php/", b"%c5%bf", b"%C4%B0", b"%E7%94%A8", b"%e7%94%a8", b"%ff", b"?", b"a@b.com"]
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    st.lists(pieces, max_size=10),
    st.sampled_from(sorted(UPSTREAMS)),
    st.booleans(),
    st.frozensets(st.sampled_from(sorted(ALLOWABLE))),
)
def test_any_target_has_an_answer_before_any_upstream(
    target: list[bytes], upstream: str, ignore_case: bool, allow: frozenset[str]
) -> None:
    """Whatever is read in how many ways, nothing is raised."""
    paths = ["/*", "/admin/*", "/{x}/admin", "/a/{x}", "/Admin/a", "/\u7528/{x}/\u017f", "/a/a/"]
    seen = snapshot(
        [Route(index, f"r{index}", path) for index, path in enumerate(paths)],
        upstream=upstream, ignore_case=ignore_case, allow_paths=allow,
    )  # fmt: skip
    decision = decide(request(b"/" + b"".join(target), headers=bearer()), seen, {}, NOW)
    assert isinstance(decision, Allow | Deny)
    assert decision.reason in {Reason.OK, Reason.MALFORMED_REQUEST}


FIELDS_AND_WHAT_TELLS = [
    ("ignores_case", False, ["/*", "/ab"], b"/AB"),
    ("compares_encoded", False, ["/ab", "/*"], b"/%61b"),
    ("suffixes", frozenset[str](), ["/*", "/ab"], b"/ab.json"),
    ("ignores_slash", False, ["/*", "/ab"], b"/AB/"),
    ("keeps_slash", False, ["/ab", "/ab/*"], b"/ab/"),
    ("keeps_slash", False, ["/ab/", "/*"], b"/ab"),
    ("empty_captures", False, ["/a", "/a/{name}"], b"/a/"),
    ("slashed_captures", False, ["/a/b", "/a/{name}"], b"/a/b/"),
    ("front_controller", "", ["/*", "/a/b"], b"/index.php/a/b"),
    ("empty_tails", False, ["/*", "/ab/*"], b"/ab"),
    ("empty_parts", False, ["/{id}", "/{id}:ab"], b"/:ab"),
    ("literals_end_captures", False, ["/{id}:ab", "/{id}"], b"/7:8:ab"),
]


@pytest.mark.parametrize(("field", "off", "routes", "target"), FIELDS_AND_WHAT_TELLS)
def test_each_reading_is_needed(field: str, off: object, routes: list[str], target: bytes) -> None:
    """With one of them switched off, a protected path is less protected."""
    weak, strict = routes
    table = compile_policy(
        [Route(0, "weak", weak, public=True), Route(1, "strict", strict)], digest=""
    )
    without = UPSTREAMS[GENERIC]._replace(**{field: off})  # type: ignore[arg-type]  # -- its value
    assert required(table, target) == (0, 1)
    assert required(table, target, without) == (0, 0)


def test_every_reading_has_a_case_that_tells() -> None:
    """A reading that is added comes with one."""
    told = {field for field, *_ in FIELDS_AND_WHAT_TELLS}
    assert told | {"dots_end_captures"} == set(Upstream._fields)  # which only Rails has, see below


def test_rails_takes_a_capture_with_a_dot_for_none() -> None:
    """``/users/7.json/keys`` is its wider route's only for Rails, so mail addresses are ids."""
    routes = [Route(0, "keys", "/users/{id}/keys", public=True), Route(1, "rest", "/users/*")]
    table = compile_policy(routes, digest="")
    assert required(table, b"/users/a@b.com/keys") == (0, 0)
    assert required(table, b"/users/a@b.com/keys", UPSTREAMS["rails"]) == (0, 1)
    routes = [Route(0, "user", "/users/{id}", public=True), Route(1, "rest", "/users/*")]
    table = compile_policy(routes, digest="")
    assert required(table, b"/users/a@b.com", UPSTREAMS["rails"]) == (0, 0)


def test_generic_has_every_reading_of_every_upstream_but_two() -> None:
    """Formats that are not listed, and captures that take no dots: honest paths have both."""
    generic = UPSTREAMS[GENERIC]
    for upstream in UPSTREAMS.values():
        for field in set(Upstream._fields) - {"suffixes", "dots_end_captures"}:
            assert getattr(generic, field) or not getattr(upstream, field)
    assert generic.suffixes == LISTED_SUFFIXES
