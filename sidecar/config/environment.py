"""``${NAME}`` under ``looma.service``, so that all pods can share one ConfigMap."""

import re
from collections.abc import Mapping
from typing import Any

from sidecar.documents.findings import Place, Problem, quoted
from sidecar.documents.untyped import at, mapping

PLACE: Place = ("looma", "service")
LABELS = "labels"

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def expand_service(document: object, environ: Mapping[str, str]) -> tuple[object, list[Problem]]:
    """Return the document with ``looma.service`` filled in, and the problems.

    A value that cannot be filled in stays unchanged.
    """
    service = mapping(at(document, *map(str, PLACE)))
    problems: list[Problem] = []

    def fill(place: Place, values: Mapping[str, object]) -> dict[str, object]:
        filled: dict[str, object] = {}
        for key, value in values.items():
            filled[key] = value
            if key == LABELS and place == PLACE and isinstance(value, dict):
                filled[key] = fill((*place, key), value)
            elif isinstance(value, str) and "$" in value:
                name = key if place == PLACE else f"{LABELS}.{key}"
                try:
                    filled[key] = _expand(name, value, environ)
                except LookupError as error:
                    cause = str(error.args[0])
                    problems.append(Problem((*place, key), "environment", cause, _hint(value)))
        return filled

    filled = fill(PLACE, service)
    if not service:
        return document, problems
    whole: dict[str, Any] = dict(mapping(document))
    whole["looma"] = {**mapping(whole["looma"]), "service": filled}
    return whole, problems


def _expand(key: str, value: str, environ: Mapping[str, str]) -> object:
    if "$" in _REFERENCE.sub("", value):
        raise LookupError(f"`{key}` has a $ that is not part of ${{NAME}}")

    def look_up(found: re.Match[str]) -> str:
        held = environ.get(found[1])
        if not held:
            state = "is not set" if held is None else "is empty"
            raise LookupError(f"`{key}` needs the environment variable {found[1]}, which {state}")
        if not held.isprintable():
            raise LookupError(f"the environment variable {found[1]} contains a control character")
        return held

    text = _REFERENCE.sub(look_up, value)
    if key != "port":
        return text
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise LookupError(f"`port` becomes {quoted(text)}, which is not a valid port")
    return int(text)


def _hint(value: str) -> str:
    names = [name for name in re.findall(r"\$([A-Za-z_][A-Za-z0-9_]*)", value) if name]
    return f"write ${{{names[0]}}}" if names else ""
