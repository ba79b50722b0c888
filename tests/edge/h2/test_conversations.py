"""In every legal conversation, split into any pieces, each request gets its answer.

The h2 library is the client and the check: it raises if an answer violates HTTP/2 or a window.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.transport.h2 import wire
from tests.edge.h2.peer import HEADERS, Client, Ours, frames, prefixed

MESSAGES = st.one_of(st.binary(max_size=40), st.builds(lambda n: b"m" * n, st.integers(0, 70_000)))
MORE_HEADERS = st.lists(
    st.tuples(st.sampled_from(["x-a", "traceparent", "cookie"]), st.text("abc019-", max_size=30)),
    max_size=3,
)
PIECES = st.sampled_from([1, 9, 10, 33, 1000, 1 << 20])
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        wire.HEADER_TABLE_SIZE: st.sampled_from([0, 1, 4096, 10_000]),
        wire.INITIAL_WINDOW_SIZE: st.sampled_from([0, 1, 7, 1000, 65_535, 1 << 20]),
        wire.MAX_FRAME_SIZE: st.sampled_from([1 << 14, 20_000, (1 << 24) - 1]),
    },
)


class Call:
    """A client's call, one step at a time."""

    def __init__(self, client: Client, draw: Callable[..., Any]) -> None:
        self._h2 = client.h2
        self._draw = draw
        self.number = self._h2.get_next_available_stream_id()
        self.message = draw(MESSAGES)
        self._unsent = prefixed(self.message)
        self.finished = False
        self.left = False
        length = [("content-length", str(len(self._unsent)))] if draw(st.booleans()) else []
        self._h2.send_headers(self.number, [*HEADERS, *draw(MORE_HEADERS), *length])

    def step(self) -> None:
        """Send a part of the body, as far as the window allows."""
        padding = self._draw(st.sampled_from([None, None, 0, 7]))
        self._send(self._draw(st.integers(0, 1 << 14)), padding, self._draw(st.booleans()))

    def finish(self) -> None:
        """Send as much of the body as the window allows."""
        self._send(1 << 14, None, trailers=False)

    def _send(self, size: int, padding: int | None, trailers: bool) -> None:
        overhead = 0 if padding is None else padding + 1
        room = min(self._h2.local_flow_control_window(self.number), 1 << 14) - overhead
        if room <= 0:
            return
        part, self._unsent = self._unsent[: min(size, room)], self._unsent[min(size, room) :]
        self.finished = not self._unsent
        end = self.finished and not trailers
        self._h2.send_data(self.number, part, end_stream=end, pad_length=padding)
        if self.finished and trailers:
            self._h2.send_headers(self.number, [("x-checksum", "1")], end_stream=True)

    def leave(self) -> None:
        """Cancel the call."""
        self._h2.reset_stream(self.number, wire.ErrorCode.CANCEL)
        self.finished = self.left = True


class Conversation:
    """A client and our connection, with the frames between them."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.client, self.ours = Client(), Ours()
        self.calls: list[Call] = []
        self._draw = draw
        self._greeted = False

    def go_on(self) -> None:
        """Do one random action that the client or the server may do now."""
        actions: list[Callable[[], object]] = [
            lambda: self.calls.append(Call(self.client, self._draw)),
            self._configure,
            lambda: self.client.h2.ping(b"12345678"),
            lambda: self.client.h2.increment_flow_control_window(1000),
            self.exchange,
        ]
        for call in self.calls:
            if not call.finished:
                actions += [call.step, call.step, call.leave]
            elif not call.left and call.number not in self.client.ended:
                actions.append(call.leave)
        for stream in self.ours.requests:
            actions.append(partial(self.ours.answer, stream))
        self._draw(st.sampled_from(actions))()

    def _configure(self) -> None:
        # h2 applies one acknowledgement to all SETTINGS in flight, so send one at a time.
        self.exchange()
        self.client.h2.update_settings(self._draw(SETTINGS))

    def exchange(self) -> None:
        """Deliver the output of each side to the other, in pieces."""
        unsent = self._reframed(self.client.h2.data_to_send())
        size = max(self._draw(PIECES), len(unsent) // 300)
        for start in range(0, len(unsent), size):
            self.ours.feed(unsent[start : start + size])
        self.client.receive(self.ours.taken())

    def end(self) -> None:
        """Finish every open call."""
        self.exchange()
        self.client.h2.update_settings({wire.INITIAL_WINDOW_SIZE: 10_000})
        for _ in range(1000):
            for call in self.calls:
                if not call.finished:
                    call.finish()
            self.exchange()
            self.ours.answer_all()
            if all(call.finished for call in self.calls) and not self.ours.connection.streams:
                self.exchange()
                return
        raise AssertionError("the conversation does not end")

    def _reframed(self, octets: bytes) -> bytes:
        """Split header blocks into CONTINUATION frames; insert frames of unknown types."""
        out = b""
        if octets and not self._greeted:
            self._greeted = True
            out, octets = wire.PREFACE, octets[len(wire.PREFACE) :]
            first = frames(octets)[0].serialize()  # SETTINGS must be the first frame
            out, octets = out + first, octets[len(first) :]
        for frame in frames(octets):
            pieces = [frame]
            if isinstance(frame, HeadersFrame) and self._draw(st.booleans()):
                pieces = continued(frame, self._draw(st.integers(1, 30)))
            if self._draw(st.integers(0, 9)) == 0:
                out += wire.frame(0xEE, 0xFF, frame.stream_id, b"of an unknown type")
            out += b"".join(piece.serialize() for piece in pieces)
        return out


def continued(frame: HeadersFrame, size: int) -> list[Frame]:
    """Split a header block into pieces of a size."""
    block = frame.data
    frame.flags.discard("END_HEADERS")
    frame.data = block[:size]
    pieces: list[Frame] = [frame]
    pieces += [
        ContinuationFrame(frame.stream_id, block[start : start + size])
        for start in range(size, len(block) + size, size)
    ]
    pieces[-1].flags.add("END_HEADERS")
    return pieces


@given(st.data())
@settings(max_examples=80)
def test_each_request_of_a_legal_conversation_gets_its_own_answer(data: st.DataObject) -> None:
    conversation = Conversation(data.draw)
    for _ in range(data.draw(st.integers(1, 40))):
        conversation.go_on()
    conversation.end()
    client = conversation.client
    for call in conversation.calls:
        if call.number in client.ended:
            assert client.bodies[call.number] == prefixed(call.message)
            assert client.statuses[call.number] == "0"
        else:
            assert call.left
    assert client.reset == {}
    assert not conversation.ours.connection.done
    conversation.ours.connection.settle()
    assert conversation.ours.budget.held == 0


@given(st.integers(1, 400), st.lists(MESSAGES, min_size=1, max_size=4))
@settings(max_examples=30)
def test_splitting_the_input_does_not_change_any_answer(size: int, messages: list[bytes]) -> None:
    client = Client()
    for message in messages:
        number = client.h2.get_next_available_stream_id()
        client.h2.send_headers(number, HEADERS)
        client.h2.send_data(number, prefixed(message[:1000]), end_stream=True)
    octets = client.h2.data_to_send()
    whole, pieces = Ours(), Ours()
    whole.feed(octets)
    whole.answer_all()
    for start in range(0, len(octets), size):
        pieces.feed(octets[start : start + size])
    pieces.answer_all()
    assert pieces.taken() == whole.taken()
