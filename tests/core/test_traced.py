"""What a caller sends of its trace (W3C Trace Context), valid or hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.traced import MAX_TRACESTATE, Parent, Traced

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01".encode()


def test_a_valid_parent_is_read() -> None:
    assert Traced(SAMPLED, b"a=1,b=2").parent() == Parent(TRACE, SPAN, True, "a=1,b=2")
    assert Traced(SAMPLED[:-1] + b"0").parent() == Parent(TRACE, SPAN, False, "")
    assert Traced(SAMPLED).trace_id == TRACE


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """Section 4.3: it may be longer, and other flags may be set."""
    for text in (b"cc" + SAMPLED[2:], b"cc" + SAMPLED[2:] + b"-what-comes-later"):
        assert Traced(text).parent() == Parent(TRACE, SPAN, True, "")
        assert Traced(text).may_be_sampled
    flags = Traced(SAMPLED[:-2] + b"ff").parent()
    assert flags is not None
    assert flags.sampled


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"-",
        SAMPLED[:-1],
        SAMPLED + b"0",
        SAMPLED + b"-00",
        b"ff" + SAMPLED[2:],
        SAMPLED.upper(),
        b" " + SAMPLED,
        SAMPLED + b"\n",
        SAMPLED.replace(b"-", b"_"),
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE[:-1]}g-{SPAN}-01".encode(),
        f"00-{TRACE}-{SPAN}-0g".encode(),
        SAMPLED + b"," + SAMPLED,
        b"cc" + SAMPLED[2:] + b"-" + b"x" * 10_000,
        f"00-{TRACE}-{SPAN}-01".replace("7", "\u0667").encode(),
    ],
)
def test_what_is_not_valid_is_no_parent(text: bytes) -> None:
    assert Traced(text).parent() is None
    assert Traced(text).trace_id == ""


@pytest.mark.parametrize("state", [b"a=\x00", b"a=\xff", b"a" * (MAX_TRACESTATE + 1), b"a\r\nb: c"])
def test_a_bad_state_is_left_out_and_the_parent_counts(state: bytes) -> None:
    """Section 3.3.1: the two headers are parsed apart."""
    assert Traced(SAMPLED, state).parent() == Parent(TRACE, SPAN, True, "")


@given(st.binary(max_size=80) | st.from_regex(rb"[0-9a-f]{2}(-[0-9a-f]+){3}", fullmatch=True))
def test_nothing_is_raised_and_the_first_look_misses_no_sampled_one(text: bytes) -> None:
    parent = Traced(text).parent()
    if parent is not None and parent.sampled:
        assert Traced(text).may_be_sampled
