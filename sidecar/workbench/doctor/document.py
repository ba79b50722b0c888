"""An Envoy configuration, a bootstrap or a config_dump, as its listeners, clusters and routes.

Envoy accepts each field under two names, ``route_config`` and ``routeConfig``; so does all of this.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from sidecar.documents.findings import Place
from sidecar.documents.foreign_yaml import plain_value
from sidecar.documents.untyped import mapping, sequence
from sidecar.workbench.doctor.profile import camel

MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
MAX_VALUES = 200_000  # of a document after its aliases are expanded: several seconds of examination
TEXT_OF_A_VALUE = 64  # characters of a text that count as one value more
MAX_DEPTH = 100  # levels, with aliases expanded; an Envoy configuration has some thirty


_CAPITAL = re.compile("([A-Z])")
_WORDS = {"y": True, "yes": True, "on": True, "n": False, "no": False, "off": False}


def scalar(text: str) -> object:
    """Return the value of YAML text without quotes, as Envoy reads it (yaml-cpp, tried)."""
    lower = text.lower()
    if lower in _WORDS and text in (lower, text.upper(), text.capitalize()):
        return _WORDS[lower]
    return plain_value(text)


class Part(NamedTuple):
    """A mapping of the document, and where it is."""

    place: Place
    value: dict[str, object]

    def key(self, name: str) -> str:
        """Return the spelling with which a field is present, or ``name``."""
        other = camel(name)
        return other if name not in self.value and other in self.value else name

    def has(self, name: str) -> bool:
        """Return whether a field is present; null and an empty list count as absent."""
        return self.value.get(self.key(name)) not in (None, [])

    def get(self, *names: str) -> object:
        """Return the value at the end of these fields, None if one is missing."""
        part = self
        for name in names[:-1]:
            part = part.below(name)
        return part.value.get(part.key(names[-1]))

    def below(self, *names: str) -> "Part":
        """Return the mapping at the end of these fields, an empty one if there is none."""
        part = self
        for name in names:
            key = part.key(name)
            part = Part((*part.place, key), mapping(part.value.get(key)))
        return part

    def each(self, *names: str) -> Iterator["Part"]:
        """Yield the mappings of the list at the end of these fields."""
        part = self.below(*names[:-1])
        key = part.key(names[-1])
        for index, item in enumerate(sequence(part.value.get(key))):
            yield Part((*part.place, key, index), mapping(item))

    def members(self, name: str) -> Iterator["Part"]:
        """Yield the mappings in a map whose keys the operator chooses."""
        part = self.below(name)
        for key, item in part.value.items():
            yield Part((*part.place, key), mapping(item))


def snake(value: object) -> object:
    """Return a message with the names of its fields as in Envoy's documentation: `string_match`."""
    if isinstance(value, list):
        return [snake(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {_CAPITAL.sub(r"_\1", key).lower(): snake(item) for key, item in value.items()}


def type_name(part: Part) -> str:
    """Return the full name of a ``typed_config``'s message, empty if there is none."""
    kind = part.value.get("@type")
    return kind.rpartition("/")[2] if isinstance(kind, str) else ""


def short(name: str) -> str:
    """Return the last part of a message's full name."""
    return name.rpartition(".")[2]


def is_bounded(document: object) -> bool:
    """Return whether a document is small enough to examine after its aliases are expanded."""
    too_large = MAX_VALUES + 2
    sizes: dict[int, tuple[int, int]] = {}  # of each collection: its values and its levels

    def measure(collection: dict[object, object] | list[object], depth: int) -> tuple[int, int]:
        if id(collection) not in sizes:
            sizes[id(collection)] = too_large, 0  # what contains itself
            if depth <= MAX_DEPTH:
                size, levels = 1, 0
                for item in collection.values() if isinstance(collection, dict) else collection:
                    if isinstance(item, dict | list):
                        more, below = measure(item, depth + 1)
                        size, levels = size + more, max(levels, below)
                    else:
                        size += 1 + (len(item) // TEXT_OF_A_VALUE if isinstance(item, str) else 0)
                sizes[id(collection)] = min(size, too_large), 1 + levels
        size, levels = sizes[id(collection)]
        return (size if depth + levels <= MAX_DEPTH else too_large), levels

    return measure([document], 0)[0] < too_large
