"""What a peer may cost us: every limit of this transport, with its reason.

Sizes are bytes, times are seconds. Work is counted in microseconds, as a slow core takes them:
estimates, so that the same bytes cost the same everywhere.
"""

from typing import NamedTuple

from sidecar.transport.h2 import wire
from sidecar.transport.interface import MAX_MESSAGE_BYTES

MAX_STREAMS = 1024  # at once on a connection; Envoy opens another connection past it
# Until the peer acknowledged our SETTINGS it cannot know MAX_STREAMS, and Envoy's first burst may
# be as large as its circuit breaker (max_requests, 10,000 in our bootstraps) lets it be.
MAX_EARLY_STREAMS = 10_000
# Envoy has one a worker thread; below the usual limit of 1024 descriptors. When all are taken, the
# connection without a request for the longest time is closed for the new one.
MAX_CONNECTIONS = 256

MAX_FRAME = 16_384  # RFC 9113 4.2: the smallest that may be announced, and all that is useful here

# Envoy takes up to 60 KiB of headers from its client, and tracing copies some of them into the
# Check's own. They must never be the end of a connection that others' Checks share.
MAX_HEADER_BLOCK = 80 * 1024  # as sent; also as decoded, each field counted as RFC 7541 4.1 does
# Frames that a block may come in. Peers cut a block where a frame is full: five for the largest.
MAX_PIECES = 256
MAX_PATH = 256  # of a request: four times our longest method. A longer one is no method of anyone

MAX_MESSAGE = MAX_MESSAGE_BYTES + 5  # and gRPC's prefix

# What is held for the peers of an address: requests, messages in part or that wait for an answer,
# answers that wait for a window, input that waits for its turn. Past it new streams are refused,
# which Envoy tries again elsewhere or later, and a message in part is read, dropped and answered
# like one that is too large. Envoy's Checks are answered as they are read and hold nothing.
MAX_HELD = 32 * 1024 * 1024
# One connection may hold less: a thousand Checks that wait for a key are 10 MiB.
MAX_CONNECTION_HELD = 16 * 1024 * 1024
# This much a connection may hold whatever the others do: else one peer could have it all.
CONNECTION_SHARE = 128 * 1024
STREAM_BYTES = 1024  # that a stream and its head take, by measurement 0.7 KiB
WAITING_BYTES = 8 * 1024  # that a task takes which makes an answer, by measurement 5 to 7 KiB

# What a peer may send before we have read it. Credit is returned as bytes are read, whatever they
# are, so one window is enough: the connection's. A stream's is as large as 6.9.1 lets it be.
STREAM_WINDOW = 2**31 - 1
CONNECTION_WINDOW = 4 * 1024 * 1024

# Header blocks that are remembered. Envoy's after the first few are all alike; with tracing each
# one differs and the memo is of no use, so it must not cost much either.
MEMO_ENTRIES = 64
MEMO_BLOCK = 1024

# Frames that are legal and ask for nothing (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA,
# resets of what was no request yet) are counted, and so are bodies in crumbs and header blocks that
# take long. A request pays for some: gRPC clients send PING and WINDOW_UPDATE with their DATA; so
# does time: Envoy's keepalive pings an idle connection.
MAX_CHATTER = 1000
CHATTER_PER_REQUEST = 8
CHATTER_PER_SECOND = 50
CHATTER_PER_FAULT = 10  # a stream that we are made to reset (CVE-2025-8671): no request pays for it
CRUMB = 256  # bytes: DATA that is shorter and not the last. Envoy's frames are full, but the last
# Work on a header block that counts as one: a request pays for 60 KiB of Huffman text.
WORK_PER_CHATTER = 1024
REMEMBERED_RESETS = 1000  # ours: about as many streams as may be in flight

# Work on one connection before others have their turn, by the clock. A hundred repeated Checks are
# less; a peer that sends faster than it is served waits, and nobody else.
TURN = 0.002
# What is read before the clock is looked at. A frame is 1, a request 15 (it is to be answered), of
# a header block a field or 32 bytes are 1, of Huffman text 8 bytes are 1.
SLICE = 1000
REQUEST_WORK, FIELD_BYTES, HUFFMAN_BYTES = 15, 32, 8
# A busy Envoy sends many Checks in one read. While it goes on with the first answers, the next are
# made: more in one write and one waits for the other, fewer and the writing costs too much.
ANSWERS_A_WRITE = 8
# Answers for a peer that opens no window: past it, new streams are refused. Envoy's windows are
# larger than all the answers that it waits for.
MAX_BLOCKED = 100

# TLS handshakes at once: asyncio has 256 KiB of buffers for each, and one takes milliseconds.
MAX_HANDSHAKES = 32
HANDSHAKE_TIMEOUT = 10.0  # TLS; then the preface, SETTINGS and the acknowledgement of ours
FRAME_TIMEOUT = 10.0  # a frame or header block that was begun
REQUEST_TIMEOUT = 60.0  # a request from its HEADERS to its END_STREAM, 16 MiB included
SEND_TIMEOUT = 60.0  # an answer that waits for the peer to read or to open its windows
CLOSE_TIMEOUT = 5.0  # between our last word and the peer's closing the connection
IDLE_TIMEOUT = 75 * 60.0  # without a request; above Envoy's hour, so that Envoy closes first
TICK = 1.0  # how exactly these times are kept

DRAIN_NOTICE = 0.2  # between the two GOAWAYs: requests already on their way arrive meanwhile


class Limits(NamedTuple):
    """What differs between addresses: what the peers of one may have."""

    connections: int
    streams: int  # at once on a connection
    early_streams: int  # before it has acknowledged our SETTINGS
    header_block: int
    message: int
    window: int  # of a connection
    chatter: int
    turn: float
    in_turn: bool  # whether all input waits for its turn, so that many peers are no more than one
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
    chatter=MAX_CHATTER,
    turn=TURN,
    in_turn=False,  # a Check is answered at once
    held=MAX_HELD,
    connection_held=MAX_CONNECTION_HELD,
    share=CONNECTION_SHARE,
    idle=IDLE_TIMEOUT,
)

# Where only health is served, anyone in the cluster may call: the kubelet with a connection a
# probe, load balancers and people with one each. They send some 100 bytes and get two.
PROBES = Limits(
    connections=32,
    streams=16,  # a client has a Watch and a Check or two
    early_streams=16,
    header_block=4 * 1024,
    message=MAX_FRAME,  # the name of a service: one frame has more room than that takes
    window=wire.DEFAULT_WINDOW,
    chatter=200,
    turn=0.0005,
    in_turn=True,
    held=4 * 1024 * 1024,  # of which 32 connections with 16 Watches each would need as much
    connection_held=160 * 1024,
    share=32 * 1024,
    idle=10.0,  # a probe is over in milliseconds
)
