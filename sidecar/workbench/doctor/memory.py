"""Examines an Envoy that remembers allows: it must be as ``generate envoy --remember`` writes it.

What remembers is taken out of the document, which then is like one that asks about every request.
What differs from the generated parts is an error.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

import yaml

from sidecar.core.remembering import LONGEST, PSEUDO_HEADERS
from sidecar.documents.findings import Problem
from sidecar.workbench.doctor.context import Wanted, error
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.filters import kinds_of
from sidecar.workbench.doctor.shapes import Pin
from sidecar.workbench.doctor.sources import Source, managers
from sidecar.workbench.generate.remember import (
    EARLY,
    QUESTION,
    Heeded,
    ask_lines,
    early_lines,
    filter_lines,
    lock_lines,
    never_from_clients,
    script,
)

CODE: Final = "remember"

_LUA: Final = "envoy.extensions.filters.http.lua.v3.Lua"
_WRAPPER: Final = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
_ASKED: Final = ("xds_matcher", "on_no_match", "action", "typed_config", "typed_config")
_FILTERS: Final = 4  # of those that remember, ask, deny, and learn
_HINT: Final = "write the file again with `generate envoy --remember`; change none of these lines"
_LONGEST: Final = re.compile(r"local LONGEST = ([1-9][0-9]{0,3})\n")
_TABLE: Final = r"local %s = \{\n([^}]*)\}\n"
_NAME: Final = re.compile(r'"([a-z0-9!#$%&\'*+.^_`|~:-]+)"')
_EXAMINED: Final = ["{}"]  # in place of settings that are examined as in any other file


_PROGRAM, _NAMES = "program\n", "names"  # in place of what depends on the configuration
_MEMORY, _ASK, _LOCK, _LEARN = yaml.safe_load(
    "\n".join((*filter_lines(_PROGRAM), *ask_lines(_EXAMINED), *lock_lines(_EXAMINED)))
)
_EARLY: Final = yaml.safe_load("\n".join(early_lines(_NAMES)))[EARLY]


def with_memory(source: Source, wanted: Wanted, pin: Pin) -> Source:
    """Return what is left to examine, with the differences as problems.

    ``pin`` is called with the places of the settings that move out of their wrappers.
    """
    problems = list(source.problems)
    accepted = set(source.memories)
    for listener in source.listeners:
        for manager in managers(listener):
            place = _place(kinds_of(manager))
            if place is not None:
                memory, ask, *after = list(manager.each("http_filters"))[place:][:_FILTERS]
                accepted |= {memory.place, *(each.place for each in after[1:])}
                problems += _differences(manager, memory, ask, after, wanted)
                _unwrap(manager, ask, after, pin)
                problems += _question(ask.below("typed_config"))
    return replace(source, problems=tuple(problems), memories=frozenset(accepted))


def _place(kinds: Sequence[str]) -> int | None:
    """Return the index of the filter that remembers, None without one."""
    pairs = enumerate(pairwise(kinds))
    return next((index for index, pair in pairs if pair == (_LUA, _WRAPPER)), None)


def _differences(
    manager: Part, memory: Part, ask: Part, after: Sequence[Part], wanted: Wanted
) -> Iterator[Problem]:
    code = memory.below("typed_config", "default_source_code")
    text = code.get("inline_string")
    if not isinstance(text, str):
        message = "a Lua filter before ext_authz is not the one that remembers allows"
        yield error(memory.place, CODE, message, _HINT)
        return
    place = (*code.place, code.key("inline_string"))
    longest = _LONGEST.match(text)
    if longest is None or int(longest[1]) > LONGEST * 1000:
        message = f"the filter must remember for 1 to {LONGEST * 1000:.0f} ms"
        yield error(place, CODE, message, _HINT)
        return
    heeded = wanted.heeded or _heeded_by(text)
    if wanted.heeded is None and (lacking := sorted({*wanted.headers} - {*heeded.removed})):
        message = f"Envoy passes a client's {', '.join(lacking)}"
        yield error(place, CODE, message, _HINT)
        return
    program = script(int(longest[1]), heeded)
    if text != program:
        line = _first_difference(text, program)
        message = f"line {line} of the filter's program is not as generated for this configuration"
        yield error(place, CODE, message, _HINT)
        return
    missing = Part(ask.place, {})
    lock, learn, *_ = *after, missing, missing
    names = never_from_clients(heeded)
    early = Part((*manager.place, manager.key(EARLY)), {})
    parts = (
        (memory, memory.value, _with(program, _MEMORY), "the Lua filter before ext_authz is"),
        (ask, ask.value, _ASK, "what decides whether the sidecar is asked is"),
        (lock, lock.value, _LOCK, "the second lock is"),
        (learn, learn.value, _with(program, _LEARN), "the Lua filter after the second lock is"),
        (early, manager.get(EARLY), names and _with(names, _EARLY), f"`{EARLY}` is"),
    )
    for part, found, written, what in parts:
        if not _same(found, written or None):
            yield error(part.place, CODE, f"{what} not as generated", _HINT)


def _with(text: str, written: Any) -> Any:
    """Return a generated part with a text of this configuration in it."""
    if isinstance(written, dict):
        return {name: _with(text, value) for name, value in written.items()}
    if isinstance(written, list):
        return [_with(text, value) for value in written]
    return text if written in (_PROGRAM, _NAMES) else written


def _heeded_by(text: str) -> Heeded:
    """Return the headers that a program heeds, where no configuration says which it must."""
    deciding, removed = (
        _NAME.findall(found[1]) if (found := re.search(_TABLE % name, text)) else []
        for name in ("KEY", "REMOVED")
    )
    return Heeded(tuple(n for n in deciding if n not in PSEUDO_HEADERS), tuple(removed))


def _first_difference(text: str, written: str) -> int:
    lines, others = text.splitlines(), written.splitlines()
    for number, (line, other) in enumerate(zip(lines, others, strict=False), 1):
        if line != other:
            return number
    return min(len(lines), len(others)) + 1


def _unwrap(manager: Part, ask: Part, after: Sequence[Part], pin: Pin) -> None:
    """Put the settings of ext_authz and of the second lock where other files have them."""
    inner = [(ask, ask.below("typed_config", *_ASKED, "typed_config"))]
    if after:
        lock = after[0].below("typed_config", "extension_config", "typed_config")
        inner.append((after[0], lock))
    for outer, settings in inner:
        if settings.value:
            pin(settings.place)
            outer.value[outer.key("typed_config")] = settings.value
    manager.value.pop(manager.key(EARLY), None)


def _question(ext_authz: Part) -> Iterator[Problem]:
    """Yield that ext_authz does not tell the sidecar what was answered from memory."""
    key = ext_authz.key("metadata_context_namespaces")
    if ext_authz.value.pop(key, None) != [QUESTION]:
        message = f"`{key}` of ext_authz is not as generated"
        yield error(ext_authz.place, CODE, message, _HINT)


def _same(found: object, written: object) -> bool:
    """Compare a part with what is generated, whatever the spelling of its fields."""
    if isinstance(written, list):
        same = isinstance(found, list) and len(found) == len(written)
        return same and all(map(_same, found, written))  # type: ignore[call-overload]  # -- a list
    if not isinstance(written, dict):
        return type(found) is type(written) and found == written
    if not isinstance(found, dict) or not written:
        return isinstance(found, dict)
    part = Part((), found)
    keys = {name: part.key(name) for name in written}
    return {*keys.values()} == {*found} and all(
        _same(found[keys[name]], value) for name, value in written.items()
    )
