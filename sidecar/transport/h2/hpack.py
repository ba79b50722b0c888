"""HPACK, the header compression of HTTP/2 (RFC 7541): a full decoder, a trivial encoder."""

from collections.abc import Iterable

from sidecar.transport.h2.huffman import HuffmanError, decode_huffman

Field = tuple[bytes, bytes]

MAX_TABLE_SIZE = 4096  # RFC 9113 6.5.2: what SETTINGS_HEADER_TABLE_SIZE is when nobody says
_FIELD_OVERHEAD = 32  # 4.1

# Appendix A, from index 1: names, and values after "=".
_STATIC_TEXT = (
    ":authority|:method=GET|:method=POST|:path=/|:path=/index.html|:scheme=http|:scheme=https|"
    ":status=200|:status=204|:status=206|:status=304|:status=400|:status=404|:status=500|"
    "accept-charset|accept-encoding=gzip, deflate|accept-language|accept-ranges|accept|"
    "access-control-allow-origin|age|allow|authorization|cache-control|content-disposition|"
    "content-encoding|content-language|content-length|content-location|content-range|"
    "content-type|cookie|date|etag|expect|expires|from|host|if-match|if-modified-since|"
    "if-none-match|if-range|if-unmodified-since|last-modified|link|location|max-forwards|"
    "proxy-authenticate|proxy-authorization|range|referer|refresh|retry-after|server|set-cookie|"
    "strict-transport-security|transfer-encoding|user-agent|vary|via|www-authenticate"
)
_STATIC: tuple[Field, ...] = tuple(
    (name.encode(), value.encode())
    for name, _, value in (entry.partition("=") for entry in _STATIC_TEXT.split("|"))
)
_STATIC_SIZE = len(_STATIC)


class HpackError(Exception):
    """A block cannot be decoded; the connection's compression state is lost with it."""


class HeadersTooLargeError(HpackError):
    """A block decodes to more than was asked for."""


class Decoder:
    """Decodes the header blocks of one connection, in their order.

    ``changes`` counts the changes of the table: between two of them, equal blocks mean the same.
    """

    def __init__(self) -> None:
        self.changes = 0
        self._entries: list[Field] = []  # the dynamic table (2.3.2), newest first
        self._size = 0
        self._capacity = MAX_TABLE_SIZE

    def decode(self, block: bytes, max_size: int) -> list[Field]:
        """Return the block's fields; ``max_size`` bounds them, counted as in 4.1.

        Raises HpackError.
        """
        try:
            return self._decode(block, max_size)
        except IndexError:
            raise HpackError("the block ends within a field") from None
        except HuffmanError:
            raise HpackError("no valid Huffman code") from None

    def _decode(self, block: bytes, max_size: int) -> list[Field]:
        position = self._resize(block)
        end = len(block)
        fields: list[Field] = []
        while position < end:
            octet = block[position]
            if 0x80 < octet < 0xFF:  # 6.1: indexed, in one octet
                field = self._lookup(octet & 0x7F)
                position += 1
            elif octet & 0x80:
                index, position = _integer(block, position, 0x7F)
                field = self._lookup(index)
            elif octet & 0x40:  # 6.2.1: literal, to be indexed
                field, position = self._literal(block, position, 0x3F)
                self._insert(field)
            elif octet & 0x20:
                raise HpackError("a table size update within a block")  # 4.2
            else:  # 6.2.2 and 6.2.3: literal, not indexed, or never
                field, position = self._literal(block, position, 0x0F)
            max_size -= len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
            fields.append(field)
            if max_size < 0:
                raise HeadersTooLargeError("too many header bytes")
        return fields

    def _resize(self, block: bytes) -> int:
        """Apply the table size updates (6.3) that a block begins with; return their length."""
        position = 0
        while position < len(block) and block[position] & 0xE0 == 0x20:
            self._capacity, position = _integer(block, position, 0x1F)
            if self._capacity > MAX_TABLE_SIZE:
                raise HpackError("a larger table than was announced")
            self._evict()
        return position

    def _lookup(self, index: int) -> Field:
        if 0 < index <= _STATIC_SIZE:
            return _STATIC[index - 1]
        index -= _STATIC_SIZE + 1
        if 0 <= index < len(self._entries):
            return self._entries[index]
        raise HpackError("an index that no table has")  # 2.3.3

    def _literal(self, block: bytes, position: int, mask: int) -> tuple[Field, int]:
        index, position = _integer(block, position, mask)
        if index:
            name = self._lookup(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        return (name, value), position

    def _insert(self, field: Field) -> None:
        self._entries.insert(0, field)
        self._size += len(field[0]) + len(field[1]) + _FIELD_OVERHEAD
        self._evict()

    def _evict(self) -> None:  # 4.3, 4.4
        self.changes += 1
        while self._size > self._capacity:
            name, value = self._entries.pop()
            self._size -= len(name) + len(value) + _FIELD_OVERHEAD


def _integer(block: bytes, position: int, mask: int) -> tuple[int, int]:  # 5.1
    value = block[position] & mask
    position += 1
    if value < mask:
        return value, position
    for shift in (0, 7, 14, 21):  # more than any length or index that can be right
        octet = block[position]
        position += 1
        value += (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
    raise HpackError("an integer without end")


def _string(block: bytes, position: int) -> tuple[bytes, int]:  # 5.2
    huffman = block[position] & 0x80
    length, position = _integer(block, position, 0x7F)
    end = position + length
    if end > len(block):
        raise HpackError("a string beyond the block's end")
    text = block[position:end]
    return (decode_huffman(text) if huffman else text), end


TABLE_OFF = b"\x20"  # 6.3: our encoder keeps no table; due once the peer shrank what it may keep


def encode(fields: Iterable[Field]) -> bytes:
    """Encode fields from the static table or as literals that are not indexed (6.2.2).

    So the block depends on nothing before it, and can be sent for ever.
    """
    block = bytearray()
    for name, value in fields:
        if (name, value) in _STATIC:
            block.append(0x80 | _STATIC.index((name, value)) + 1)
        else:
            block += b"\0" + _length(name) + name + _length(value) + value
    return bytes(block)


def _length(text: bytes) -> bytes:
    rest = len(text) - 0x7F
    if rest < 0:
        return bytes((len(text),))
    octets = bytearray((0x7F,))
    while rest > 0x7F:
        octets.append(0x80 | rest & 0x7F)
        rest >>= 7
    octets.append(rest)
    return bytes(octets)
