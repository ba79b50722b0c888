"""Canonical paths: what is accepted, what is refused, and the readings of what is allowed."""

import pytest

from sidecar.core.paths.canonical import (
    ALLOWABLE,
    MAX_PATH,
    MAX_SEGMENTS,
    MAX_TARGET,
    PathError,
    PathProblem,
    canonicalise,
)

PLAIN = "".join(map(chr, range(0x21, 0x7F)))


def reading(target: bytes) -> tuple[str, ...]:
    (only,) = canonicalise(target, raw_headers=True).readings
    return only


@pytest.mark.parametrize(
    ("target", "segments"),
    [
        (b"/", ()),
        (b"/?a=1", ()),
        (b"/a", ("a",)),
        (b"/a/", ("a",)),
        (b"/a/b/c/d", ("a", "b", "c", "d")),
        (b"/a/b?", ("a", "b")),
        (b"/a/b?x=/../c//d;e%2f%00%zz\\\xff!", ("a", "b")),
        (b"/a/?b?c", ("a",)),
        (b"/a.b/.c/...", ("a.b", ".c", "...")),
        (b"/%61%70%69", ("api",)),
        (b"/a%20b/%7e%7E", ("a b", "~~")),
        (b"/%21%2a%2B%2c%40", ("!*+,@",)),
        (b"/%E7%94%A8%e6%88%b7/1", ("用户", "1")),
        (b"/%F0%9F%A6%80", ("🦀",)),
        (b"/e%CC%81", ("e\u0301",)),
        (b"/%C3%A9", ("\u00e9",)),
        (b"/%EF%BC%8F", ("／",)),
        (b"/{x}|\"<>^`'", ("{x}|\"<>^`'",)),
    ],
)
def test_a_path_is_its_decoded_segments(target: bytes, segments: tuple[str, ...]) -> None:
    assert reading(target) == segments


@pytest.mark.parametrize("character", sorted(set(PLAIN) - set("#%/;?\\")))
def test_every_visible_character_without_a_meaning_is_kept(character: str) -> None:
    raw, encoded = f"/a{character}/b".encode(), f"/a%{ord(character):02x}/b".encode()
    assert reading(raw) == (f"a{character}", "b")
    if character != ".":
        assert reading(encoded) == (f"a{character}", "b")


REFUSED = [
    (b"", PathProblem.EMPTY),
    (b"?x", PathProblem.EMPTY),
    (b"*", PathProblem.NOT_ABSOLUTE),
    (b"a/b", PathProblem.NOT_ABSOLUTE),
    (b"http://api.jobfirst.local/a", PathProblem.NOT_ABSOLUTE),
    (b"api.jobfirst.local:443", PathProblem.NOT_ABSOLUTE),
    (b"//", PathProblem.DOUBLE_SLASH),
    (b"//a", PathProblem.DOUBLE_SLASH),
    (b"/a//b", PathProblem.DOUBLE_SLASH),
    (b"/a//", PathProblem.DOUBLE_SLASH),
    (b"/.", PathProblem.DOT_SEGMENT),
    (b"/a/./b", PathProblem.DOT_SEGMENT),
    (b"/a/../b", PathProblem.DOT_SEGMENT),
    (b"/a/..", PathProblem.DOT_SEGMENT),
    (b"/a/../?x", PathProblem.DOT_SEGMENT),
    (b"/a\\b", PathProblem.BACKSLASH),
    (b"/a;b", PathProblem.SEMICOLON),
    (b"/a;", PathProblem.SEMICOLON),
    (b"/a b", PathProblem.SPACE),
    (b"/a#b", PathProblem.HASH),
    (b"/a?b#c", PathProblem.QUERY_CHARACTER),
    (b"/a?b c", PathProblem.QUERY_CHARACTER),
    (b"/a?b\r\nX: y", PathProblem.QUERY_CHARACTER),
    (b"/a\x00", PathProblem.CONTROL_CHARACTER),
    (b"/a\tb", PathProblem.CONTROL_CHARACTER),
    (b"/a\x7f", PathProblem.CONTROL_CHARACTER),
    (b"/a\r\nX: y", PathProblem.CONTROL_CHARACTER),
    (b"/\xe7\x94\xa8", PathProblem.NON_ASCII),
    (b"/a\xff", PathProblem.NON_ASCII),
    (b"/a\x85", PathProblem.NON_ASCII),
    (b"/%", PathProblem.INVALID_ESCAPE),
    (b"/%4", PathProblem.INVALID_ESCAPE),
    (b"/%zz", PathProblem.INVALID_ESCAPE),
    (b"/%%61", PathProblem.INVALID_ESCAPE),
    (b"/%u002e", PathProblem.INVALID_ESCAPE),
    (b"/%?2f", PathProblem.INVALID_ESCAPE),
    (b"/%5c", PathProblem.ENCODED_BACKSLASH),
    (b"/%5C", PathProblem.ENCODED_BACKSLASH),
    (b"/a%00", PathProblem.ENCODED_CONTROL_CHARACTER),
    (b"/a%0d%0a", PathProblem.ENCODED_CONTROL_CHARACTER),
    (b"/a%7f", PathProblem.ENCODED_CONTROL_CHARACTER),
    (b"/a%c2%80", PathProblem.ENCODED_CONTROL_CHARACTER),
    (b"/a%C2%9F", PathProblem.ENCODED_CONTROL_CHARACTER),
    (b"/a%2fb", PathProblem.ENCODED_SLASH),
    (b"/a%2Fb", PathProblem.ENCODED_SLASH),
    (b"/%2e", PathProblem.ENCODED_DOT),
    (b"/a/%2E%2e/b", PathProblem.ENCODED_DOT),
    (b"/a/.%2e/b", PathProblem.ENCODED_DOT),
    (b"/a%2eb", PathProblem.ENCODED_DOT),
    (b"/a%25", PathProblem.ENCODED_PERCENT),
    (b"/a%252f", PathProblem.ENCODED_PERCENT),
    (b"/a%3f", PathProblem.ENCODED_QUESTION),
    (b"/a%3F", PathProblem.ENCODED_QUESTION),
    (b"/a%23", PathProblem.ENCODED_HASH),
    (b"/a%3b", PathProblem.ENCODED_SEMICOLON),
    (b"/a%3B", PathProblem.ENCODED_SEMICOLON),
    (b"/%ff", PathProblem.NOT_UTF8),
    (b"/%c0%af", PathProblem.NOT_UTF8),
    (b"/%c0%ae%c0%ae", PathProblem.NOT_UTF8),
    (b"/%e0%80%af", PathProblem.NOT_UTF8),
    (b"/%f0%80%80%af", PathProblem.NOT_UTF8),
    (b"/%ed%a0%80", PathProblem.NOT_UTF8),
    (b"/%f4%90%80%80", PathProblem.NOT_UTF8),
    (b"/%e7%94", PathProblem.NOT_UTF8),
]


