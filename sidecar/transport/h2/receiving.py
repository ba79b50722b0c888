"""The receiving half of a connection: header blocks and bodies become requests (RFC 9113 8.1)."""

from collections import deque
from math import inf

from sidecar.transport.h2 import limits, wire
from sidecar.transport.h2.account import Account
from sidecar.transport.h2.hpack import Decoder, Field
from sidecar.transport.h2.rpc import Head, check_trailers, read_head
from sidecar.transport.h2.sending import Sender
from sidecar.transport.h2.stream import Stream
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError, H2StreamError


class Receiver:
    """Opens the peer's ``streams``, and closes those that it resets or that break a rule."""

    def __init__(self, streams: dict[int, Stream], sender: Sender, account: Account) -> None:
        self.last = 0  # the highest stream ID that the peer opened
        self.final: int | None = None  # the highest that is served, once GOAWAY is sent
        self.most = 0  # streams that may be open now
        # Streams that became complete or were closed, in order: for the owner to take.
        self.changed: list[Stream] = []
        self._streams = streams
        self._sender = sender
        self._account = account
        self._limits = account.limits
        self._decoder = Decoder()
        self._returned = self._limits.window // 2  # bytes of DATA per WINDOW_UPDATE
        self._unreturned = 0  # bytes of DATA not yet returned by a WINDOW_UPDATE
        self._skipped = False  # the peer has skipped stream IDs
        self._resets: deque[int] = deque(maxlen=limits.REMEMBERED_RESETS)  # by us

    def on_block(self, flags: int, number: int, block: bytes) -> None:
        """Process a complete header block: it opens a stream, or is a request's trailers."""
        if number > self.last:
            stream = self._open(number, block)
            if stream is not None and flags & wire.END_STREAM:
                self._complete(stream)
            return
        stream = self._streams.get(number)
        if stream is not None and not stream.complete:
            check_trailers(self._decode(block))
            if not flags & wire.END_STREAM:
                raise H2StreamError("trailers without END_STREAM")  # 8.1
        else:
            self._decode(block)  # to keep the decoder in sync (4.3)
            if stream is not None:
                raise H2StreamError("HEADERS after END_STREAM", ErrorCode.STREAM_CLOSED)  # 5.1
            if number not in self._resets:
                code = ErrorCode.PROTOCOL_ERROR if self._skipped else ErrorCode.STREAM_CLOSED
                raise H2ConnectionError("HEADERS on a closed stream", code)  # 5.1.1, 5.1
        if stream is not None and flags & wire.END_STREAM:
            self._complete(stream)

    def on_data(self, flags: int, number: int, payload: bytes) -> None:
        """Process DATA (6.1)."""
        # 6.9: padding counts, and so does DATA on closed streams. Credit is returned as DATA is
        # read, so a window that is exceeded looks like one that was just enlarged: not an error.
        self._unreturned += len(payload)
        if self._unreturned > self._returned:
            self._sender.frames.append(wire.window_update(0, self._unreturned))
            self._unreturned = 0
        stream = self._streams.get(number)
        if stream is None or stream.complete:
            self.refuse_idle(number)
            if self.final is not None and number > self.final:
                return  # sent before our GOAWAY arrived
            if number not in self._resets:
                raise H2StreamError("DATA on a closed stream", ErrorCode.STREAM_CLOSED)  # 5.1
            self._account.count()
            return
        if flags & wire.PADDED:
            payload = wire.unpadded(payload)
        last = flags & wire.END_STREAM
        if last and not stream.received:
            stream.body = payload  # the usual case: the whole body in one frame
        elif payload:
            self._account.keep(stream, payload)
        if not last:
            self._account.work += 1
            if len(payload) < limits.SMALL_DATA:
                self._account.count()
        stream.received += len(payload)
        if last:
            self._complete(stream)

    def refuse_idle(self, number: int) -> None:
        """Raise H2ConnectionError where the peer has not opened a stream yet (5.1)."""
        if number > self.last or not number & 1:
            raise H2ConnectionError("frame on an idle stream")

    def reset(self, number: int, code: ErrorCode) -> None:
        """Close a stream for the peer's error (5.4.2); later frames on it are not errors."""
        self._sender.frames.append(wire.rst_stream(number, code))
        self._resets.append(number)
        self.drop(number)
        self._account.count(limits.CONTROL_FRAMES_PER_FAULT)

    def drop(self, number: int) -> None:
        """Close a stream without an answer, if it is open."""
        stream = self._streams.get(number)
        if stream is not None:
            self._sender.close(stream)
            if stream.complete:
                self.changed.append(stream)

    def _open(self, number: int, block: bytes) -> Stream | None:
        if number > self.last + 2:
            self._skipped = True
        self.last = number
        # A client that repeats a call repeats a block that refers to the decoder's table and does
        # not change it. Until the table changes, equal bytes mean equal headers.
        head: Head | None = self._decoder.memo.get(block)
        if head is None:
            head = read_head(self._decode(block))
            if not self._decoder.changed and len(block) <= limits.MEMO_BLOCK:
                if len(self._decoder.memo) >= limits.MEMO_ENTRIES:
                    self._decoder.memo.clear()
                self._decoder.memo[block] = head
        if self.final is not None:  # 6.8: the client retries it on another connection
            self._resets.append(number)
            return None
        if len(self._streams) >= self.most or len(self._sender.blocked) >= limits.MAX_BLOCKED:
            raise H2StreamError("too many concurrent streams", ErrorCode.REFUSED_STREAM)  # 5.1.2
        now = self._account.now
        deadline = None if head.timeout is None else now + head.timeout
        stream = Stream(number, head, deadline, now + limits.REQUEST_TIMEOUT)
        self._streams[number] = stream
        return stream

    def _decode(self, block: bytes) -> list[Field]:
        if len(block) > self._limits.header_block:
            raise H2ConnectionError("header block too large", ErrorCode.ENHANCE_YOUR_CALM)
        fields = self._decoder.decode(block, self._limits.header_block)
        work = self._decoder.work
        self._account.work += work
        if work >= limits.WORK_PER_CONTROL_FRAME:
            self._account.count(work // limits.WORK_PER_CONTROL_FRAME)
        return fields

    def _complete(self, stream: Stream) -> None:
        length = stream.head.content_length
        if length is not None and length != stream.received:
            raise H2StreamError("content-length does not match the body")  # 8.1.1
        stream.complete, stream.until = True, inf
        self._account.count_request()
        if stream.head.refusal is not None:
            self._sender.refuse(stream, *stream.head.refusal)
        else:
            self.changed.append(stream)
