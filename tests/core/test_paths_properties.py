"""No spelling of a protected path is public, whatever the upstream makes of it."""

from collections.abc import Sequence
from itertools import chain
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.paths.canonical import (
    ALLOWABLE,
    MAX_READINGS,
    MAX_SEGMENTS,
    PathError,
    canonicalise,
)
from sidecar.core.routes.table import Policy, Route
from tests.core.upstreams import (
    RejectedError,
    Upstream,
    decode_all_but_slashes,
    upstreams,
    view,
)
from tests.support.policies import policy

PLAIN = [b"a", b"b", b"admin", b"open", b"/", b"/", b"/", b"/a/", b"%61", b"%41"]
FEATURES = {
    "double_slash": [b"//", b"///"],
    "encoded_dot": [b"%2e", b"%2E%2e", b"/%2e%2e/", b"/%2E/", b"/.%2e"],
    "encoded_hash": [b"%23"],
    "encoded_percent": [b"%25", b"%2561", b"%2541", b"%25%36%31", b"%2525"],
    "encoded_question": [b"%3f", b"%3F"],
    "encoded_slash": [b"%2f", b"%2F"],
    "semicolon": [b";", b";x", b";x=1;y", b"/;x", b"%3b", b"%3B"],
}
TWICE = [b"%252f", b"%25%32%66", b"%252e", b"%252e%252e/", b"%253b", b"%253F", b"%2523", b"%252561"]
NEVER = [
    *(
        b".",
        b"..",
        b"/./",
        b"/../",
        b"/..;/",
        b"?",
        b"#",
        b"\\",
        b"%5c",
        b"%255c",
        b" ",
        b"%20",
        b"!",
    ),
    *(b"\0", b"%00", b"%2500", b"\r\n", b"%0a", b"\x7f", b"%", b"%z", b"%u002f", b"%c2%85", b"*"),
    *(
        b"%c0%af",
        b"%25c0%25af",
        b"\xff",
        b"%ff",
        b"\xc3\xa9",
        b"%c3%a9",
        b"http://h",
        b"{x}",
        b"%21",
    ),
]

allowed = st.one_of(
    st.frozensets(st.sampled_from(sorted(ALLOWABLE)), max_size=3),
    st.frozensets(st.sampled_from(sorted(ALLOWABLE))),
)


@st.composite
def targets(draw: st.DrawFn, allow: frozenset[str]) -> bytes:
    """Draw a target: of what is allowed, mostly, so that it gets past the first check."""
    match draw(st.integers(0, 5)):
        case 0:
            return draw(st.binary(max_size=40))
        case 1:
            pieces = [*PLAIN, *NEVER, *TWICE, *chain(*FEATURES.values())]
        case _:
            pieces = [*PLAIN, *chain(*(FEATURES[feature] for feature in sorted(allow)))]
            if "encoded_percent" in allow:
                pieces += TWICE
    return b"/" + b"".join(draw(st.lists(st.sampled_from(pieces), max_size=8)))


words = st.sampled_from(["a", "b", "admin", "open"])


@st.composite
def policies(draw: st.DrawFn, allow: frozenset[str], *, ignore_case: bool = False) -> Policy:
    """Draw a table: a public wildcard, and over or under it more that is public or protected."""
    segment = st.one_of(words, words, st.just("*"))
    path = st.tuples(st.lists(segment, min_size=1, max_size=3), st.sampled_from([[], ["*"]]))
    paths = draw(st.lists(path.map(lambda p: "/" + "/".join(p[0] + p[1])), max_size=5, unique=True))
    wide = draw(st.sampled_from(["/*", "/open/*", "/*/a/*"]))
    routes = [Route(0, "wide", wide, public=True)]
    for index, text in enumerate([text for text in paths if text != wide], 1):
        routes.append(Route(index, f"r{index}", text, public=draw(st.booleans())))
    return policy(routes, allow_paths=allow, ignore_case=ignore_case)


def public(table: Policy, segments: tuple[str, ...]) -> bool:
    route = table.match("api.jobfirst.local", "GET", segments)
    return isinstance(route, Route) and route.public


@settings(max_examples=300)
@given(st.data(), allowed, st.booleans())
def test_any_bytes_are_a_path_of_bounded_readings_or_a_path_error(
    data: st.DataObject, allow: frozenset[str], raw_headers: bool
) -> None:
    target = data.draw(targets(allow))
    try:
        path = canonicalise(target, raw_headers=raw_headers, allow=allow)
    except PathError:
        return
    assert 1 <= len(path.readings) <= MAX_READINGS
    assert len(set(path.readings)) == len(path.readings)
    for segments in path.readings:
        assert len(segments) <= MAX_SEGMENTS
        text = "".join(segments)
        assert not any(c < " " or "\x7f" <= c <= "\x9f" or c == "\\" for c in text)
        assert "/" not in text or "encoded_slash" in allow
        assert "%" not in text or "encoded_percent" in allow
        assert ";" not in text or "semicolon" in allow
        assert "?" not in text or "encoded_question" in allow
        assert "#" not in text or "encoded_hash" in allow
        assert "" not in segments or "double_slash" in allow
        assert not {".", ".."} & set(segments) or "encoded_dot" in allow
    if path.plain:
        raw = target.partition(b"?")[0]
        assert path.readings == (tuple(raw.decode()[1:].split("/")),)
        assert not path.slashes[0]
        assert b"." not in raw
        assert b"%" not in raw


