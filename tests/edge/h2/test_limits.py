"""Limits: each flood ends its own connection; Envoy's usual traffic is not a flood."""

import pytest

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.wire import ErrorCode
from tests.edge.h2.peer import (
    ACKNOWLEDGED,
    GREETING,
    Ours,
    block,
    data,
    frames,
    goaway_of,
    headers,
    prefixed,
    request,
    resets_of,
)

CALM = ErrorCode.ENHANCE_YOUR_CALM
CANCEL = ErrorCode.CANCEL


def numbers(count: int, start: int = 1) -> range:
    """Return a client's first ``count`` stream IDs."""
    return range(start, start + 2 * count, 2)


FLOODS = {
    "PING": wire.frame(wire.PING, 0, 0, bytes(8)),
    "PING acknowledgements": wire.frame(wire.PING, wire.ACK, 0, bytes(8)),
    "SETTINGS": wire.settings({}),
    "SETTINGS acknowledgements": wire.frame(wire.SETTINGS, wire.ACK, 0),
    "WINDOW_UPDATE": wire.window_update(0, 1),
    "WINDOW_UPDATE of closed streams": wire.window_update(1, 1),
    "PRIORITY": wire.frame(wire.PRIORITY, 0, 1, bytes(5)),
    "GOAWAY": wire.frame(wire.GOAWAY, 0, 0, bytes(8)),
    "unknown frames": wire.frame(0xEE, 0, 0),
    "empty DATA": data(3, b"", end=False),
    "small DATA": data(3, b"x", end=False),
    "DATA on a closed stream": data(1, b"x"),
    "RST_STREAM of closed streams": wire.rst_stream(1, CANCEL),
}


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_of_control_frames_ends_the_connection(flood: str) -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(request(1))
    ours.answer_all()
    ours.feed(headers(3))
    ours.taken()
    for _ in range(limits.MAX_CONTROL_FRAMES - 10):
        ours.feed(FLOODS[flood])
    assert not ours.connection.done
    ours.feed(FLOODS[flood] * 20)
    assert goaway_of(ours.taken()).error_code == CALM


def test_requests_that_are_reset_before_they_are_complete_end_the_connection() -> None:
    ours = Ours(ACKNOWLEDGED)
    for number in numbers(limits.MAX_CONTROL_FRAMES + 1):
        ours.feed(headers(number) + wire.rst_stream(number, CANCEL))
    goaway = goaway_of(ours.taken())
    assert (goaway.error_code, goaway.additional_data) == (CALM, b"too many control frames")
    assert ours.requests == []


def test_too_many_stream_errors_end_the_connection() -> None:
    ours = Ours(ACKNOWLEDGED)
    for number in numbers(2 * limits.MAX_CONTROL_FRAMES):
        ours.feed(request(number) + wire.window_update(number, 0))
        if ours.connection.done:
            break
    assert goaway_of(ours.taken()).error_code == CALM


@pytest.mark.parametrize("answered", [True, False])
def test_canceled_calls_never_end_the_connection(answered: bool) -> None:
    ours = Ours(ACKNOWLEDGED)
    batch = numbers(3 * limits.MAX_CONTROL_FRAMES)
    for number in batch:
        ours.feed(request(number))
        if answered:
            ours.answer_all()
        else:
            ours.feed(wire.rst_stream(number, CANCEL))
    if answered:
        ours.feed(b"".join(wire.rst_stream(number, CANCEL) for number in batch))
    assert ours.cancelled == ([] if answered else list(batch))
    assert not ours.connection.done
    assert ours.connection.streams == {}


def test_requests_pay_for_the_pings_and_window_updates_of_grpc_clients() -> None:
    ours = Ours(ACKNOWLEDGED)
    control_frames = wire.frame(wire.PING, 0, 0, bytes(8)) + wire.window_update(0, 10) * 3
    for number in numbers(5 * limits.MAX_CONTROL_FRAMES):
        ours.feed(request(number) + control_frames)
        ours.answer_all()
    assert not ours.connection.done


