"""Writes lines to a file descriptor in a thread: a full pipe does not block the event loop."""

import os
import select
import threading
from queue import Empty, SimpleQueue

MAX_PENDING_BYTES = 2 * 1024 * 1024  # about 5,000 lines that the reader has not read
_BATCH_BYTES = 64 * 1024  # the capacity of a pipe
# The wait for more lines after a batch, unless the next one is full: waking the thread for each
# line costs the event loop more than the writing.
_GATHER_SECONDS = 0.01


class LineWriter:
    """Writes lines to ``fd``; drops and counts them while the reader is too slow.

    Lines are bytes that end in a newline. ``put`` takes one or several; only one thread calls it.
    """

    def __init__(self, fd: int, *, max_pending: int = MAX_PENDING_BYTES) -> None:
        self._fd = fd
        self._max_pending = max_pending
        self._queue: SimpleQueue[tuple[bytes, int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        # Each counter is written by one thread only: the caller's or the writer's.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._refused_lines = 0
        self._failed_lines = 0
        self._closed = threading.Event()
        self._torn = False

    @property
    def dropped(self) -> int:
        """The number of dropped lines: too many were pending, or a write failed."""
        return self._refused_lines + self._failed_lines

    def put(self, lines: bytes, count: int = 1) -> bool:
        """Take ``count`` lines; return False if they are dropped. Never waits."""
        if (
            self._closed.is_set()
            or self._put_bytes - self._taken_bytes + len(lines) > self._max_pending
        ):
            self._refused_lines += count
            return False
        self._put_bytes += len(lines)
        self._queue.put((lines, count))
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"lines-{self._fd}", daemon=True)
            self._thread.start()
        return True

    def close(self, timeout: float) -> bool:
        """Write pending lines, for at most ``timeout`` seconds; return False if some remain."""
        self._closed.set()
        if self._thread is None:
            return True
        self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            taken = self._queue.get()
            if taken is None:
                return
            lines, count = taken
            chunks, size = [lines], len(lines)
            ending = False
            while size < _BATCH_BYTES:
                try:
                    taken = self._queue.get_nowait()
                except Empty:
                    break
                if taken is None:
                    ending = True
                    break
                chunks.append(taken[0])
                size += len(taken[0])
                count += taken[1]
            if not self._write(b"".join(chunks)):
                self._failed_lines += count
            self._taken_bytes += size
            if ending:
                return
            if self._put_bytes - self._taken_bytes < _BATCH_BYTES:
                self._closed.wait(_GATHER_SECONDS)

    def _write(self, data: bytes) -> bool:
        rest = memoryview(b"\n" + data if self._torn else data)
        self._torn = False
        while rest:
            try:
                rest = rest[os.write(self._fd, rest) :]
            except BlockingIOError:  # another process made the shared pipe non-blocking
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except OSError:  # no reader, or a full disk: later lines may succeed
                self._torn = len(rest) < len(data)
                return False
        return True