def _with_slashes(segments: Sequence[str]) -> tuple[str, ...]:
    return tuple(segment.replace("%2F", "/").replace("%2f", "/") for segment in segments)


@settings(max_examples=800)
@given(st.data(), allowed, upstreams())
def test_what_an_upstream_sees_is_among_the_readings(
    data: st.DataObject, allow: frozenset[str], upstream: Upstream
) -> None:
    target = data.draw(targets(allow))
    try:
        path = canonicalise(target, raw_headers=True, allow=allow)
        seen = view(upstream, target)
    except (PathError, RejectedError):
        return
    found = set(path.readings)
    if decode_all_but_slashes in upstream.steps:
        # It keeps the spelling of %2F, and looks alike then what was %252F; no route can tell.
        seen, found = _with_slashes(seen), set(map(_with_slashes, found))
    assert seen in found


@settings(max_examples=300)
@given(st.data(), allowed, upstreams())
def test_what_is_protected_at_an_upstream_is_never_public(
    data: st.DataObject, allow: frozenset[str], upstream: Upstream
) -> None:
    table = data.draw(policies(allow))
    target = data.draw(targets(allow))
    try:
        path = canonicalise(target, raw_headers=True, allow=allow)
        seen = view(upstream, target)
    except (PathError, RejectedError):
        return
    if not public(table, seen):
        assert not all(public(table, segments) for segments in path.readings)


ENCODED = [b"%%%02x", b"%%%02X", b"%%25%02x", b"%%25%02X"]
INSTEAD_OF_SLASH = [
    b"//",
    b"\\",
    b"%2f",
    b"%2F",
    b"%5c",
    b"%252f",
    b"/\\",
    b"/./",
    b"/%2e/",
    b"/.;/",
]
INSTEAD_OF_SLASH += [b"/x/../", b"/x/%2E%2e/", b"/x%2f../", b"/x/..;y/", b"/x%2f%2e%2e/", b"/;x/"]
AFTER_A_SEGMENT = [
    b";x=1",
    b";",
    b";x;y",
    b"%3bx",
    b"%3Bx",
    b"%00",
    b"\0x",
    b"%2500",
    b"\xff",
    b"%09",
]
AT_THE_END = [
    b"/",
    b"//",
    b"/.",
    b"/x/..",
    b"/%2e",
    b"?x",
    b"?",
    b"#x",
    b"%23x",
    b"%3fx",
    b"%253Fx",
]
AT_THE_END += [b"/;x", b"%2f", b"%c0%80", b"\r\n", b" ", b"%253b"]
AT_THE_START = [b"", b"", b"/", b"//h", b"http://h", b"/.", b"/x/..", b"/%2e", b"\\", b"h:80"]


def _spell(data: st.DataObject, path: bytes, ignore_case: bool) -> bytes:
    """Combine one to four changes of a path that some server takes for the plain one."""
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(path) - 1))
        match data.draw(st.integers(0, 4)):
            case 0 if path[at : at + 1] != b" ":  # a%20 is another segment than a
                form = data.draw(st.sampled_from(ENCODED))
                path = path[:at] + form % path[at] + path[at + 1 :]
            case 1 if b"/" in path[at:]:
                at = path.index(b"/", at)
                path = path[:at] + data.draw(st.sampled_from(INSTEAD_OF_SLASH)) + path[at + 1 :]
            case 2 if b"/" in path[at + 1 :]:
                at = path.index(b"/", at + 1)
                path = path[:at] + data.draw(st.sampled_from(AFTER_A_SEGMENT)) + path[at:]
            case 3:
                path += data.draw(st.sampled_from(AT_THE_END))
            case 4 if ignore_case and b"%" not in path:
                path = path[:at] + path[at:].upper()
    return data.draw(st.sampled_from(AT_THE_START)) + path


@settings(max_examples=400)
@given(st.data(), allowed, st.booleans(), st.booleans())
def test_no_spelling_of_a_protected_path_is_public(
    data: st.DataObject, allow: frozenset[str], raw_headers: bool, ignore_case: bool
) -> None:
    table = data.draw(policies(allow, ignore_case=ignore_case))
    plain = data.draw(st.lists(words, max_size=4))
    if public(table, tuple(plain)):
        return
    target = _spell(data, ("/" + "/".join(plain)).encode(), ignore_case)
    if not raw_headers:
        target = target.replace(b"\xff", b"!")  # as Envoy does
    try:
        path = canonicalise(target, raw_headers=raw_headers, allow=allow)
    except PathError:
        return
    assert not all(public(table, segments) for segments in path.readings)


segments_of_text = st.lists(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\;%?#."), min_size=1
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200)
@given(segments_of_text, st.booleans(), allowed, st.sampled_from(["", "/", "?", "/?a=b"]))
def test_percent_encoded_text_of_any_language_is_itself_in_every_mode(
    segments: list[str], raw_headers: bool, allow: frozenset[str], end: str
) -> None:
    target = ("/" + "/".join(quote(segment, safe="") for segment in segments) + end).encode()
    path = canonicalise(target, raw_headers=raw_headers, allow=allow)
    assert path.readings == (tuple(segments),)


@settings(max_examples=300)
@given(targets(frozenset()), allowed)
def test_allowing_a_feature_changes_nothing_for_paths_without_it(
    target: bytes, allow: frozenset[str]
) -> None:
    try:
        strict = canonicalise(target, raw_headers=True)
    except PathError:
        return
    assert canonicalise(target, raw_headers=True, allow=allow) == strict
