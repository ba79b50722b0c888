"""What reading a path costs: it grows with the path's length, and is bounded for any path."""

import re
from time import process_time

import pytest

from sidecar.core.paths import ALLOWABLE, MAX_PATH, PathError, canonicalise
from sidecar.core.readings import MAX_WORK

# One piece each that some reading treats in a way of its own, and what comes before it.
PIECES = [
    b";", b";a", b"%3b", b"%25", b"%252f", b"%2f", b"%2e", b"%2e%2e/", b"%23", b"%3f", b"//", b"/",
    b"a/", b"a", b"%61", b"%c3%a9", b"%", b"..", b"/..", b";/", b"\\", b"#", b" ", b"!", b"\xff",
]  # fmt: skip
SETTINGS = [frozenset[str](), frozenset({"semicolon"}), ALLOWABLE]


def seconds(target: bytes, allow: frozenset[str]) -> float:
    """Return what reading a target takes: processor time, the least of several runs."""
    best = 1e9
    for _ in range(5):
        begun = process_time()
        for _ in range(4):
            try:
                canonicalise(target, faithful=True, allow=allow)
            except PathError:
                pass
        best = min(best, process_time() - begun)
    return best


@pytest.mark.parametrize("allow", SETTINGS, ids=["nothing", "semicolon", "everything"])
@pytest.mark.parametrize("end", [b"", b"/b"], ids=repr)
@pytest.mark.parametrize("piece", PIECES, ids=repr)
def test_the_work_of_a_path_grows_no_faster_than_its_length(
    piece: bytes, end: bytes, allow: frozenset[str]
) -> None:
    """Eight times the length is some eight times the time, where quadratic work is 64 times."""
    short = b"/a" + piece * (MAX_PATH // 8 // len(piece) - 2) + end
    long = b"/a" + piece * (MAX_PATH // len(piece) - 2) + end
    floor = 20e-6  # what less than that takes says nothing
    assert seconds(long, allow) < 24 * max(floor, seconds(short, allow))


def test_all_readings_of_a_path_together_have_a_budget() -> None:
    """Many readings of a short path pass, as many of a long one do not, and it says so."""
    tail = b"/b;c%3Bd/%2f/e;f"
    short = canonicalise(b"/a" + tail, faithful=True, allow=ALLOWABLE)
    assert 0 < short.work <= MAX_WORK
    with pytest.raises(PathError, match=re.escape("too much work to read in all its ways")):
        canonicalise(b"/" + b"a" * 8000 + tail, faithful=True, allow=ALLOWABLE)


def test_a_path_as_long_as_paths_may_be_has_a_few_readings_within_the_budget() -> None:
    """An honest session id does not make a long path too long."""
    path = canonicalise(
        b"/" + b"a" * 8000 + b";jsessionid=1", faithful=True, allow=frozenset({"semicolon"})
    )
    assert len(path.readings) == 2
