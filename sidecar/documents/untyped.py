"""Reads a document's untyped values; a value of another type counts as absent.

For rules that apply even if other keys are invalid; the schema reports wrong types.
"""

from collections.abc import Sequence

from sidecar.documents.findings import BadValueError
from sidecar.documents.values import seconds


def mapping(value: object) -> dict[str, object]:
    """Return a mapping, an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[object]:
    """Return a list, an empty one for anything else."""
    return value if isinstance(value, list) else ()


def texts(value: object) -> tuple[str, ...]:
    """Return the texts of a list, or of a single text."""
    values = (value,) if isinstance(value, str) else sequence(value)
    return tuple(text for text in values if isinstance(text, str))


def duration(value: object, default: float) -> float | None:
    """Return a duration's seconds, ``default`` if it is absent, None if it is invalid."""
    if value is None:
        return default
    try:
        return seconds(value) if isinstance(value, str) else None
    except BadValueError:
        return None


def at(value: object, *keys: str) -> object:
    """Return the value under these keys, None if one of them is absent."""
    for key in keys:
        value = mapping(value).get(key)
    return value
