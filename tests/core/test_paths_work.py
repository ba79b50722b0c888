"""What reading a path costs: it grows with the path's length, and is bounded for any path."""

from collections.abc import Callable
from contextlib import suppress
from time import process_time

import pytest

from sidecar.core.paths.canonical import ALLOWABLE, MAX_PATH, PathError, PathProblem, canonicalise
from sidecar.core.paths.readings import MAX_WORK
from sidecar.core.routes.table import Route, compile_policy

# Per reading, a piece that it treats specially, and the piece before it.
PIECES = [
    b";", b";a", b"%3b", b"%25", b"%252f", b"%2f", b"%2e", b"%2e%2e/", b"%23", b"%3f", b"//", b"/",
    b"a/", b"a", b"%61", b"%c3%a9", b"%", b"..", b"/..", b";/", b"\\", b"#", b" ", b"!", b"\xff",
]  # fmt: skip
SETTINGS = [frozenset[str](), frozenset({"semicolon"}), ALLOWABLE]


def seconds(target: bytes, allow: frozenset[str]) -> float:
    """Return what reading a target takes."""

    def read() -> None:
        with suppress(PathError):
            canonicalise(target, raw_headers=True, allow=allow)

    return least_time(read)


def least_time(work: Callable[[], None]) -> float:
    """Return the processor time of doing something four times, the least of several runs."""
    best = 1e9
    for _ in range(5):
        begun = process_time()
        for _ in range(4):
            work()
        best = min(best, process_time() - begun)
    return best


@pytest.mark.parametrize("allow", SETTINGS, ids=["nothing", "semicolon", "everything"])
@pytest.mark.parametrize("end", [b"", b"/b"], ids=repr)
@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_the_work_of_a_path_grows_no_faster_than_its_length(
    piece: bytes, end: bytes, allow: frozenset[str]
) -> None:
    """Sixteen times the length takes some 16 times as long, and quadratic work up to 256 times."""
    short = b"/a" + piece * (MAX_PATH // 16 // len(piece) - 2) + end
    long = b"/a" + piece * (MAX_PATH // len(piece) - 2) + end
    floor = 20e-6  # what less than that takes says nothing
    assert seconds(long, allow) < 48 * max(floor, seconds(short, allow))


@pytest.mark.parametrize("piece", [b"A", b".", b"a.json", b"%41", b"%c5%bf"], ids=repr)
@pytest.mark.parametrize("ignore_case", [False, True])
def test_the_work_of_neighbours_grows_no_faster_than_the_path(
    piece: bytes, ignore_case: bool
) -> None:
    """Of those that are looked for in a table where they matter, by the same ratio."""
    routes = [Route(0, "all", "/*"), Route(1, "a", "/{x}/a"), Route(2, "b", "/a/{x}/*")]
    table = compile_policy(routes, digest="", ignore_case=ignore_case)

    def walk(target: bytes) -> None:
        with suppress(PathError):
            path = canonicalise(target, raw_headers=True)
            list(table.reached(path, "h", "GET"))

    # As many segments in both, so that it is their length that differs.
    short = least_time(lambda: walk(b"/x" * 60 + b"/a" + piece * (400 // len(piece))))
    long = least_time(lambda: walk(b"/x" * 60 + b"/a" + piece * (6400 // len(piece))))
    assert long < 48 * max(20e-6, short)


def test_all_readings_of_a_path_together_have_a_budget() -> None:
    """Many readings of a short path pass, as many of a long one do not, and it says so."""
    tail = b"/b;c%3Bd/%2f/e;f"
    short = canonicalise(b"/a" + tail, raw_headers=True, allow=ALLOWABLE)
    assert 0 < short.work <= MAX_WORK
    with pytest.raises(PathError) as refusal:
        canonicalise(b"/" + b"a" * 8000 + tail, raw_headers=True, allow=ALLOWABLE)
    assert refusal.value.problem is PathProblem.TOO_MUCH_WORK


def test_a_path_as_long_as_paths_may_be_has_a_few_readings_within_the_budget() -> None:
    """An honest session id does not make a long path too long."""
    path = canonicalise(
        b"/" + b"a" * 8000 + b";jsessionid=1", raw_headers=True, allow=frozenset({"semicolon"})
    )
    assert len(path.readings) == 2