def test_keepalive_pings_never_end_the_connection() -> None:
    ours = Ours(ACKNOWLEDGED)
    for second in range(100):
        ours.feed(wire.frame(wire.PING, 0, 0, bytes(8)) * limits.CONTROL_FRAMES_PER_SECOND)
        ours.tick(float(second))
    assert not ours.connection.done


@pytest.mark.parametrize("size", [0, 1000])
def test_an_endless_header_block_ends_the_connection(size: int) -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(wire.frame(wire.HEADERS, 0, 1, block()))
    piece = wire.frame(wire.CONTINUATION, 0, 1, bytes(size))
    for _ in range(max(limits.MAX_PIECES, limits.MAX_HEADER_BLOCK // 1000) + 1):
        ours.feed(piece)
    assert goaway_of(ours.taken()).error_code == CALM


def test_a_header_block_that_decodes_to_a_too_large_list_ends_the_connection() -> None:
    ours = Ours(ACKNOWLEDGED)
    bomb = b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 100
    ours.feed(headers(1, payload=bomb))
    assert goaway_of(ours.taken()).error_code == CALM


def test_headers_as_large_as_envoy_accepts_are_served() -> None:
    ours = Ours(ACKNOWLEDGED)
    large = block(("tracestate", "t" * 60 * 1024))
    ours.feed(wire.frame(wire.HEADERS, 0, 1, large[:16_000]))
    for start in range(16_000, len(large), 16_000):
        last = wire.END_HEADERS if start + 16_000 >= len(large) else 0
        ours.feed(wire.frame(wire.CONTINUATION, last, 1, large[start : start + 16_000]))
    ours.feed(data(1, prefixed(b"")))
    assert [stream.id for stream in ours.requests] == [1]


def test_a_burst_before_our_settings_are_read_is_served_completely() -> None:
    ours = Ours(GREETING)
    burst = numbers(3 * limits.MAX_STREAMS)
    for number in burst:
        ours.feed(request(number))
    assert [stream.id for stream in ours.requests] == list(burst)
    ours.answer_all()
    assert resets_of(ours.taken()) == {}


def test_a_burst_before_our_settings_are_read_is_bounded() -> None:
    ours = Ours(GREETING)
    ours.feed(b"".join(headers(number) for number in numbers(limits.MAX_EARLY_STREAMS)))
    assert resets_of(ours.taken()) == {}
    one_more = 2 * limits.MAX_EARLY_STREAMS + 1
    ours.feed(headers(one_more))
    assert resets_of(ours.taken()) == {one_more: ErrorCode.REFUSED_STREAM}


def test_a_stream_over_the_acknowledged_limit_is_refused_and_later_ones_are_served() -> None:
    ours = Ours(ACKNOWLEDGED)
    for number in numbers(limits.MAX_STREAMS):
        ours.feed(request(number))
    refused = 2 * limits.MAX_STREAMS + 1
    ours.feed(request(refused))
    assert resets_of(ours.taken()) == {refused: ErrorCode.REFUSED_STREAM}
    ours.answer(ours.requests[0])
    ours.feed(request(refused + 2))
    assert ours.requests[-1].id == refused + 2


def test_a_peer_that_opens_no_window_gets_a_bounded_number_of_answers() -> None:
    ours = Ours(ACKNOWLEDGED + wire.settings({wire.INITIAL_WINDOW_SIZE: 0}))
    for number in numbers(limits.MAX_BLOCKED + 1):
        ours.feed(request(number))
        ours.answer_all()
    assert resets_of(ours.taken()) == {2 * limits.MAX_BLOCKED + 1: ErrorCode.REFUSED_STREAM}
    ours.feed(wire.settings({wire.INITIAL_WINDOW_SIZE: 5}) + request(999))
    assert [stream.id for stream in ours.requests] == [999]


def test_all_incomplete_requests_together_hold_at_most_the_budget() -> None:
    ours = Ours(ACKNOWLEDGED)
    streams = list(numbers(20))
    for number in streams:
        ours.feed(headers(number))
    for _ in range(limits.MAX_MESSAGE // limits.MAX_FRAME - 1):
        for number in streams:
            ours.feed(data(number, bytes(limits.MAX_FRAME), end=False))
        assert ours.budget.held <= limits.MAX_CONNECTION_HELD + limits.MAX_FRAME
    for number in streams:
        ours.feed(data(number, b""))
    assert any(stream.body is None for stream in ours.requests)
    assert not all(stream.body is None for stream in ours.requests)
    for stream in ours.requests:
        ours.connection.sender.answer(stream, b"")
    ours.connection.settle()
    assert ours.budget.held == 0


def test_a_lost_connection_releases_its_charged_bytes() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(headers(1) + data(1, bytes(1000), end=False))
    assert ours.budget.held == 1000
    ours.connection.lost()
    assert ours.budget.held == 0


def test_windows_are_reopened_as_data_is_read() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(headers(1))
    given = {0: 0, 1: 0}
    sent = 0
    while sent < 3 * limits.CONNECTION_WINDOW:
        ours.feed(data(1, bytes(limits.MAX_FRAME), end=False))
        sent += limits.MAX_FRAME
        for frame in frames(ours.taken()):
            given[frame.stream_id] += frame.window_increment  # type: ignore[attr-defined]  # -- only WINDOW_UPDATE has one
        assert sent - given[1] < limits.STREAM_WINDOW
        assert sent - given[0] < limits.CONNECTION_WINDOW


# ---- timeouts: `now` is 0 at the start ----


def test_settings_that_are_never_acknowledged_end_the_connection() -> None:
    ours = Ours(GREETING)
    ours.tick(limits.HANDSHAKE_TIMEOUT)
    assert not ours.connection.done
    ours.tick(limits.HANDSHAKE_TIMEOUT + 1)
    assert goaway_of(ours.taken()).error_code == ErrorCode.SETTINGS_TIMEOUT


@pytest.mark.parametrize("octets", [b"", wire.PREFACE[:5], wire.PREFACE])
def test_an_incomplete_preface_or_settings_ends_the_connection(octets: bytes) -> None:
    ours = Ours()
    ours.feed(octets)
    ours.tick(limits.HANDSHAKE_TIMEOUT + 1)
    assert ours.connection.done


@pytest.mark.parametrize(
    "octets",
    [request(1)[:5], request(1)[:-1], wire.frame(wire.HEADERS, 0, 1, b"")],
    ids=["within a frame header", "within DATA", "within a header block"],
)
def test_a_frame_or_block_that_does_not_end_in_time_ends_the_connection(octets: bytes) -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(octets, now=1000.0)
    ours.tick(1000.0 + limits.FRAME_TIMEOUT)
    assert not ours.connection.done
    ours.tick(1001.0 + limits.FRAME_TIMEOUT)
    assert goaway_of(ours.taken()).error_code == CALM


def test_the_timeout_of_a_block_starts_at_its_own_beginning() -> None:
    """It does not start at a frame that ended in the same read."""
    ours = Ours(ACKNOWLEDGED + headers(1))
    body = data(1, bytes(100), end=False)
    ours.feed(body[:50], now=1000.0)
    begun = 999.0 + limits.FRAME_TIMEOUT
    ours.feed(body[50:] + wire.frame(wire.HEADERS, 0, 3, b""), now=begun)
    ours.tick(begun + limits.FRAME_TIMEOUT)
    assert not ours.connection.done
    ours.tick(begun + limits.FRAME_TIMEOUT + 1)
    assert goaway_of(ours.taken()).error_code == CALM


def test_a_block_that_was_read_is_not_kept() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(wire.frame(wire.HEADERS, wire.END_STREAM, 1, block()))
    ours.feed(wire.frame(wire.CONTINUATION, wire.END_HEADERS, 1))
    assert ours.connection._block == b""


def test_the_last_value_of_a_repeated_setting_counts() -> None:
    """A frame with thousands of values costs as much as a frame with one."""
    window = wire.SETTING.pack(wire.INITIAL_WINDOW_SIZE, 0) * 2000
    window += wire.SETTING.pack(wire.INITIAL_WINDOW_SIZE, 100)
    ours = Ours(ACKNOWLEDGED + wire.frame(wire.SETTINGS, 0, 0, window) + request(1, b"hello"))
    ours.answer_all()
    assert not ours.connection.streams


def test_requests_that_cross_our_last_goaway_are_not_counted_as_a_flood() -> None:
    """Running calls are answered, however many requests a busy peer sends meanwhile."""
    ours = Ours(ACKNOWLEDGED + request(1, b"hello"))
    ours.connection.end()
    for number in numbers(2 * limits.MAX_CONTROL_FRAMES, start=3):
        ours.feed(request(number))
    done = [ours.connection.done]
    ours.taken()
    ours.answer_all()
    done.append(ours.connection.done)
    assert done == [False, True]
    assert resets_of(ours.taken()) == {}


def test_a_request_that_does_not_end_in_time_is_reset_and_others_are_not() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(headers(1) + data(1, bytes(100), end=False) + request(3), now=100.0)
    late = 101.0 + limits.REQUEST_TIMEOUT
    ours.feed(headers(5), now=late)
    ours.tick(late)
    assert resets_of(ours.taken()) == {1: CANCEL}
    assert sorted(ours.connection.streams) == [3, 5]
    ours.connection.settle()
    assert ours.budget.held == 2 * limits.STREAM_BYTES


def test_pings_do_not_keep_an_idle_connection_open() -> None:
    ours = Ours(ACKNOWLEDGED)
    for minute in range(0, int(limits.IDLE_TIMEOUT) + 120, 60):
        ours.feed(wire.frame(wire.PING, 0, 0, bytes(8)), now=float(minute))
        ours.tick(float(minute))
    assert goaway_of(ours.taken()).error_code == ErrorCode.NO_ERROR


def test_a_window_update_does_not_extend_a_requests_timeout() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(headers(1) + wire.window_update(1, 10), now=100.0)
    ours.tick(101.0 + limits.REQUEST_TIMEOUT)
    assert resets_of(ours.taken()) == {1: CANCEL}


def test_an_answer_without_a_window_in_time_is_reset() -> None:
    ours = Ours(ACKNOWLEDGED + wire.settings({wire.INITIAL_WINDOW_SIZE: 3}))
    ours.feed(request(1, b"hello"), now=500.0)
    ours.answer_all()
    ours.tick(500.0 + limits.SEND_TIMEOUT)
    assert resets_of(ours.taken()) == {}
    ours.tick(501.0 + limits.SEND_TIMEOUT)
    assert resets_of(ours.taken()) == {1: CANCEL}
    assert ours.cancelled == [1]


def test_progress_restarts_the_timeout_of_an_answer() -> None:
    ours = Ours(ACKNOWLEDGED + wire.settings({wire.INITIAL_WINDOW_SIZE: 0}))
    ours.feed(request(1, bytes(20)))
    ours.answer_all()
    for minute in range(25):
        ours.tick(minute * limits.SEND_TIMEOUT)
        ours.feed(wire.window_update(1, 1), now=minute * limits.SEND_TIMEOUT)
    assert resets_of(ours.taken()) == {}
    assert ours.connection.streams == {}


def test_an_idle_connection_is_closed_with_goaway_after_envoys_hour() -> None:
    ours = Ours(ACKNOWLEDGED)
    ours.feed(request(1), now=10.0)
    ours.tick(10.0 + 2 * limits.IDLE_TIMEOUT)
    assert ours.connection.streams, "a request runs"
    ours.answer_all()
    ours.tick(11.0 + 2 * limits.IDLE_TIMEOUT)
    last = goaway_of(ours.taken())
    assert (last.error_code, last.last_stream_id) == (ErrorCode.NO_ERROR, 1)
    assert ours.connection.done
    assert limits.IDLE_TIMEOUT > 3600
