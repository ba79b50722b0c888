"""A gRPC server with the part of HTTP/2 that unary calls and the health service's Watch need.

**Objects, from the socket inwards.** Each owns the ones that are indented below it::

    Server (server)           one address: listening sockets, timer, drain
      Handshakes (handshakes)   TLS before the first HTTP/2 byte; at most MAX_HANDSHAKES
      Turns (turns)             which connection works next, when there is more than can be done
      Budget (account)          bytes that are held for all connections
      H2Protocol (protocol)   one connection on asyncio: reads, calls the methods, writes
        Connection (connection) frames, SETTINGS, timeouts, GOAWAY. Bytes in, bytes out
          Receiver (receiving)    HEADERS and DATA become requests; opens streams
            Decoder (hpack)         header compression
          Sender (sending)        answers become frames; flow control; closes streams
          Account (account)       memory, work and control frames of this connection
          Stream (stream)         one request and its answer, shared by both halves

``Connection`` and all below it do no I/O and read no clock: the owner passes the time in.
``wire`` has the frame formats, ``rpc`` what gRPC puts into them, ``limits`` all the limits.

**A call.** ``H2Protocol.data_received`` gives the bytes to ``Connection.receive``, which returns
the complete requests. The protocol calls the method of each. A method that returns bytes is
answered by ``Sender.answer`` in the same pass; one that returns an awaitable becomes a task.
``Sender.take`` returns the frames to write. Input that takes more than a slice or a turn of work
(``limits.SLICE``, ``TURN``) waits in ``Turns``, and meanwhile the socket is not read.

**A stream** (RFC 9113 5.1). The server does not push and does not answer before the request ends,
so it needs three of the seven states::

    idle --HEADERS--> open --END_STREAM--> half-closed (remote) --our END_STREAM--> closed
                        |                    |  complete; ``cancel`` while a task works on it;
                        |                    |  in ``Sender.blocked`` while a window is full
                        +--------------------+--RST_STREAM of either side, timeout--> closed

Idle: above ``Receiver.last``. Open, half-closed: in ``Connection.streams``. Closed: neither.

**A connection**::

    preface --SETTINGS--> open --end(): GOAWAY NO_ERROR--> draining --last stream closed--> done
       |                   |                                  |
       +-------------------+--- a broken rule: GOAWAY --------+--------------------------> done

Open and draining are interrupted by a header block that CONTINUATION goes on with: until it ends
no other frame may come. Until the peer acknowledges our SETTINGS, it may open more streams
(``limits.MAX_EARLY_STREAMS``). A drain sends two GOAWAYs: ``announce_end``, then ``end`` (6.8).
``done`` means: write what ``take`` returns, then close.

**Errors.** ``H2StreamError`` becomes RST_STREAM (5.4.2), ``H2ConnectionError`` becomes GOAWAY with
the rule as debug data (5.4.1), ``RpcError`` becomes a gRPC status. No input raises anything else.

**What a peer pays for.** What a peer makes the server do is counted and limited. The columns: what,
where it is counted, what the server does at the limit.

==================== ======================================= ====================================
memory               ``Account``, ``Budget``                 refuse streams, drop a large message
work                 ``Account.work``, in microseconds       the next connection has its turn
control frames       ``Account.count``                       GOAWAY ENHANCE_YOUR_CALM
time                 ``Stream.until``, ``_check_times``      RST_STREAM CANCEL, GOAWAY
unread answers       ``H2Protocol.pause_writing``            read no more, then close
connections          ``Server``, ``Handshakes``              close the one that is idle longest
==================== ======================================= ====================================

Resets and very small DATA frames count as control frames. Each complete request and each second
pay for some.

**Where the RFCs are.**

============= =================================================== ==============================
RFC 9113      3.4 preface; 4.1 frames; 6.2 to 6.8, 6.10           ``connection``
              4.3, 5.1, 8.1 blocks, streams, requests; 6.1 DATA   ``receiving``
              5.2, 6.5, 6.9 flow control, the peer's SETTINGS     ``sending``
              8.2, 8.3 fields and pseudo-headers                  ``rpc``
              4.1, 6, 7 formats and error codes                   ``wire``
              9.2 TLS                                             ``sidecar.transport.tls``
RFC 7541      all                                                 ``hpack``
gRPC          PROTOCOL-HTTP2.md, compression.md                   ``rpc``
============= =================================================== ==============================

Left out: server push (6.6), priorities (5.3, deprecated), trailers' meaning, compression of
messages, an encoder with a dynamic table, HTTP/1.1 Upgrade.
"""

from sidecar.transport.h2.server import Server

__all__ = ["Server"]
