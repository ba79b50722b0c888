"""HPACK, the header compression of HTTP/2 (RFC 7541): a full decoder and a minimal encoder."""

from functools import cache
from typing import Any

from sidecar.net.http2 import literal as literal
from sidecar.transport.h2.limits import FIELD_BYTES, HUFFMAN_BYTES
from sidecar.transport.h2.wire import ErrorCode, H2ConnectionError

Field = tuple[bytes, bytes]

MAX_TABLE_SIZE = 4096  # RFC 9113 6.5.2: the initial SETTINGS_HEADER_TABLE_SIZE

# Appendix A; index 0 is unused. Names, and values after "=".
_STATIC_TEXT = (
    b"|:authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|"
    b":status=200|:status=204|:status=206|:status=304|:status=400|:status=404|:status=500|"
    b"accept-charset|accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|"
    b"access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|"
    b"content-encoding|content-language|content-length|content-location|content-range|"
    b"content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|"
    b"if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|"
    b"proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|"
    b"strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
_STATIC: list[Field] = [
    (name, value) for name, _, value in (f.partition(b"=") for f in _STATIC_TEXT.split(b"|"))
]

# Appendix B: the length in bits of each symbol's Huffman code, 0 to 255 and EOS. The code is
# canonical: in order of length and symbol, each code is its predecessor's plus one.
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b"
    "0a0a080b080606060505050606060606060607080f060c0a0d060707070707070707070707070707"
    "07070707070707070807080d130d0e060f0506050605060606050707060606050607060505060707"
    "0707070f0b0e0d1c1416141416161617161717171717181718181617181717171715161716171718"
    "16151416161717151716161815161717151516151716171714161616171616171a1a141316171619"
    "1a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)


def _codes() -> dict[int, bytes]:
    """Return the symbols by their codes. A code is written as a 1 followed by its bits."""
    codes: dict[int, bytes] = {}
    code = length = 0
    for symbol in sorted(range(256), key=_LENGTHS.__getitem__):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        codes[1 << length | code] = bytes((symbol,))
        code += 1
    return codes


_CODES = _codes()


class _Prefix(dict[int, tuple["_Prefix", bytes]]):
    """An incomplete code: for each next octet, the code that is left and the decoded symbols.

    Each entry is computed once. At most there are 256 prefixes with 256 octets each (8 MB).
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self._bits = bits  # a 1, then the bits
        # Padding is the first bits of EOS, all ones, fewer than eight (5.2).
        self.is_padding = bits <= 0xFF and not bits & bits + 1

    def __missing__(self, octet: int) -> tuple["_Prefix", bytes]:
        bits, symbols = self._bits, b""
        for shift in range(7, -1, -1):
            bits = bits << 1 | octet >> shift & 1
            if bits in _CODES:
                bits, symbols = 1, symbols + _CODES[bits]
        if bits >> _LENGTHS[-1]:
            raise _error("EOS in a Huffman string")
        self[octet] = _prefix(bits), symbols
        return self[octet]


_prefix = cache(_Prefix)


def decode_huffman(text: bytes) -> bytes:
    """Decode a string (5.2). Raises H2ConnectionError."""
    prefix, decoded = _prefix(1), []
    for octet in text:
        prefix, symbols = prefix[octet]
        decoded.append(symbols)
    if not prefix.is_padding:
        raise _error("invalid Huffman padding")
    return b"".join(decoded)


class Decoder:
    """Decodes the header blocks of one connection, in their order.

    Its owner keeps the meaning of blocks in ``memo``; each change of the table empties it.
    ``work`` is the estimated time of the last block, in microseconds.
    """

    def __init__(self) -> None:
        self.changed = (
            False  # whether the last block changed the table: then it cannot be remembered
        )
        self.work = 0
        self.memo: dict[bytes, Any] = {}
        self._table = _STATIC.copy()  # and the dynamic table (2.3.2), newest first
        self._size = 0
        self._capacity = MAX_TABLE_SIZE

    def decode(self, block: bytes, max_size: int) -> list[Field]:
        """Return the block's fields, of at most ``max_size`` bytes, counted as in 4.1.

        Raises H2ConnectionError: after a bad block the compression state is unknown (4.3).
        """
        self.changed = False
        self.work = 0
        try:
            return self._decode(block, max_size)
        except IndexError:
            raise _error("index out of range or truncated header block") from None  # 2.3.3

    def _decode(self, block: bytes, max_size: int) -> list[Field]:
        table = self._table
        fields: list[Field] = []
        position, end, left, updates = 0, len(block), max_size, 0
        while position < end:
            octet = block[position]
            if octet & 0x80:  # 6.1: indexed
                index, position = _integer(block, position, 0x7F)
                if not index:
                    raise _error("index 0")
                field = table[index]
            elif octet & 0xE0 == 0x20:  # 6.3: a table size update
                self._capacity, position = _integer(block, position, 0x1F)
                updates += 1  # the smallest size since the last block, and the size now
                if fields or self._capacity > MAX_TABLE_SIZE or updates > 2:
                    raise _error("invalid dynamic table size update")  # 4.2
                self._evict()
                continue
            else:  # 6.2.1: literal, to be indexed; 6.2.2 and 6.2.3: not, or never
                index, position = _integer(block, position, 0x3F if octet & 0x40 else 0x0F)
                name, position = (
                    (table[index][0], position) if index else self._string(block, position)
                )
                value, position = self._string(block, position)
                field = name, value
                if octet & 0x40:
                    table.insert(len(_STATIC), field)
                    self._size += _size(field)
                    self._evict()
            left -= _size(field)
            if left < 0:
                raise H2ConnectionError("header list too large", ErrorCode.ENHANCE_YOUR_CALM)
            fields.append(field)
        self.work += (max_size - left) // FIELD_BYTES
        return fields

    def _string(self, block: bytes, position: int) -> tuple[bytes, int]:  # 5.2
        huffman = block[position] & 0x80
        length, position = _integer(block, position, 0x7F)
        end = position + length
        if end > len(block):
            raise _error("string exceeds the header block")
        text = block[position:end]
        if huffman:
            self.work += length // HUFFMAN_BYTES
            text = decode_huffman(text)
        return text, end

    def _evict(self) -> None:  # 4.3, 4.4
        self.changed = True
        self.memo.clear()
        while self._size > self._capacity:
            self._size -= _size(self._table.pop())


def _size(field: Field) -> int:  # 4.1
    return len(field[0]) + len(field[1]) + 32


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:  # 5.1
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    for shift in (0, 7, 14, 21):  # larger than any valid length or index
        octet = block[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
    raise _error("integer too large")


def _error(rule: str) -> H2ConnectionError:
    return H2ConnectionError(rule, ErrorCode.COMPRESSION_ERROR)


TABLE_OFF = b"\x20"  # 6.3: our encoder keeps no table
STATUS_200 = b"\x88"  # 6.1: index 8
