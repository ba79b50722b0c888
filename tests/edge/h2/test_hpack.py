"""Our HPACK decoder returns what the hpack library returns."""

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman as their_huffman
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.transport.h2.hpack import Decoder, Field, decode_huffman, literal
from sidecar.transport.h2.limits import MEMO_ENTRIES
from sidecar.transport.h2.rpc import Head
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError
from tests.edge.h2.peer import ACKNOWLEDGED, HEADERS, Ours, headers
from tests.edge.h2.targets import decode_blocks

PLENTY = 1 << 20

NAMES = st.sampled_from([b":path", b":method", b"x-a", b"content-type", b"", b"te", b"x" * 200])
FIELDS = st.lists(
    st.tuples(NAMES, st.one_of(st.binary(max_size=30), st.sampled_from([b"POST", b"v" * 2000]))),
    max_size=12,
)
OPERATIONS = st.lists(
    st.one_of(FIELDS, st.integers(0, 4096)), min_size=1, max_size=8
)  # a block to encode, or a new table size


@given(OPERATIONS, st.booleans())
def test_blocks_of_a_full_encoder_are_decoded(
    operations: list[list[Field] | int], huffman: bool
) -> None:
    encoder, decoder = hpack.Encoder(), Decoder()
    changes = 0
    for operation in operations:
        if isinstance(operation, int):
            # The library omits an update that is set twice, and sends too many for three changes.
            if operation != encoder.header_table_size and changes < 2:
                encoder.header_table_size = operation
                changes += 1
        else:
            changes = 0
            block = encoder.encode(operation, huffman=huffman)
            assert decoder.decode(block, PLENTY) == operation


PIECES = st.one_of(
    st.binary(min_size=1, max_size=6),
    st.builds(literal, NAMES, st.binary(max_size=20)),
    st.sampled_from([b"\x82", b"\xbe", b"\xbf", b"\x40\x01a\x01b", b"\x20", b"\x3f\xe1\x1f"]),
    st.sampled_from([b"\xff\x80", b"\x7f\x80\x80\x80", b"\x00\x81\xff", b"\x00\x85" + b"\xff" * 5]),
)


@given(st.lists(st.lists(PIECES, max_size=6).map(b"".join), min_size=1, max_size=5))
@settings(max_examples=300)
def test_any_bytes_are_decoded_as_the_library_decodes_them(blocks: list[bytes]) -> None:
    decode_blocks(b"".join(len(block).to_bytes(2) + block for block in blocks))


def test_every_symbol_has_its_huffman_code() -> None:
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    for symbol in range(256):
        for text in (bytes([symbol]), bytes([symbol]) * 9, b"a" + bytes([symbol]) + b"z"):
            assert decode_huffman(encoder.encode(text)) == text


@given(st.binary(max_size=100))
@settings(max_examples=400)
def test_any_huffman_text_is_decoded_as_the_library_decodes_it(text: bytes) -> None:
    try:
        expected: bytes | None = bytes(their_huffman(text))
    except hpack.HPACKDecodingError:
        expected = None
    try:
        found: bytes | None = decode_huffman(text)
    except H2ConnectionError:
        found = None
    assert found == expected


@given(st.lists(st.tuples(NAMES, st.binary(max_size=300)), max_size=5))
def test_our_encoded_fields_are_decoded_without_a_table(fields: list[Field]) -> None:
    block = b"".join(literal(*field) for field in fields)
    assert hpack.Decoder(PLENTY).decode(block, raw=True) == fields
    assert Decoder().decode(block, PLENTY) == fields


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # 6.1: index 0
        b"\xbe",  # 2.3.3: the dynamic table is empty
        b"\x82\x20",  # 4.2: an update after a field
        b"\x20\x20\x20\x82",  # 4.2: three updates; two are enough
        b"\x3f\xe2\x1f",  # 6.3: 4097 octets
        b"\xff\x80\x80\x80\x80\x01",  # 5.1: an endless integer
        b"\x00\x05abc",  # 5.2: a truncated string
        b"\x00\x81\x00\x00",  # 5.2: padding of zeros
        b"\x00\x82\x1f\xff\x00",  # 5.2: eight or more bits of padding
        b"\x00\x84\xff\xff\xff\xff\x00",  # 5.2: EOS
        b"\x40",
        b"\x00\x01",
    ],
)
def test_blocks_that_violate_rfc_7541_are_refused(block: bytes) -> None:
    with pytest.raises(H2ConnectionError) as caught:
        Decoder().decode(block, PLENTY)
    assert caught.value.code == ErrorCode.COMPRESSION_ERROR


def test_a_block_of_many_references_to_one_large_field_is_refused() -> None:
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x7f\xa1\x1e" + b"v" * 4000, PLENTY)
    with pytest.raises(H2ConnectionError) as caught:
        decoder.decode(b"\xbe" * 20_000, 128 * 1024)
    assert caught.value.code == ErrorCode.ENHANCE_YOUR_CALM


class Blocks:
    """A connection that receives one block after the other."""

    def __init__(self) -> None:
        self.connection = Ours(ACKNOWLEDGED).connection
        self._number = -1

    def head(self, block: bytes) -> Head:
        """Return the head that the connection reads from a block."""
        self._number += 2
        self.connection.receive(headers(self._number, end=True, payload=block), 0.0)
        return self.connection.streams[self._number].head


@given(
    st.lists(
        st.tuples(st.sampled_from(["1S", "2S", "3m"]), st.sampled_from(["a", "b" * 900, ""])),
        min_size=1,
        max_size=30,
    )
)
def test_a_remembered_block_has_its_current_meaning(calls: list[tuple[str, str]]) -> None:
    encoder, blocks = hpack.Encoder(), Blocks()
    for timeout, other in calls:
        block = encoder.encode([*HEADERS, ("grpc-timeout", timeout), ("x-other", other)])
        assert blocks.head(block).timeout == {"1S": 1.0, "2S": 2.0, "3m": 0.003}[timeout]


def plain(*more: tuple[str, str]) -> bytes:
    """Return a block that does not use or change the table."""
    return b"".join(literal(name.encode(), value.encode()) for name, value in [*HEADERS, *more])


def test_after_a_table_change_equal_bytes_are_decoded_again() -> None:
    blocks = Blocks()
    newest = plain() + b"\xbe"  # 6.1: index 62
    blocks.head(plain() + b"\x40\x0cgrpc-timeout\x021S")
    assert [blocks.head(newest).timeout for _ in range(3)] == [1.0] * 3
    blocks.head(plain() + b"\x40\x0cgrpc-timeout\x022S")
    assert [blocks.head(newest).timeout for _ in range(3)] == [2.0] * 3


def test_the_memo_of_blocks_is_bounded() -> None:
    blocks = Blocks()
    for number in range(10 * MEMO_ENTRIES):
        blocks.head(plain(("x-number", str(number))))
        assert 0 < len(blocks.connection._receiver._decoder.memo) <= MEMO_ENTRIES
    blocks.head(plain(("x-large", "x" * 5000)))
    assert max(map(len, blocks.connection._receiver._decoder.memo)) < 5000
