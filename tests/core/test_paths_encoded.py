"""``policy.encoded``: an encoded slash or hash that the upstream keeps is a part of its segment."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.core.paths.canonical import ALLOWABLE, PathError, canonicalise
from sidecar.core.paths.escapes import KEPT
from sidecar.core.paths.problems import PathProblem
from sidecar.core.reasons import Reason
from sidecar.core.routes.table import Route
from tests.core.test_neighbours import reason
from tests.core.test_paths_properties import _with_slashes, targets
from tests.core.upstreams import UPSTREAMS, RejectedError, decode, view

BOTH = frozenset({"slash", "hash"})
ACCEPTED = frozenset(KEPT.values())

# Of the observed servers, those that split a path before they decode its slashes.
KEEPERS = ["aiohttp", "express4", "express5", "tornado"]
OTHERS = sorted(
    name for name, upstream in UPSTREAMS.items() if name not in KEEPERS and decode in upstream.steps
)


def test_a_kept_slash_is_in_one_segment() -> None:
    path = canonicalise(b"/projects/group%2Fproject/issues", raw_headers=True, allow=ACCEPTED)
    assert path.readings == (("projects", "group/project", "issues"),)
    path = canonicalise(b"/@scope%2fpackage/", raw_headers=True, allow=ACCEPTED)
    assert (path.readings, path.slashes) == ((("@scope/package",),), (True,))
    assert canonicalise(b"/a%23b", raw_headers=True, allow=ACCEPTED).readings == (("a#b",),)


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (b"/a/..%2Fb", PathProblem.DOT_SEGMENT),
        (b"/a/b%2F..", PathProblem.DOT_SEGMENT),
        (b"/a/b%2F..%2Fc", PathProblem.DOT_SEGMENT),
        (b"/a/b%2F.%2Fc", PathProblem.DOT_SEGMENT),
        (b"/a/b%5Cc", PathProblem.ENCODED_BACKSLASH),
        (b"/a%252Fb", PathProblem.ENCODED_PERCENT),
        (b"/a%2F%00", PathProblem.ENCODED_CONTROL_CHARACTER),
    ],
)
def test_what_no_honest_id_has_is_refused(target: bytes, problem: PathProblem) -> None:
    with pytest.raises(PathError) as refusal:
        canonicalise(target, raw_headers=True, allow=ACCEPTED)
    assert refusal.value.problem is problem


def test_one_character_admits_no_other() -> None:
    for target, allow in ((b"/a%23b", "slash"), (b"/a%2Fb", "hash")):
        with pytest.raises(PathError):
            canonicalise(target, raw_headers=True, allow=frozenset({KEPT[allow]}))


GITLAB = (
    Route(0, "project", "/projects/{id}", public=True),
    Route(1, "keys", "/projects/{id}/keys"),
    Route(2, "rest", "/projects/*"),
)


@pytest.mark.parametrize(
    ("target", "wanted"),
    [
        (b"/projects/group%2Fproject", Reason.PUBLIC),
        (b"/projects/a%2Fb%2Fc", Reason.PUBLIC),
        (b"/projects/group%2Fproject/keys", Reason.TOKEN_MISSING),
        (b"/projects/group%2fproject/KEYS", Reason.TOKEN_MISSING),
        (b"/projects/group%2Fkeys", Reason.PUBLIC),
        (b"/projects/group/keys", Reason.TOKEN_MISSING),
    ],
)
def test_each_endpoint_has_its_own_rule(target: bytes, wanted: Reason) -> None:
    assert reason(GITLAB, target, encoded=BOTH) is wanted
    assert reason(GITLAB, target.replace(b"%", b"%25"), encoded=BOTH) is not Reason.PUBLIC


def test_the_owner_may_have_a_slash() -> None:
    routes = (Route(0, "owned", "/users/{id}:keys", owner=1),)
    assert reason(routes, b"/users/a%2Fb:keys", encoded=BOTH, token=True) is Reason.NOT_OWNER


kept_targets = targets(ALLOWABLE).map(lambda target: target.replace(b";", b"%2F"))


@settings(max_examples=400)
@given(kept_targets, st.sampled_from(KEEPERS))
def test_what_an_upstream_sees_that_keeps_the_slash_is_the_reading(
    target: bytes, keeper: str
) -> None:
    accepted = frozenset({KEPT["slash"]})
    try:
        path = canonicalise(target, raw_headers=True, allow=accepted)
        seen = view(UPSTREAMS[keeper], target)
    except (PathError, RejectedError):
        return
    assert _with_slashes(seen) in path.readings


@settings(max_examples=300)
@given(kept_targets, st.frozensets(st.sampled_from(sorted(ALLOWABLE - {"encoded_slash"}))))
def test_what_is_kept_is_never_a_separator(target: bytes, allow: frozenset[str]) -> None:
    """With whatever else is allowed: no reading has more segments than there are slashes."""
    try:
        path = canonicalise(target, raw_headers=True, allow=allow | ACCEPTED)
    except PathError:
        return
    most = target.partition(b"?")[0].count(b"/")
    assert all(len(segments) <= most for segments in path.readings)


@pytest.mark.parametrize("other", OTHERS)
def test_an_upstream_that_does_not_keep_it_must_not_be_declared_so(other: str) -> None:
    """It sees two segments; ``allow_paths: [encoded_slash]`` has that reading, ``encoded`` not."""
    target = b"/projects/group%2Fkeys"
    seen = view(UPSTREAMS[other], target)
    assert seen == ("projects", "group", "keys")
    kept = canonicalise(target, raw_headers=True, allow=ACCEPTED)
    assert seen not in kept.readings
    several = canonicalise(target, raw_headers=True, allow=frozenset({"encoded_slash"}))
    assert seen in several.readings
    allow = frozenset({"encoded_slash"})
    assert reason(GITLAB, target, allow_paths=allow) is Reason.TOKEN_MISSING
