"""Sections: mappings of known keys, described by dataclasses whose fields are annotated kinds."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from typing import Any, NamedTuple, TypeVar, get_type_hints

from sidecar.documents.findings import Place, Problem, dotted, quoted
from sidecar.documents.kinds import Kind, List, Notes, Optional, RefusedError, name_of

LIKENESS = 0.7  # of two keys, so that one may be a typo of the other: `port` is not `transport`

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Section:
    """A mapping whose keys are the fields of a dataclass, of which it becomes an instance.

    The dataclass may have ``MOVED``: former keys with the whole path of their successors.
    """

    of: type[Any]

    def read(self, value: object, place: Place, notes: Notes) -> Any:
        """Read a mapping."""
        return read_section(self.of, value, place, notes)


def read_section(section: type[T], value: object, place: Place, notes: Notes) -> T:
    """Read a mapping of known keys. Raises RefusedError after noting every problem."""
    known, required = keys_of(section)
    if not isinstance(value, dict):
        probably = isinstance(value, str) and len(required) == 1  # the value may be a secret
        hint = f"write {{{required[0]}: ...}}" if probably else ""
        raise notes.wrong_type(value, place, "a mapping of keys", hint)
    given: dict[str, Any] = {}
    meant: set[str | None] = set()
    refused = False
    for name, entry in value.items():
        kind = known.get(name)
        if kind is None:
            refused = True
            meant.add(_note_unknown(name, section, place, notes))
            continue
        try:
            given[name] = kind.read(entry, (*place, name), notes)
        except RefusedError:
            refused = True
    for name in required:
        if name not in value:
            refused = True
            if name not in meant:  # otherwise a typo was reported, and it is the missing key
                notes.refuse(place, "missing-key", f"requires the key `{name}`")
    if refused:
        raise RefusedError
    return section(**given)


class Keys(NamedTuple):
    """The keys of a section: the kind of each, and which are required."""

    kinds: Mapping[str, Kind]
    required: tuple[str, ...]


def keys_of(section: type[Any]) -> Keys:
    """Return the keys of a section."""
    if section not in _keys:
        hints = get_type_hints(section, include_extras=True)
        own = fields(section)
        _keys[section] = Keys(
            {each.name: hints[each.name].__metadata__[0] for each in own},
            tuple(
                each.name
                for each in own
                if each.default is MISSING and each.default_factory is MISSING
            ),
        )
    return _keys[section]


_keys: dict[type[Any], Keys] = {}  # reading annotations takes a while, and routes are many


def places_of(section: type[Any], wanted: str) -> Iterator[str]:
    """Yield the places in and below a section that have a key, as ``a.b``."""
    for name, kind in keys_of(section).kinds.items():
        if name == wanted:
            yield name
        below = section_in(kind)
        if below is not None:
            for place in places_of(below, wanted):
                yield f"{name}.{place}"


def _shallowest(places: Iterable[str]) -> list[str]:
    """Return the places that are inside the fewest sections."""
    found = [(place.count("."), place) for place in places]
    return [place for depth, place in found if depth == min(found)[0]]


def section_in(kind: Kind) -> type[Any] | None:
    """Return the section that values of a kind are, or are lists of; None for other kinds."""
    while isinstance(kind, Optional | List):
        kind = kind.of
    return kind.of if isinstance(kind, Section) else None


def _note_unknown(name: str, section: type[Any], place: Place, notes: Notes) -> str | None:
    """Note an unknown key; return the key that was probably meant, or None."""
    if (successor := getattr(section, "MOVED", {}).get(name)) is not None:
        message = f"`{dotted((*place, name))}` is now `{successor}`"
        notes.problems.append(Problem((*place, name), "moved-key", message, "move it there"))
        return None
    near = get_close_matches(name, keys_of(section).kinds, n=1, cutoff=LIKENESS)
    meant = near or _shallowest(places_of(section, name))
    message = f"unknown key {quoted(name)}"
    if len(meant) == 1:
        message += f", did you mean `{meant[0]}`?"
        notes.problems.append(Problem((*place, name), "misspelt-key", message))
        return meant[0].partition(".")[0]
    known = f"{name_of(place)} accepts {', '.join(keys_of(section).kinds)}"
    notes.problems.append(Problem((*place, name), "unknown-key", message, known))
    return None
