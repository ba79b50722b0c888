"""The paths of routes: what they mean, and what cannot be one."""

import re

import pytest

from sidecar.core.paths.canonical import MAX_SEGMENTS
from sidecar.core.routes.patterns import MAX_NAME
from sidecar.core.routes.segments import Mixed, Segment
from sidecar.core.routes.table import Route, default_name, parse_pattern
from tests.support.policies import policy


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
        ("/{id}:purge", (Mixed("", ":purge"),), False),
        ("/{id}%3Apurge", (Mixed("", ":purge"),), False),
        ("/v{version}/x", (Mixed("v", ""), "x"), False),
        ("/Products({id})/*", (Mixed("Products(", ")"),), True),
        ("/.{name}", (Mixed(".", ""),), False),
        ("/{name}..", (Mixed("", ".."),), False),
        ("/\u7528{id}\u6237", (Mixed("\u7528", "\u6237"),), False),
    ],
)
def test_a_pattern_is_literals_and_wildcards(
    path: str, segments: tuple[Segment, ...], tail: bool
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
        ("/a//b", "double slash"),
        ("//", "double slash"),
        ("/a*", "a * is part of"),
        ("/**", "a * is part of"),
        ("/a/*.html/b", "a * is part of"),
        ("/{a}/{a}", "{a} is used twice"),
        ("/{}", "is not a {name}"),
        ("/{a", "is not a {name}"),
        ("/a}", "is not a {name}"),
        ("/x{a}*", "a * is part of"),
        ("/{a}.{b}", "is not a {name}"),
        ("/v{a}/x{a}", "{a} is used twice"),
        ("/{a}%2f", "encoded slash"),
        ("/{a};b", "semicolon"),
        ("/{a}?b", "no query"),
        ("/%e7{a}%94%a8", "not utf8"),
        ("/{a}{b}", "is not a {name}"),
        ("/{1a}", "is not a {name}"),
        ("/{a:[0-9]+}", "is not a {name}"),
        ("/{*rest}", "is not a {name}"),
        ("/{" + "a" * 65 + "}", "is not a {name}"),
        ("/a?b=c", "no query"),
        ("/a/./b", "dot segment"),
        ("/..", "dot segment"),
        ("/a;b", "semicolon"),
        ("/a#b", "hash"),
        ("/a b", "space"),
        ("/a\\b", "backslash"),
        ("/a\tb", "control character"),
        ("/a\u0085b", "encoded control character"),
        ("/%2e", "encoded dot"),
        ("/a%2fb", "encoded slash"),
        ("/a%25b", "encoded percent"),
        ("/a%3fb", "encoded question"),
        ("/%00", "encoded control character"),
        ("/%zz", "invalid escape"),
        ("/%ff", "not utf8"),
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
        ("/v{version}/things/{id}:purge", "vversion-things-id-purge"),
        ("/a.b/c_d/", "a.b-c_d"),
        ("/用户", "route"),
        ("/a/%41b", "a-41b"),
        ("/" + "long" * 30, ("long" * 30)[: MAX_NAME - 8]),
    ],
)
def test_a_default_name_is_derived_from_the_path(path: str, name: str) -> None:
    assert default_name(path) == name
    assert policy([Route(0, name, "/")])
