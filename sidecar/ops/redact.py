"""Bounds text of unknown origin for a log and masks possible credentials in it.

The writer escapes: every line is ASCII JSON or has its control characters escaped.
"""

import re
from urllib.parse import unquote

REDACTED = "[redacted]"

# A JWT or a JWE, its dots percent-encoded or not. Base64url of `{"` begins with eyJ; other text
# must have three parts, the last one at least as long as a signature.
_TOKEN = re.compile(
    r"eyJ[\w-]{8,}(?:(?:\.|(?i:%2e))[\w-]*)*"
    r"|(?<![\w-])[\w-]{16,}(?:\.|(?i:%2e))[\w-]{8,}(?:\.|(?i:%2e))[\w-]{40,}",
    re.ASCII,
)
_LEAST_THREE_PARTS = 16 + 1 + 8 + 1 + 40
# A value whose name says that it is a credential: access_token=abc, Bearer abc.
_NAMED = re.compile(
    r"((?:token|secret|passw(?:or)?d|api_?key|jwt|signature|credentials?)(?:=|%3d)"
    r"|\b(?:bearer|basic)[ \t])[^\s/&;,]+",
    re.IGNORECASE | re.ASCII,
)
# What some servers read as the end of a path: `#`, `;`, and every encoding of these and of `?`.
_AFTER_PATH = re.compile(r"([#;]|%(?:25)*(?:23|3b|3f)).+", re.IGNORECASE | re.DOTALL)

_READ_AT_MOST = 8192  # characters that are examined, so that a value of 16 MiB costs no more


def text(value: str, limit: int) -> str:
    """Mask possible credentials, then cut to ``limit`` characters."""
    value = value[:_READ_AT_MOST]
    if "eyJ" in value or len(value) >= _LEAST_THREE_PARTS:  # most values need no regular expression
        value = _TOKEN.sub(REDACTED, value)
    if "=" in value or "%" in value or " " in value or "\t" in value:
        value = _NAMED.sub(rf"\1{REDACTED}", value)
    return value if len(value) <= limit else f"{value[:limit]}..."


def path(target: bytes, limit: int) -> str:
    """Return a request target's path without its query, in any encoding."""
    shown = target[:_READ_AT_MOST].partition(b"?")[0].decode("utf-8", "backslashreplace")
    if "#" in shown or ";" in shown or "%" in shown:
        shown = _AFTER_PATH.sub(rf"\1{REDACTED}", shown)
        if not _TOKEN.search(shown) and _TOKEN.search(unquote(shown)):
            return REDACTED  # an encoded token
    return text(shown, limit)
