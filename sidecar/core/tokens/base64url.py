"""Base64url without padding (RFC 7515, section 2), in its one canonical spelling."""

from binascii import a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
# What base64 has and base64url has not, padding too, becomes what neither has.
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")


def encode(data: bytes) -> bytes:
    """Return the canonical spelling of ``data``."""
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """Return what ``text`` spells.

    Raises ValueError unless ``text`` is the canonical spelling: no padding, no foreign character
    (Python's decoder skips those), no bits set past the end. So the same token cannot be written in
    two ways.
    """
    padded = text.translate(_FROM_URL) + b"=" * (-len(text) % 4)
    data = a2b_base64(padded)
    if b2a_base64(data, newline=False) != padded:
        raise ValueError("not canonical base64url")
    return data
