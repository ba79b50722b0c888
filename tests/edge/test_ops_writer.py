"""Lines to a descriptor whose reader may be slow, blocked or gone."""

import contextlib
import os
import threading
from collections.abc import Iterator

import pytest

from sidecar.ops.writer import LineWriter


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """Return a pipe's ends: to read, to write; the reading end may be closed before."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        for end in (reading, writing):
            with contextlib.suppress(OSError):
                os.close(end)


def fill(writing: int) -> int:
    """Fill the pipe so that the next write blocks; return how many bytes that took."""
    os.set_blocking(writing, False)
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return filled


def read_exactly(reading: int, size: int) -> bytes:
    """Read ``size`` bytes."""
    data = b""
    while len(data) < size:
        data += os.read(reading, size - len(data))
    return data


def test_lines_arrive_in_order_and_none_is_left_after_close() -> None:
    with pipe() as (reading, writing):
        writer = LineWriter(writing)
        lines = [f"{number}\n".encode() for number in range(5_000)]
        for line in lines:
            assert writer.put(line)
        assert writer.close(10)
        expected = b"".join(lines)
        assert read_exactly(reading, len(expected)) == expected
        assert writer.dropped == 0


def test_a_writer_that_had_nothing_to_write_starts_no_thread() -> None:
    before = threading.active_count()
    with pipe() as (_, writing):
        writer = LineWriter(writing)
        assert threading.active_count() == before
        assert writer.close(0)


def test_a_reader_that_does_not_read_costs_lines_and_no_waiting() -> None:
    with pipe() as (reading, writing):
        filled = fill(writing)
        writer = LineWriter(writing, max_pending=10_000)
        line = b"y" * 99 + b"\n"
        taken = sum(writer.put(line) for _ in range(1_000))
        assert 0 < taken <= 100
        assert writer.dropped == 1_000 - taken
        assert not writer.close(0.05)
        assert read_exactly(reading, filled) == b"x" * filled
        assert read_exactly(reading, taken * 100) == line * taken
        assert writer.close(10)


def test_lines_that_come_at_once_are_counted_one_by_one() -> None:
    with pipe() as (_, writing):
        writer = LineWriter(writing, max_pending=10)
        assert not writer.put(b"one\ntwo\nthree\n", 3)
        assert writer.dropped == 3


def test_what_comes_after_close_is_dropped() -> None:
    with pipe() as (_, writing):
        writer = LineWriter(writing)
        assert writer.put(b"one\n")
        assert writer.close(10)
        assert writer.close(10)
        assert not writer.put(b"two\n")
        assert writer.dropped == 1


def test_a_reader_that_is_gone_costs_lines_and_raises_nothing() -> None:
    with pipe() as (reading, writing):
        os.close(reading)
        writer = LineWriter(writing)
        for _ in range(10):
            writer.put(b"one\n")
        assert writer.close(10)
        assert writer.dropped == 10


def test_a_descriptor_that_is_closed_costs_lines_and_raises_nothing() -> None:
    with pipe() as (_, writing):
        os.close(writing)
        writer = LineWriter(writing)
        writer.put(b"one\n")
        assert writer.close(10)
        assert writer.dropped == 1


def test_a_descriptor_that_another_process_made_non_blocking_loses_nothing() -> None:
    with pipe() as (reading, writing):
        filled = fill(writing)
        os.set_blocking(writing, False)
        writer = LineWriter(writing)
        writer.put(b"one\n")
        writer.put(b"two\n")
        assert not writer.close(0.05)
        assert read_exactly(reading, filled) == b"x" * filled
        assert read_exactly(reading, 8) == b"one\ntwo\n"
        assert writer.close(10)
        assert writer.dropped == 0


def test_a_full_disk_costs_lines_and_the_next_ones_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[bytes] = []
    failed = threading.Event()

    def write(_fd: int, data: bytes) -> int:
        if failed.is_set():
            written.append(bytes(data))
            return len(data)
        if not written:
            written.append(bytes(data)[:3])
            return 3
        failed.set()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    writer = LineWriter(1)
    writer.put(b"torn line\n")
    assert failed.wait(10)
    writer.put(b"next\n")
    assert writer.close(10)
    assert written == [b"tor", b"\nnext\n"]
    assert writer.dropped == 1
