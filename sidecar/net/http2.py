"""Framing of HTTP/2 (RFC 9113, sections 3.4, 4 and 6), for servers and clients."""

from struct import Struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # 3.4
MAX_STREAM_ID = MAX_WINDOW = 2**31 - 1  # 5.1.1, 6.9.1
DEFAULT_WINDOW = 65_535  # 6.9.2
LEAST_MAX_FRAME, MOST_MAX_FRAME = 2**14, 2**24 - 1  # 6.5.2

FRAME_HEADER = Struct(">IBI")  # 4.1: length (24 bits) and type (8), flags, stream
FRAME_HEADER_BYTES = 9
UINT32 = Struct(">I")
SETTING = Struct(">HI")  # 6.5.1

# Types, section 6. Plain integers: they are compared for every frame.
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9

# Flags.
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

# Settings, 6.5.2.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6


def frame(kind: int, flags: int, stream: int, payload: bytes | memoryview = b"") -> bytes:
    """Return a frame as it goes over the wire."""
    return FRAME_HEADER.pack(len(payload) << 8 | kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """Encode a field as a literal without indexing (RFC 7541, 6.2.2): no other block matters."""
    return b"\0" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    rest = len(text) - 0x7F
    if rest < 0:
        return bytes((len(text),))
    return bytes((0x7F, 0x80 | rest & 0x7F, 0x80 | rest >> 7 & 0x7F, rest >> 14))  # below 2 MiB
