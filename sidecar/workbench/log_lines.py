"""The lines of a log file, without what container runtimes, kubectl and gzip put around them."""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from typing import IO, Any, cast

MAX_LINE = 256 * 1024  # bytes; ours stay under 8 KiB, and an access log's rarely reach 64 KiB
MAX_PREFIX = 512  # bytes before the JSON; a pod's name has 253 characters, a container's 63
MAX_STREAMS = 64  # unfinished lines at a time; a file of a container has stdout and stderr
DOCKER = b'{"log":"'

_GZIP = b"\x1f\x8b"
# Kubernetes, "CRI logging": time, stream, tags (P: the line continues in the next entry; F: its
# end), text.
_CRI = re.compile(rb"\S{20,40} (stdout|stderr) ([PF])(?::\S*)? ")
_UNREADABLE = "the compressed data is damaged or incomplete"


def lines_of(log: IO[bytes]) -> Iterator[bytes]:
    """Yield a log's lines, from their first ``{`` on if there is one after at most MAX_PREFIX.

    What a runtime wrote in several entries is one line. A line longer than MAX_LINE comes in
    pieces, which ``read_line`` rejects. Raises OSError.
    """
    unfinished: dict[bytes, bytes] = {}
    for line in _raw(log):
        if line[:1] == b"{":
            if not line.startswith(DOCKER):
                yield line
                continue
            stream, text, ends = _docker(line)
        elif found := _CRI.match(line):
            stream, text, ends = found[1], line[found.end() :], found[2] == b"F"
            if not ends:
                text = text.removesuffix(b"\n")
        else:
            stream, text, ends = b"", line, True
        if stream:
            text = unfinished.pop(stream, b"") + text
            if not ends and len(text) <= MAX_LINE and len(unfinished) < MAX_STREAMS:
                unfinished[stream] = text
                continue
        start = text.find(b"{", 0, MAX_PREFIX)
        yield text[start:] if start > 0 else text
    yield from unfinished.values()


def _docker(line: bytes) -> tuple[bytes, bytes, bool]:
    """Return stream, text and whether the text's line ends, of an entry of Docker's json-file."""
    try:
        entry: Any = json.loads(line)
        text, stream = entry["log"], str(entry.get("stream"))
        return stream.encode(), text.encode("utf-8", "replace"), text.endswith("\n")
    except (ValueError, RecursionError, AttributeError):
        return b"", line, True


def _raw(log: IO[bytes]) -> Iterator[bytes]:
    reader = io.BufferedReader(cast("io.RawIOBase", log))
    source: IO[bytes] = reader
    if reader.peek(2)[:2] == _GZIP:
        source = cast("IO[bytes]", gzip.GzipFile(fileobj=reader))
    try:
        yield from iter(lambda: source.readline(MAX_LINE + 1), b"")
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise OSError(0, _UNREADABLE) from None
    finally:
        reader.detach()  # it would close the log