@pytest.mark.parametrize("raw_headers", [True, False])
@pytest.mark.parametrize(("target", "why"), REFUSED)
def test_what_could_be_read_differently_is_refused(
    target: bytes, why: PathProblem, raw_headers: bool
) -> None:
    with pytest.raises(PathError) as refusal:
        canonicalise(target, raw_headers=raw_headers)
    assert refusal.value.problem is why


def test_a_refusal_does_not_quote_the_target() -> None:
    with pytest.raises(PathError) as refusal:
        canonicalise(b"/secret-segment//?token=secret", raw_headers=True)
    assert "secret" not in str(refusal.value)


def test_an_exclamation_mark_is_refused_where_it_may_stand_for_other_bytes() -> None:
    assert reading(b"/a!") == ("a!",)
    with pytest.raises(PathError) as refusal:
        canonicalise(b"/a!", raw_headers=False)
    assert refusal.value.problem is PathProblem.EXCLAMATION_MARK


@pytest.mark.parametrize("target", [b"/a%21", b"/a?!"])
def test_an_exclamation_mark_that_is_encoded_or_in_the_query_is_the_clients_own(
    target: bytes,
) -> None:
    assert canonicalise(target, raw_headers=False) == canonicalise(target, raw_headers=True)


def test_a_path_may_be_as_long_as_a_request_line_and_no_longer() -> None:
    longest = b"/" + b"x" * (MAX_PATH - 1)
    assert reading(longest) == reading(longest + b"?query") == ("x" * (MAX_PATH - 1),)
    for target in (longest + b"x", longest + b"x?query"):
        with pytest.raises(PathError) as refusal:
            canonicalise(target, raw_headers=True)
        assert refusal.value.problem is PathProblem.TOO_LONG


def test_a_target_may_be_as_long_as_all_of_envoys_headers_and_no_longer() -> None:
    longest = b"/a?" + b"x" * (MAX_TARGET - 3)
    assert reading(longest) == ("a",)
    with pytest.raises(PathError) as refusal:
        canonicalise(longest + b"x", raw_headers=True)
    assert refusal.value.problem is PathProblem.TARGET_TOO_LONG


@pytest.mark.parametrize("slash", [b"", b"/", b"?", b"/?x"])
def test_a_path_has_at_most_64_segments(slash: bytes) -> None:
    assert reading(b"/x" * MAX_SEGMENTS + slash) == ("x",) * MAX_SEGMENTS
    with pytest.raises(PathError) as refusal:
        canonicalise(b"/x" * (MAX_SEGMENTS + 1) + slash, raw_headers=True)
    assert refusal.value.problem is PathProblem.TOO_MANY_SEGMENTS


