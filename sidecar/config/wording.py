"""What pydantic found, told to a person: what is wrong and what would be right."""

from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from sidecar.config.findings import BadValueError, Place, Problem, one_of, quoted
from sidecar.config.model import Section
from sidecar.config.schema import keys_of, places_of, section_at

_TRUTH = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def problems(
    error: ValidationError, root: type[Section], texts: Mapping[Place, str], at: Place = ()
) -> Iterator[Problem]:
    """Turn the errors of a value that stands at ``at`` and was held against ``root`` into problems.

    ``texts`` tells how a value that is no text was written.
    """
    found = error.errors(include_url=False)
    meant = {
        (*detail["loc"][:-1], near)
        for detail in found
        if detail["type"] == "extra_forbidden"
        for near in _near(root, detail["loc"])
    }
    for detail in found:
        place: Place = tuple(part for part in detail["loc"] if part != "[key]")
        if detail["type"] == "missing" and place in meant:
            continue  # the misspelt key is what is missing
        if detail["type"] == "too_short" and detail["input"]:
            continue  # its items are wrong, and each of them is told
        code, message, hint = _worded(detail, root, texts, at)
        yield Problem(
            (*at, *(place[:-1] if detail["type"] == "missing" else place)), code, message, hint
        )


def name_of(place: Place) -> str:
    """How a message calls a value: by its key, and an item by its number too."""
    keys = [part for part in place if isinstance(part, str)]
    if not keys:
        return "the file"
    if place and isinstance(place[-1], int):
        return f"item {place[-1] + 1} of `{keys[-1]}`"
    return quoted(keys[-1])


def _near(root: type[Section], place: Place) -> list[str]:
    section = section_at(root, place[:-1])
    return get_close_matches(str(place[-1]), keys_of(section), n=1) if section else []


def _worded(
    detail: Any, root: type[Section], texts: Mapping[Place, str], at: Place
) -> tuple[str, str, str]:
    kind, place, value = detail["type"], detail["loc"], detail["input"]
    if kind == "extra_forbidden":
        return _unknown(root, place)
    if kind == "missing":
        return "missing-key", f"{name_of((*at, *place[:-1]))} lacks the key `{place[-1]}`", ""
    name = name_of((*at, *place))
    wrong = (detail.get("ctx") or {}).get("error")
    if isinstance(wrong, BadValueError):
        return "bad-value", f"{name} {wrong}", wrong.help
    if value is None:
        return "wrong-type", f"{name} is empty", f"it must be {_EXPECTED.get(kind, 'given')}"
    if kind in _BOUNDS:
        return "bad-value", f"{name} {_BOUNDS[kind](detail['ctx'], value)}", ""
    if kind == "literal_error":
        return ("bad-value", *_choice(name, detail["ctx"]["expected"], value))
    written = texts.get((*at, *place))
    expected = _EXPECTED.get(kind, "something else")
    return (
        "wrong-type",
        f"{name} must be {expected}, not {_kind(value)}",
        _repair(kind, value, written),
    )


def _unknown(root: type[Section], place: Place) -> tuple[str, str, str]:
    key = str(place[-1])
    near = _near(root, place) or list(places_of(root, key))
    if len(near) == 1:
        return "misspelt-key", f"unknown key {quoted(key)}, did you mean `{near[0]}`?", ""
    section = section_at(root, place[:-1])
    known = f"known here: {', '.join(keys_of(section))}" if section else ""
    return "unknown-key", f"unknown key {quoted(key)}", known


def _choice(name: str, expected: str, value: object) -> tuple[str, str]:
    words = [word.strip("'") for word in expected.replace(" or ", ", ").split(", ")]
    if not isinstance(value, str):
        return f"{name} must be {one_of(words)}", ""
    near = get_close_matches(value.lower(), words, n=1)
    hint = f"did you mean {near[0]}?" if near else ""
    return f"{name} must be {one_of(words)}, not {quoted(value)}", hint


def _repair(kind: str, value: object, written: str | None) -> str:
    if kind == "string_type" and written is not None:
        return f'put it in quotes: "{written}"'
    if kind == "tuple_type" and isinstance(value, str):
        return f"write [{value}]" if value.isalnum() else f'write ["{value}"]'
    if kind == "bool_type" and isinstance(value, str) and value.lower() in _TRUTH:
        return f"write {_TRUTH[value.lower()]}"
    if kind == "bool_type" and isinstance(value, str) and value.lower() in {"true", "false"}:
        return "write it without quotes"
    if kind == "int_type" and isinstance(value, str) and value.isdigit():
        return "write it without quotes"
    return ""


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    return "a list" if isinstance(value, list) else "a mapping"


_EXPECTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
}

_BOUNDS: Mapping[str, Callable[[Any, Any], str]] = {
    "greater_than_equal": lambda bound, value: f"must be at least {bound['ge']}, not {value}",
    "less_than_equal": lambda bound, value: f"must be at most {bound['le']}, not {value}",
    "too_short": lambda bound, value: "is an empty list",  # noqa: ARG005 -- all of them are called alike
    "too_long": lambda bound, value: (
        f"has {len(value)} items, at most {bound['max_length']} are taken"
    ),
}
