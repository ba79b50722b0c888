"""Canonical paths: what is accepted, what is refused, and the readings of what is let in."""

import re

import pytest

from sidecar.core.paths.canonical import (
    ALLOWABLE,
    MAX_PATH,
    MAX_READINGS,
    MAX_SEGMENTS,
    MAX_TARGET,
    PathError,
    canonicalise,
)

PLAIN = "".join(map(chr, range(0x21, 0x7F)))


def reading(target: bytes) -> tuple[str, ...]:
    (only,) = canonicalise(target, faithful=True).readings
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
def test_every_visible_character_that_means_nothing_stands_for_itself(character: str) -> None:
    raw, encoded = f"/a{character}/b".encode(), f"/a%{ord(character):02x}/b".encode()
    assert reading(raw) == (f"a{character}", "b")
    if character != ".":
        assert reading(encoded) == (f"a{character}", "b")


REFUSED = [
    (b"", "is empty"),
    (b"?x", "is empty"),
    (b"*", "does not begin with /"),
    (b"a/b", "does not begin with /"),
    (b"http://api.jobfirst.local/a", "does not begin with /"),
    (b"api.jobfirst.local:443", "does not begin with /"),
    (b"//", "a double slash"),
    (b"//a", "a double slash"),
    (b"/a//b", "a double slash"),
    (b"/a//", "a double slash"),
    (b"/.", "a dot segment"),
    (b"/a/./b", "a dot segment"),
    (b"/a/../b", "a dot segment"),
    (b"/a/..", "a dot segment"),
    (b"/a/../?x", "a dot segment"),
    (b"/a\\b", "a backslash"),
    (b"/a;b", "a ;"),
    (b"/a;", "a ;"),
    (b"/a b", "a raw space"),
    (b"/a#b", "a raw #"),
    (b"/a?b#c", "the query holds"),
    (b"/a?b c", "the query holds"),
    (b"/a?b\r\nX: y", "the query holds"),
    (b"/a\x00", "a raw control character"),
    (b"/a\tb", "a raw control character"),
    (b"/a\x7f", "a raw control character"),
    (b"/a\r\nX: y", "a raw control character"),
    (b"/\xe7\x94\xa8", "raw bytes beyond ASCII"),
    (b"/a\xff", "raw bytes beyond ASCII"),
    (b"/a\x85", "raw bytes beyond ASCII"),
    (b"/%", "a broken percent-escape"),
    (b"/%4", "a broken percent-escape"),
    (b"/%zz", "a broken percent-escape"),
    (b"/%%61", "a broken percent-escape"),
    (b"/%u002e", "a broken percent-escape"),
    (b"/%?2f", "a broken percent-escape"),
    (b"/%5c", "an encoded backslash"),
    (b"/%5C", "an encoded backslash"),
    (b"/a%00", "an encoded control character"),
    (b"/a%0d%0a", "an encoded control character"),
    (b"/a%7f", "an encoded control character"),
    (b"/a%c2%80", "an encoded control character"),
    (b"/a%C2%9F", "an encoded control character"),
    (b"/a%2fb", "an encoded /"),
    (b"/a%2Fb", "an encoded /"),
    (b"/%2e", "an encoded ."),
    (b"/a/%2E%2e/b", "an encoded ."),
    (b"/a/.%2e/b", "an encoded ."),
    (b"/a%2eb", "an encoded ."),
    (b"/a%25", "an encoded %"),
    (b"/a%252f", "an encoded %"),
    (b"/a%3f", "an encoded ?"),
    (b"/a%3F", "an encoded ?"),
    (b"/a%23", "an encoded #"),
    (b"/a%3b", "an encoded ;"),
    (b"/a%3B", "an encoded ;"),
    (b"/%ff", "not UTF-8"),
    (b"/%c0%af", "not UTF-8"),
    (b"/%c0%ae%c0%ae", "not UTF-8"),
    (b"/%e0%80%af", "not UTF-8"),
    (b"/%f0%80%80%af", "not UTF-8"),
    (b"/%ed%a0%80", "not UTF-8"),
    (b"/%f4%90%80%80", "not UTF-8"),
    (b"/%e7%94", "not UTF-8"),
]


@pytest.mark.parametrize("faithful", [True, False])
@pytest.mark.parametrize(("target", "why"), REFUSED)
def test_what_could_be_read_differently_is_refused(target: bytes, why: str, faithful: bool) -> None:
    with pytest.raises(PathError, match=re.escape(why)):
        canonicalise(target, faithful=faithful)


def test_a_refusal_does_not_quote_the_target() -> None:
    with pytest.raises(PathError) as refusal:
        canonicalise(b"/secret-segment//?token=secret", faithful=True)
    assert "secret" not in str(refusal.value)


def test_an_exclamation_mark_is_refused_where_it_may_stand_for_other_bytes() -> None:
    assert reading(b"/a!") == ("a!",)
    with pytest.raises(PathError, match="a !"):
        canonicalise(b"/a!", faithful=False)


@pytest.mark.parametrize("target", [b"/a%21", b"/a?!"])
def test_an_exclamation_mark_that_is_encoded_or_in_the_query_is_the_clients_own(
    target: bytes,
) -> None:
    assert canonicalise(target, faithful=False) == canonicalise(target, faithful=True)


