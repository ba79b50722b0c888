"""Which keys differ between two versions of ``sidecar.yaml``."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from sidecar.config.model import Listen, Settings

# Sockets are bound once; whether a Check keeps its trace is chosen with the transport's methods.
_AT_START = frozenset({"listen", "tracing"})


def needs_restart(key: str) -> bool:
    """Return whether a change of this key takes effect only after a restart."""
    return key.partition(".")[0] in _AT_START


def changed_keys(one: Settings | Listen, other: Settings | Listen) -> tuple[str, ...]:
    """Return the keys whose values differ, as ``listen.authz``; lists count as a whole."""
    return tuple(_changed(one, other, ""))


def _changed(one: Any, other: Any, above: str) -> Iterator[str]:
    for field in fields(one):
        ours, theirs = getattr(one, field.name), getattr(other, field.name)
        key = above + field.name
        if ours == theirs:
            continue
        if is_dataclass(ours) and type(ours) is type(theirs):
            yield from _changed(ours, theirs, f"{key}.")
        else:
            yield key
