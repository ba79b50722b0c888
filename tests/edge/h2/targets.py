"""Properties that hold for any input: for property tests here and for the fuzzer."""

import hpack

from sidecar.transport.h2.hpack import Decoder, Field
from sidecar.transport.h2.wire import H2ConnectionError
from tests.edge.h2.peer import GREETING, Ours, frames, request

_PLENTY = 1 << 20  # bytes of headers


def read_frames(octets: bytes) -> None:
    """Process input after a valid preface; the first byte sets the size of the pieces.

    No exception is raised, the output is well-formed, and nothing follows a GOAWAY.
    """
    ours = Ours(GREETING)
    size = octets[0] + 1 if octets else 1
    for start in range(1, len(octets), size):
        ours.feed(octets[start : start + size])
        for stream in ours.requests:
            if stream.id in ours.connection.streams and not ours.connection.done:
                ours.connection.sender.answer(stream, b"answer")
        ours.requests.clear()
    ours.tick(1.0)
    sent = frames(ours.taken())
    if ours.connection.done:
        assert type(sent[-1]).__name__ == "GoAwayFrame"
        ours.feed(request(999_999))
        ours.tick(1e9)
        assert ours.taken() == b""
    ours.connection.lost()
    assert ours.budget.held == 0


def decode_blocks(octets: bytes) -> None:
    """Decode header blocks, each after its length in two bytes; compare with the hpack library."""
    library, ours = hpack.Decoder(_PLENTY), Decoder()
    while octets:
        end = 2 + int.from_bytes(octets[:2])
        block, octets = octets[2:end], octets[end:]
        expected, found = _theirs(library, block), _ours(ours, block)
        assert found == expected
        if found is None:
            return  # an error ends the connection


def _theirs(decoder: hpack.Decoder, block: bytes) -> list[Field] | None:
    if _sizes(block) > 2:  # RFC 7541 4.2, which the library does not check
        return None
    try:
        return [(name, value) for name, value in decoder.decode(block, raw=True)]
    except hpack.HPACKError:
        return None


def _sizes(block: bytes) -> int:
    """Return the number of table size updates at the start of a block."""
    count = position = 0
    while block[position : position + 1] and block[position] & 0xE0 == 0x20:
        count += 1
        if block[position] & 0x1F == 0x1F:
            position += 1
            while block[position : position + 1] and block[position] & 0x80:
                position += 1
        position += 1
    return count


def _ours(decoder: Decoder, block: bytes) -> list[Field] | None:
    try:
        return decoder.decode(block, _PLENTY)
    except H2ConnectionError:
        return None