READINGS = [
    # semicolon: kept, stripped everywhere, stripped at the end, cut there
    ("semicolon", b"/a;x=1", {("a;x=1",), ("a",)}),
    ("semicolon", b"/a;x/b;y", {("a;x", "b;y"), ("a", "b"), ("a;x", "b"), ("a",)}),
    ("semicolon", b"/a%3bx/b", {("a;x", "b"), ("a", "b"), ("a",)}),
    ("semicolon", b"/a/;x", {("a", ";x"), ("a",)}),
    # encoded_slash: kept in its segment, or splitting it
    ("encoded_slash", b"/a%2fb%2Fc", {("a/b/c",), ("a", "b", "c")}),
    ("encoded_slash", b"/a%2f", {("a/",), ("a",)}),
    # double_slash: kept, merged, the beginning of an authority
    ("double_slash", b"/a//b", {("a", "", "b"), ("a", "b")}),
    ("double_slash", b"//a/b", {("", "a", "b"), ("a", "b"), ("b",)}),
    ("double_slash", b"//a", {("", "a"), ("a",), ()}),
    ("double_slash", b"/a//", {("a", ""), ("a",)}),
    # encoded_hash, encoded_question: kept, or ending the path
    ("encoded_hash", b"/a%23b/c", {("a#b", "c"), ("a",)}),
    ("encoded_question", b"/a%3fb/c", {("a?b", "c"), ("a",)}),
    ("encoded_question", b"/a/%3F/c", {("a", "?", "c"), ("a",)}),
    # encoded_percent: decoded once, decoded twice
    ("encoded_percent", b"/%2561", {("%61",), ("a",)}),
    ("encoded_percent", b"/100%25", {("100%",)}),
    ("encoded_percent", b"/%25E7%2594%25A8", {("%E7%94%A8",), ("用",)}),
    ("encoded_percent", b"/50%25%20off", {("50% off",)}),
    # encoded_dot: kept, resolved
    ("encoded_dot", b"/a%2ehtml", {("a.html",)}),
    ("encoded_dot", b"/a/%2e%2e/b", {("a", "..", "b"), ("b",)}),
    ("encoded_dot", b"/a/.%2E/b", {("a", "..", "b"), ("b",)}),
    ("encoded_dot", b"/a/%2e/b", {("a", ".", "b"), ("a", "b")}),
    ("encoded_dot", b"/a/%2e%2e", {("a", ".."), ()}),
    # several features: every order of rewritings
    (
        "encoded_percent encoded_dot",
        b"/x%2541/a/%252e%252e/b",
        {("x%41", "a", "%2e%2e", "b"), ("x%41", "b"), ("xA", "a", "..", "b"), ("xA", "b")},
    ),
    (
        "encoded_percent encoded_slash double_slash",
        b"/%252f/",
        {("%2f",), ("/",), ("", ""), ("",), ()},
    ),
    (
        "encoded_slash semicolon",
        b"/a;x%2fy/b",
        {("a;x/y", "b"), ("a", "b"), ("a",), ("a;x", "y", "b"), ("a", "y", "b")},
    ),
    (
        "encoded_slash encoded_percent",
        b"/a%252fb",
        {("a%2fb",), ("a/b",), ("a", "b")},
    ),
    (
        "encoded_slash double_slash",
        b"/%2fa/b",
        {("/a", "b"), ("", "a", "b"), ("a", "b"), ("b",)},
    ),
    (  # a host ends at a decoded mark too
        "encoded_hash double_slash",
        b"//a%23",
        {("", "a#"), ("", "a"), ("a#",), ("a",), ("#",), ()},
    ),
    (
        "encoded_question double_slash",
        b"//a%3Fb/c",
        {("", "a?b", "c"), ("", "a"), ("a?b", "c"), ("a",), ("?b", "c"), ("c",), ()},
    ),
    (
        "encoded_slash encoded_dot",
        b"/a/b%2f..%2fc",
        {("a", "b/../c"), ("a", "b", "..", "c"), ("a", "c")},
    ),
    (
        "encoded_dot semicolon",
        b"/a/..;x/b",
        {("a", "..;x", "b"), ("a", "..", "b"), ("b",), ("a", ".."), ()},
    ),
    (
        "encoded_question semicolon",
        b"/a;%3fx/b",
        {("a;?x", "b"), ("a", "b"), ("a",), ("a;",)},
    ),
]


