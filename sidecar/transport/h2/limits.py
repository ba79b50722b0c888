"""What a peer may cost us: every limit of this transport, with its reason.

Sizes are bytes, times are seconds.
"""

from sidecar.transport.interface import MAX_MESSAGE_BYTES

MAX_STREAMS = 1024  # at once on a connection; Envoy opens another connection past it
# Until the peer acknowledged our SETTINGS it cannot know MAX_STREAMS, and Envoy's first burst may
# be as large as its circuit breaker (max_requests, 10,000 in our bootstraps) lets it be.
MAX_EARLY_STREAMS = 10_000
MAX_CONNECTIONS = 256  # Envoy has one a worker thread; below the usual limit of 1024 descriptors

MAX_FRAME = 16_384  # RFC 9113 4.2: the smallest that may be announced, and all that is useful here

# Envoy takes up to 60 KiB of headers from its client, and tracing copies some of them into the
# Check's own. They must never be the end of a connection that others' Checks share.
MAX_HEADER_BLOCK = 128 * 1024  # as sent; also as decoded, each field counted as RFC 7541 4.1 does

MAX_MESSAGE = MAX_MESSAGE_BYTES + 64 * 1024  # a body of 16 MiB and the attributes around it
# All messages that have arrived in part or wait for an answer, of all connections. What would pass
# it is read, dropped and answered like a message that is too large: nothing waits, memory is safe.
MAX_BUFFERED = 64 * 1024 * 1024

# What a peer may send before we have read it. Credit is returned as bytes are read, whatever they
# are, so one window is enough: the connection's. A stream's is as large as 6.9.1 lets it be.
STREAM_WINDOW = 2**31 - 1
CONNECTION_WINDOW = 4 * 1024 * 1024

# Header blocks that are remembered. Envoy's after the first few are all alike; with tracing each
# one differs and the memo is of no use, so it must not cost much either.
MEMO_ENTRIES = 64
MEMO_BLOCK = 1024

# Frames that are legal and ask for nothing (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, empty DATA,
# resets of what was no request yet) are counted. A request pays for some: gRPC clients send PING
# and WINDOW_UPDATE with their DATA; so does time: Envoy's keepalive pings an idle connection.
MAX_CHATTER = 1000
CHATTER_PER_REQUEST = 8
CHATTER_PER_SECOND = 50
CHATTER_PER_FAULT = 10  # a stream that we are made to reset (CVE-2025-8671): no request pays for it
REMEMBERED_RESETS = 1000  # ours: about as many streams as may be in flight

# Answers for a peer that does not read. What is in one read is served before the next is looked at.
MAX_READ = 64 * 1024
# A busy Envoy sends many Checks in one read. While it goes on with the first answers, the next are
# made: more in one write and one waits for the other, fewer and the writing costs too much.
ANSWERS_A_WRITE = 8
# Answers for a peer that opens no window: past it, new streams are refused. Envoy's windows are
# larger than all the answers that it waits for.
MAX_BLOCKED = 100

HANDSHAKE_TIMEOUT = 10.0  # TLS; then the preface, SETTINGS and the acknowledgement of ours
FRAME_TIMEOUT = 10.0  # a frame or header block that was begun
REQUEST_TIMEOUT = 60.0  # a request from its HEADERS to its END_STREAM, 16 MiB included
SEND_TIMEOUT = 60.0  # an answer that waits for the peer to read or to open its windows
CLOSE_TIMEOUT = 5.0  # between our last word and the peer's closing the connection
IDLE_TIMEOUT = 75 * 60.0  # no frame at all; above Envoy's hour, so that Envoy closes first
TICK = 1.0  # how exactly these times are kept

DRAIN_NOTICE = 0.2  # between the two GOAWAYs: requests already on their way arrive meanwhile
