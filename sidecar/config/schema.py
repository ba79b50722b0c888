"""The schema as something to look up in: which keys a place has."""

from collections.abc import Iterator
from typing import Any, get_args, get_origin

from sidecar.config.findings import Place
from sidecar.config.model import Section


def section_at(root: type[Section], place: Place) -> type[Section] | None:
    """The section at a place of a document, None where no section stands."""
    section: type[Section] | None = root
    for key in place:
        if isinstance(key, int):
            continue
        if section is None:
            return None
        section = _section_in(keys_of(section).get(key))
    return section


def keys_of(section: type[Section]) -> dict[str, Any]:
    """The keys of a section as they are written, each with its type."""
    return {field.alias or name: field.annotation for name, field in section.model_fields.items()}


def places_of(root: type[Section], key: str) -> Iterator[str]:
    """Where in the whole schema a key is known, as ``a.b``."""
    for name, annotation in keys_of(root).items():
        if name == key:
            yield name
        if section := _section_in(annotation):
            for place in places_of(section, key):
                yield f"{name}.{place}"


def _section_in(annotation: Any) -> type[Section] | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation
    if get_origin(annotation) is dict:
        return None
    found = map(_section_in, get_args(annotation))
    return next((section for section in found if section), None)
