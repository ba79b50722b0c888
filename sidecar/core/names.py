"""Names of parameters and cookies, under every spelling that some server takes for them.

Servers decode names and drop spaces around them. PHP reads `.`, spaces, and a `[` that no `]`
follows as `_`, and ends a name at NUL or at `[`; Node's qs reads `[a]` as `a`.
"""

import re
from urllib.parse import unquote_to_bytes

_SPACES = b" \t\n\v\f\r"
_BEFORE = _SPACES + b"?["
_BRACKET = re.compile(rb"[\[\]]")
_PLAIN = bytes.maketrans(b". +[", b"____")


def may_be_in(text: bytes, name: str) -> bool:
    """Say whether a spelling of an ASCII name may be in a text: at a glance, in any case."""
    if name.encode() in text:
        return True
    decoded = unquote_to_bytes(text) if b"%" in text else text
    return name.lower().encode().translate(_PLAIN) in decoded.lower().translate(_PLAIN)


def is_spelling(written: bytes, name: str, *, ignore_case: bool = False) -> bool:
    """Say whether some server takes a written name for an ASCII name."""
    wanted = name.encode()
    if written == wanted:
        return True
    if written.translate(None, b"_-").isalnum() and not ignore_case:  # most names of cookies
        return written == wanted.translate(_PLAIN)
    decoded = unquote_to_bytes(written) if b"%" in written else written
    if ignore_case:
        wanted, decoded = wanted.lower(), decoded.lower()
    whole = decoded.lstrip(_BEFORE).partition(b"\0")[0].rstrip(_SPACES)
    cut = _BRACKET.split(whole, maxsplit=1)[0].rstrip(_SPACES)
    return wanted.translate(_PLAIN) in (whole.translate(_PLAIN), cut.translate(_PLAIN))
