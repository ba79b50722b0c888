"""The Huffman code of HPACK (RFC 7541 5.2 and appendix B), decoded four bits at a time."""

from functools import lru_cache

# Appendix B: the length in bits of each symbol's code, 0 to 255 and EOS. The code is canonical:
# in order of length and symbol, each code is its predecessor's plus one.
_LENGTHS = bytes.fromhex(
    "0d171c1c1c1c1c1c1c181e1c1c1e1c1c1c1c1c1c1c1c1e1c1c1c1c1c1c1c1c1c060a0a0c0d06080b"
    "0a0a080b080606060505050606060606060607080f060c0a0d060707070707070707070707070707"
    "07070707070707070807080d130d0e060f0506050605060606050707060606050607060505060707"
    "0707070f0b0e0d1c1416141416161617161717171717181718181617181717171715161716171718"
    "16151416161717151716161815161717151516151716171714161616171616171a1a141316171619"
    "1a1a1a1b1b1a181913151a1b1b1a1b1815151a1a1c1b1b1b14181415161515171616191918181a17"
    "1a1b1a1a1b1b1b1b1b1c1b1b1b1b1b1a1e"
)
_EOS = 256
_ROOT = 1  # a prefix is written as an integer: a one, then its bits


class HuffmanError(Exception):
    """A text is no Huffman code: it holds EOS, or ends in what is no padding."""


def _codes() -> dict[int, int]:
    """Return every symbol by its code, written as a prefix is."""
    codes: dict[int, int] = {}
    code, length = -1, 0
    for symbol in sorted(range(_EOS + 1), key=_LENGTHS.__getitem__):
        code = (code + 1) << (_LENGTHS[symbol] - length)
        length = _LENGTHS[symbol]
        codes[1 << length | code] = symbol
    return codes


def _machine() -> tuple[list[tuple[int, int]], frozenset[int]]:
    """Return the steps, and the states in which a text may end.

    A state is sixteen times the number of a prefix. The step of state + nibble is the next state
    and the symbol that the nibble completed, or -1: no code is shorter than a nibble.
    """
    codes = _codes()
    prefixes = {_ROOT: 0}
    for code in codes:
        while (code := code >> 1) > _ROOT:
            prefixes.setdefault(code, 16 * len(prefixes))
    dead = 16 * len(prefixes)  # after EOS
    steps: list[tuple[int, int]] = []
    for prefix in prefixes:
        for nibble in range(16):
            state, symbol = prefix, -1
            for shift in (3, 2, 1, 0):
                state = state << 1 | nibble >> shift & 1
                if state in codes:
                    symbol, state = codes[state], _ROOT
            steps.append((dead, -1) if symbol == _EOS else (prefixes[state], symbol))
    steps += [(dead, -1)] * 16
    # Padding is EOS's first bits, all ones, fewer than eight of them.
    return steps, frozenset(prefixes[(2 << bits) - 1] for bits in range(8))


_STEPS, _ENDS = _machine()


def decode_huffman(text: bytes) -> bytes:
    """Decode a text. Raises HuffmanError."""
    # With tracing, headers differ from call to call in one value; names and other values do not.
    return _decode_short(text) if len(text) <= _SHORT else _decode(text)


_SHORT = 64  # bytes


def _decode(text: bytes) -> bytes:
    steps = _STEPS
    decoded = bytearray()
    state = 0
    for octet in text:
        state, symbol = steps[state + (octet >> 4)]
        if symbol >= 0:
            decoded.append(symbol)
        state, symbol = steps[state + (octet & 0xF)]
        if symbol >= 0:
            decoded.append(symbol)
    if state not in _ENDS:
        raise HuffmanError
    return bytes(decoded)


_decode_short = lru_cache(maxsize=512)(_decode)
