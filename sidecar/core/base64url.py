"""Base64url without padding (RFC 7515, section 2), in its one canonical spelling."""

from base64 import urlsafe_b64decode, urlsafe_b64encode


def encode(data: bytes) -> bytes:
    """Return the canonical spelling of ``data``."""
    return urlsafe_b64encode(data).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """Return what ``text`` spells.

    Raises ValueError unless ``text`` is the canonical spelling: no padding, no foreign character
    (Python's decoder skips those), no bits set past the end. So nobody can write the same token in
    two ways.
    """
    data = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if encode(data) != text:
        raise ValueError("not canonical base64url")
    return data
