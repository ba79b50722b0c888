"""What a peer may cost the server: every limit of this transport, with its reason.

Sizes are bytes, times are seconds. Work is counted in microseconds of a slow core. They are
estimates, so that the same bytes cost the same on every machine.
"""

from typing import NamedTuple

from sidecar.transport.h2 import wire
from sidecar.transport.interface import MAX_MESSAGE_BYTES

MAX_STREAMS = 1024  # concurrent, per connection; Envoy opens another connection beyond it
# Until the peer acknowledges our SETTINGS it cannot know MAX_STREAMS, and Envoy's first burst may
# be as large as its circuit breaker allows (max_requests, 10,000 in our bootstraps).
MAX_EARLY_STREAMS = 10_000
# Envoy has one per worker thread; this stays below the usual limit of 1024 descriptors. When all
# are in use, a new connection replaces the one that has had no request for the longest time.
MAX_CONNECTIONS = 256

MAX_FRAME = 16_384  # RFC 9113 4.2: the smallest value allowed, and enough here

# Envoy accepts up to 60 KiB of headers from its client, and tracing copies some of them into the
# Check's own headers. They must not end a connection that the Checks of other clients share.
MAX_HEADER_BLOCK = 80 * 1024  # as sent; also as decoded, each field counted as RFC 7541 4.1 does
# Frames of one header block. Peers split a block where a frame is full: five for the largest.
MAX_PIECES = 256
MAX_PATH = 256  # of a request: four times our longest method name; a longer one is unknown

MAX_MESSAGE = MAX_MESSAGE_BYTES + 5  # with gRPC's prefix

# Bytes held for all peers of an address: requests, incomplete or unanswered messages, answers that
# wait for a window, input that waits for its turn. Beyond it new streams are refused, which Envoy
# retries elsewhere or later, and an incomplete message is read, dropped and answered like one that
# is too large. Envoy's Checks are answered as they are read and hold nothing.
MAX_HELD = 32 * 1024 * 1024
# One connection may hold less: a thousand Checks that wait for a key are 10 MiB.
MAX_CONNECTION_HELD = 16 * 1024 * 1024
# A connection may hold this much whatever the others hold, so that one peer cannot take it all.
CONNECTION_SHARE = 128 * 1024
STREAM_BYTES = 1024  # of a stream and its head; measured: 0.7 KiB
WAITING_BYTES = 8 * 1024  # of a task that makes an answer; measured: 5 to 7 KiB

# What a peer may send before we read it. Credit is returned as bytes are read, whatever they are,
# so one window is enough: the connection's. A stream's window has the largest size of 6.9.1.
STREAM_WINDOW = 2**31 - 1
CONNECTION_WINDOW = 4 * 1024 * 1024

# Decoded header blocks that are remembered. After the first few, all of Envoy's are equal. With
# tracing each one differs and the memo does not help, so it must be cheap too.
MEMO_ENTRIES = 64
MEMO_BLOCK = 1024

# Frames that are legal and make no request (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA,
# resets of incomplete requests) are counted, and so are small DATA frames and header blocks that
# take long to decode. A complete request pays for some: gRPC clients send PING and WINDOW_UPDATE
# with their DATA. So does time: Envoy's keepalive pings an idle connection.
MAX_CONTROL_FRAMES = 1000
CONTROL_FRAMES_PER_REQUEST = 8
CONTROL_FRAMES_PER_SECOND = 50
CONTROL_FRAMES_PER_FAULT = 10  # a stream that the peer makes us reset (CVE-2025-8671)
SMALL_DATA = 256  # bytes: DATA that is shorter and not the last. Envoy fills all but the last
# Decoding work that counts as one control frame: a request pays for 60 KiB of Huffman text.
WORK_PER_CONTROL_FRAME = 1024
REMEMBERED_RESETS = 1000  # sent by us: about as many streams as may be in flight

# Work on one connection before the next has its turn, measured by the clock. A hundred repeated
# Checks take less. A peer that sends faster than we serve it waits, and no other peer does.
TURN = 0.002
# Work between two looks at the clock. A frame counts as 1, a request as 15 (it has to be answered),
# each field or 32 bytes of a header block as 1, 8 bytes of Huffman text as 1.
SLICE = 1000
REQUEST_WORK, FIELD_BYTES, HUFFMAN_BYTES = 15, 32, 8
# A busy Envoy sends many Checks in one read. It continues with the first answers while we make the
# next ones. More answers per write make one side wait; fewer make writing expensive.
ANSWERS_A_WRITE = 8
# Answers for a peer that opens no window; beyond it, new streams are refused. Envoy's windows are
# larger than all the answers that it waits for.
MAX_BLOCKED = 100

# Concurrent TLS handshakes: asyncio has 256 KiB of buffers for each, and one takes milliseconds.
MAX_HANDSHAKES = 32
HANDSHAKE_TIMEOUT = 10.0  # TLS; then the preface, SETTINGS and the acknowledgement of ours
FRAME_TIMEOUT = 10.0  # to complete a frame or a header block
REQUEST_TIMEOUT = 60.0  # a request from its HEADERS to its END_STREAM, 16 MiB included
SEND_TIMEOUT = 60.0  # an answer that waits for the peer to read or to open its windows
CLOSE_TIMEOUT = 5.0  # between our last bytes and the peer's close
IDLE_TIMEOUT = 75 * 60.0  # without a request; above Envoy's hour, so that Envoy closes first
TICK = 1.0  # the precision of these timeouts

DRAIN_NOTICE = 0.2  # between the two GOAWAYs: requests already on their way arrive meanwhile


class Limits(NamedTuple):
    """The limits that differ between addresses."""

    connections: int
    streams: int  # concurrent, per connection
    early_streams: int  # before the peer acknowledges our SETTINGS
    header_block: int
    message: int
    window: int  # of a connection
    control_frames: int
    turn: float
    in_turn: bool  # whether all input waits for its turn, so that many peers get no more than one
    held: int  # for all connections
    connection_held: int
    share: int  # of a connection, whatever the others hold
    idle: float


CHECKS = Limits(
    connections=MAX_CONNECTIONS,
    streams=MAX_STREAMS,
    early_streams=MAX_EARLY_STREAMS,
    header_block=MAX_HEADER_BLOCK,
    message=MAX_MESSAGE,
    window=CONNECTION_WINDOW,
    control_frames=MAX_CONTROL_FRAMES,
    turn=TURN,
    in_turn=False,  # a Check is answered as soon as it is read
    held=MAX_HELD,
    connection_held=MAX_CONNECTION_HELD,
    share=CONNECTION_SHARE,
    idle=IDLE_TIMEOUT,
)

# Where only health is served, anyone in the cluster may connect: the kubelet with one connection
# per probe, load balancers and people with one each. They send some 100 bytes and receive two.
PROBES = Limits(
    connections=32,
    streams=16,  # a client has a Watch and a Check or two
    early_streams=16,
    header_block=4 * 1024,
    message=MAX_FRAME,  # the name of a service fits into one frame
    window=wire.DEFAULT_WINDOW,
    control_frames=200,
    turn=0.0005,
    in_turn=True,
    held=4 * 1024 * 1024,  # 32 connections with 16 Watches each need that much
    connection_held=160 * 1024,
    share=32 * 1024,
    idle=10.0,  # a probe takes milliseconds
)
