"""The schema of labels: what a gateway and Looma's allocations choose an instance by."""

import re
from typing import Final

from sidecar.documents.findings import BadValueError, quoted
from sidecar.documents.kinds import Mapped, Text

MAX_LABELS: Final = 32  # a registry's other limits: Consul keeps 64 values for a service
_MAX_VALUE: Final = 256  # characters; a gateway refuses an instance with a longer one

_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}")  # Consul accepts no other names


def label_name(text: str) -> str:
    """Return a label's name unchanged. Raises BadValueError."""
    if not _NAME.fullmatch(text):
        hint = "at most 63 letters, digits, _ and -"
        raise BadValueError(f"must be the name of a label, not {quoted(text)}", hint)
    return text


def label_value(text: str) -> str:
    """Return a label's value unchanged. Raises BadValueError."""
    if not text.isprintable() or not 0 < len(text) <= _MAX_VALUE:
        message = f"must be 1 to {_MAX_VALUE} printable characters, not {quoted(text)}"
        raise BadValueError(message)
    return text


LABELS: Final = Mapped(Text(label_value), key=Text(label_name), max_items=MAX_LABELS)