@pytest.mark.parametrize(("features", "target", "expected"), READINGS)
def test_what_is_allowed_is_read_in_every_way(
    features: str, target: bytes, expected: set[tuple[str, ...]]
) -> None:
    path = canonicalise(target, raw_headers=True, allow=frozenset(features.split()))
    assert set(path.readings) == expected
    assert len(path.readings) == len(expected)


@pytest.mark.parametrize(("features", "target", "expected"), READINGS)
def test_without_any_one_of_its_features_a_path_is_refused(
    features: str, target: bytes, expected: set[tuple[str, ...]]
) -> None:
    for missing in features.split():
        with pytest.raises(PathError):
            canonicalise(target, raw_headers=True, allow=ALLOWABLE - {missing})


@pytest.mark.parametrize(
    ("features", "target", "why"),
    [
        ("encoded_percent", b"/a%252fb", PathProblem.ENCODED_SLASH),
        ("encoded_percent", b"/a%252e", PathProblem.ENCODED_DOT),
        ("encoded_percent", b"/a%253b", PathProblem.ENCODED_SEMICOLON),
        ("encoded_percent", b"/a%253f", PathProblem.ENCODED_QUESTION),
        ("encoded_percent", b"/a%2523", PathProblem.ENCODED_HASH),
        ("encoded_percent", b"/a%255c", PathProblem.ENCODED_BACKSLASH),
        ("encoded_percent", b"/a%2500", PathProblem.ENCODED_CONTROL_CHARACTER),
        ("encoded_percent", b"/a%25c2%2585", PathProblem.ENCODED_CONTROL_CHARACTER),
        ("encoded_percent", b"/a%25c0%25af", PathProblem.NOT_UTF8),
        ("encoded_percent", b"/a%25ff", PathProblem.NOT_UTF8),
        ("encoded_percent", b"/a%252541", PathProblem.ENCODED_TOO_OFTEN),
        ("encoded_percent", b"/a%2525%34%31", PathProblem.ENCODED_TOO_OFTEN),
        ("encoded_percent", b"/a%25u002f", PathProblem.ENCODED_TOO_OFTEN),
        ("encoded_slash", b"/a%2f%2fb", PathProblem.DOUBLE_SLASH),
        ("encoded_slash", b"/%2fa", PathProblem.DOUBLE_SLASH),
        ("encoded_slash", b"/a/..%2fb", PathProblem.DOT_SEGMENT),
        ("semicolon", b"/a/..;/b", PathProblem.DOT_SEGMENT),
        ("semicolon", b"/a/.;x", PathProblem.DOT_SEGMENT),
        ("semicolon", b"/a/;x/b", PathProblem.DOUBLE_SLASH),
        ("encoded_dot", b"/%2e%2e", PathProblem.ABOVE_ROOT),
        ("encoded_dot", b"/a/%2e%2e/%2e%2e/b", PathProblem.ABOVE_ROOT),
        ("encoded_dot encoded_slash", b"/a%2f..%2f..%2fb", PathProblem.ABOVE_ROOT),
        ("encoded_dot double_slash", b"//a/%2e%2e/b", PathProblem.ABOVE_ROOT),
        ("encoded_dot", b"/a/../b", PathProblem.DOT_SEGMENT),
        ("double_slash", b"/a//../b", PathProblem.DOT_SEGMENT),
        (
            "encoded_slash",
            b"/a" + b"%2fa" * MAX_SEGMENTS,
            PathProblem.TOO_MANY_SEGMENTS,
        ),
    ],
)
def test_a_path_with_a_reading_that_is_refused_itself_is_refused(
    features: str, target: bytes, why: PathProblem
) -> None:
    with pytest.raises(PathError) as refusal:
        canonicalise(target, raw_headers=True, allow=frozenset(features.split()))
    assert refusal.value.problem is why


@pytest.mark.parametrize(
    "target",
    [target for target, why in REFUSED if "backslash" in why or "control" in why]
    + [b"/a b", b"/a#b", b"/%zz", b"/\xff", b"", b"*", b"/a/../b", b"/%c0%af"],
)
def test_nothing_lets_in_what_no_feature_names(target: bytes) -> None:
    with pytest.raises(PathError):
        canonicalise(target, raw_headers=True, allow=ALLOWABLE)


def test_the_plainest_reading_comes_first() -> None:
    path = canonicalise(b"/a;x%2fy", raw_headers=True, allow=ALLOWABLE)
    assert path.readings[0] == ("a;x/y",)


def test_a_path_of_too_many_readings_is_refused() -> None:
    target = b"/a;x//b%2fc/%2e%2e/d%253fe%3ff%23g%3bh"
    with pytest.raises(PathError) as refusal:
        canonicalise(target, raw_headers=True, allow=ALLOWABLE)
    assert refusal.value.problem is PathProblem.TOO_MANY_READINGS