def test_a_path_may_be_as_long_as_a_request_line_and_no_longer() -> None:
    longest = b"/" + b"x" * (MAX_PATH - 1)
    assert reading(longest) == reading(longest + b"?query") == ("x" * (MAX_PATH - 1),)
    for target in (longest + b"x", longest + b"x?query"):
        with pytest.raises(PathError, match="longer than"):
            canonicalise(target, faithful=True)


def test_a_target_may_be_as_long_as_all_of_envoys_headers_and_no_longer() -> None:
    longest = b"/a?" + b"x" * (MAX_TARGET - 3)
    assert reading(longest) == ("a",)
    with pytest.raises(PathError, match="longer than"):
        canonicalise(longest + b"x", faithful=True)


@pytest.mark.parametrize("slash", [b"", b"/", b"?", b"/?x"])
def test_a_path_has_at_most_64_segments(slash: bytes) -> None:
    assert reading(b"/x" * MAX_SEGMENTS + slash) == ("x",) * MAX_SEGMENTS
    with pytest.raises(PathError, match="segments"):
        canonicalise(b"/x" * (MAX_SEGMENTS + 1) + slash, faithful=True)


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
    path = canonicalise(target, faithful=True, allow=frozenset(features.split()))
    assert set(path.readings) == expected
    assert len(path.readings) == len(expected)


@pytest.mark.parametrize(("features", "target", "expected"), READINGS)
def test_without_any_one_of_its_features_a_path_is_refused(
    features: str, target: bytes, expected: set[tuple[str, ...]]
) -> None:
    for missing in features.split():
        with pytest.raises(PathError):
            canonicalise(target, faithful=True, allow=ALLOWABLE - {missing})


@pytest.mark.parametrize(
    ("features", "target", "why"),
    [
        ("encoded_percent", b"/a%252fb", "an encoded /"),
        ("encoded_percent", b"/a%252e", "an encoded ."),
        ("encoded_percent", b"/a%253b", "an encoded ;"),
        ("encoded_percent", b"/a%253f", "an encoded ?"),
        ("encoded_percent", b"/a%2523", "an encoded #"),
        ("encoded_percent", b"/a%255c", "an encoded backslash"),
        ("encoded_percent", b"/a%2500", "an encoded control character"),
        ("encoded_percent", b"/a%25c2%2585", "an encoded control character"),
        ("encoded_percent", b"/a%25c0%25af", "not UTF-8"),
        ("encoded_percent", b"/a%25ff", "not UTF-8"),
        ("encoded_percent", b"/a%252541", "more than twice"),
        ("encoded_percent", b"/a%2525%34%31", "more than twice"),
        ("encoded_percent", b"/a%25u002f", "more than twice"),
        ("encoded_slash", b"/a%2f%2fb", "a double slash"),
        ("encoded_slash", b"/%2fa", "a double slash"),
        ("encoded_slash", b"/a/..%2fb", "a dot segment"),
        ("semicolon", b"/a/..;/b", "a dot segment"),
        ("semicolon", b"/a/.;x", "a dot segment"),
        ("semicolon", b"/a/;x/b", "a double slash"),
        ("encoded_dot", b"/%2e%2e", "climbs above the root"),
        ("encoded_dot", b"/a/%2e%2e/%2e%2e/b", "climbs above the root"),
        ("encoded_dot encoded_slash", b"/a%2f..%2f..%2fb", "climbs above the root"),
        ("encoded_dot double_slash", b"//a/%2e%2e/b", "climbs above the root"),
        ("encoded_dot", b"/a/../b", "a dot segment"),
        ("double_slash", b"/a//../b", "a dot segment"),
        (
            "encoded_slash",
            b"/a" + b"%2fa" * MAX_SEGMENTS,
            "more than 64 segments",
        ),
    ],
)
def test_a_path_with_a_reading_that_is_refused_itself_is_refused(
    features: str, target: bytes, why: str
) -> None:
    with pytest.raises(PathError, match=re.escape(why)):
        canonicalise(target, faithful=True, allow=frozenset(features.split()))


@pytest.mark.parametrize(
    "target",
    [target for target, why in REFUSED if "backslash" in why or "control" in why]
    + [b"/a b", b"/a#b", b"/%zz", b"/\xff", b"", b"*", b"/a/../b", b"/%c0%af"],
)
def test_nothing_lets_in_what_no_feature_names(target: bytes) -> None:
    with pytest.raises(PathError):
        canonicalise(target, faithful=True, allow=ALLOWABLE)


def test_the_plainest_reading_comes_first() -> None:
    path = canonicalise(b"/a;x%2fy", faithful=True, allow=ALLOWABLE)
    assert path.readings[0] == ("a;x/y",)


def test_a_path_of_too_many_readings_is_refused() -> None:
    target = b"/a;x//b%2fc/%2e%2e/d%253fe%3ff%23g%3bh"
    with pytest.raises(PathError, match=f"more than {MAX_READINGS} readings"):
        canonicalise(target, faithful=True, allow=ALLOWABLE)
