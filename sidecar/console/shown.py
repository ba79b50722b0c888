"""Values from other programs, as the console shows them: of bounded size, without surprises.

A registry's entries are written by every node, so each is hostile. Characters that are not
printable (controls, and those that change the direction of text) are shown as escapes.
"""

import hashlib
import math
import re
from datetime import datetime
from typing import Any, Final

MAX_TEXT: Final = 256  # characters; nodes' names are far shorter, and a page shows hundreds
MAX_NUMBER: Final = 2**53  # JSON numbers are exact up to it in a browser
MAX_TIME: Final = 253402300799.0  # 9999-12-31

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def text(value: object, limit: int = MAX_TEXT) -> str:
    """Return a text as it can be shown, cut at ``limit`` characters; "" for anything else."""
    if not isinstance(value, str):
        return ""
    cut = value[:limit]
    if not cut.isprintable():
        cut = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in cut)[:limit]
    return cut + "…" if len(value) > limit else cut


def name(value: object) -> str:
    """Return an id that is valid in a URL's path: different ids stay different."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    given = str(value) if isinstance(value, str) else str(value)[:128]
    if _ID.fullmatch(given) and given not in {".", ".."}:
        return given
    digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", given[:64]).strip("-")
    return f"{plain}-{digest}" if given else ""


def count(value: object) -> int | None:
    """Return a count, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_NUMBER:
        return None
    return value


def number(value: object) -> float | None:
    """Return a number from 0 on, None for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value) or not 0 <= value <= MAX_NUMBER:
        return None
    return float(value)


def moment(value: object) -> float | None:
    """Return seconds since the epoch of an RFC 3339 text or a number; None for anything else."""
    if isinstance(value, str) and len(value) <= 40:
        try:
            found = datetime.fromisoformat(value)
            seconds = found.timestamp() if found.tzinfo else math.nan
        except (ValueError, OverflowError):
            return None
        return seconds if 0 <= seconds <= MAX_TIME else None
    found_number = number(value)
    return found_number if found_number is None or found_number <= MAX_TIME else None


def flag(value: object) -> bool | None:
    """Return a boolean, None for anything else."""
    return value if isinstance(value, bool) else None


def labels(value: object, most: int = 32) -> dict[str, str]:
    """Return the first labels as they can be shown."""
    if not isinstance(value, dict):
        return {}
    shown = {}
    for key, entry in list(value.items())[:most]:
        given = str(entry) if isinstance(entry, int | float) else entry
        shown[text(key, 64)] = text(given)
    return shown


def mapping(value: object) -> dict[str, Any]:
    """Return an object, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """Return a list, an empty one for anything else."""
    return value if isinstance(value, list) else []
