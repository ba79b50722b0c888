"""Examines an Envoy that remembers allows: it must be as ``generate envoy --remember`` writes it.

What remembers is taken out of the document, which then is like one that asks about every request.
What differs from the generated parts is an error.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, Final, NamedTuple

import yaml

from sidecar.core.remembering import LONGEST, PSEUDO_HEADERS
from sidecar.documents.findings import Problem
from sidecar.workbench.doctor.context import Wanted, error
from sidecar.workbench.doctor.document import Part, is_bounded
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
    memory_of,
    never_from_clients,
    script,
)

CODE: Final = "remember"

_LUA: Final = "envoy.extensions.filters.http.lua.v3.Lua"
_WRAPPER: Final = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
_ACTION: Final = ("typed_config", "xds_matcher", "on_no_match", "action", "typed_config")
_FILTERS: Final = 3  # of those that remember, ask, and deny
_HINT: Final = "write the file again with `generate envoy --remember`; change none of these lines"
_LONGEST: Final = re.compile(r"local LONGEST = ([1-9][0-9]{0,3})\n")
_NAME: Final = re.compile(r'"([a-z0-9!#$%&\'*+.^_`|~:-]{1,100})"')
_MAX_TABLE: Final = 20_000  # characters
_EXAMINED: Final = ["{}"]  # in place of settings that are examined as in any other file


# In place of what depends on the configuration.
_PROGRAM, _NAMES, _MEMORY_NAME = "program\n", "names", "memory"
_MEMORY, _ASK, _LOCK = yaml.safe_load(
    "\n".join(
        (*filter_lines(_MEMORY_NAME, _PROGRAM), *ask_lines(_EXAMINED), *lock_lines(_EXAMINED))
    )
)
_EARLY: Final = yaml.safe_load("\n".join(early_lines(_NAMES)))[EARLY]


class _Filters(NamedTuple):
    """The filters of a connection manager that remember; ``lock`` contains what learns."""

    manager: Part
    memory: Part
    ask: Part
    lock: Part

    @property
    def name(self) -> str:
        """The name of the memory."""
        return str(self.memory.get("typed_config", "shared_vm_id"))

    @property
    def ext_authz(self) -> Part:
        """The settings of ext_authz."""
        return self.ask.below(*_ACTION, "typed_config", "typed_config")

    @property
    def asked(self) -> object:
        """The cluster that is asked."""
        return self.ext_authz.get("grpc_service", "envoy_grpc", "cluster_name")


def with_memory(source: Source, wanted: Wanted, pin: Pin) -> Source:
    """Return what is left to examine, with the differences as problems.

    ``pin`` is called with the places of the settings that move out of their wrappers.
    """
    if not is_bounded(source.parts()):
        return source  # which is reported
    found = [
        _Filters(manager, *filters)
        for listener in source.listeners
        for manager in managers(listener)
        if (filters := _filters(manager))
    ]
    problems = [*source.problems, *_shared(found)]
    for each in found:
        problems += _differences(each, wanted)
    for each in found:
        _unwrap(each, pin)
    accepted = {each.memory.place for each in found}
    return replace(source, problems=tuple(problems), memories=source.memories | accepted)


def _shared(found: Sequence[_Filters]) -> Iterator[Problem]:
    """Yield that two listeners have one memory of what different sidecars allow."""
    asked: dict[str, object] = {}
    for each in found:
        if asked.setdefault(each.name, each.asked) != each.asked:
            message = "this filter has the memory of one that asks another sidecar"
            yield error(each.memory.place, CODE, message, "another `shared_vm_id` for each sidecar")


def _filters(manager: Part) -> list[Part]:
    """Return the filters that remember, ask, and deny; none without a memory.

    A filter that is missing at the end has no settings.
    """
    pairs = enumerate(pairwise(kinds_of(manager)))
    place = next((index for index, pair in pairs if pair == (_LUA, _WRAPPER)), None)
    if place is None:
        return []
    memory, ask, *after = list(manager.each("http_filters"))[place:][:_FILTERS]
    return [memory, ask, *(after or [Part(ask.place, {})])]


def _differences(filters: _Filters, wanted: Wanted) -> Iterator[Problem]:
    manager, memory, ask, lock = filters
    key = filters.ext_authz.key("metadata_context_namespaces")
    if filters.ext_authz.value.get(key) != [QUESTION]:
        yield error(ask.place, CODE, f"`{key}` of ext_authz is not as generated", _HINT)
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
    name = filters.name
    if wanted.address is not None or not name.startswith(memory_of("")):
        name = memory_of(wanted.address or "")
    expected = partial(_with, {_PROGRAM: program, _MEMORY_NAME: name})
    names = never_from_clients(heeded)
    early = Part((*manager.place, manager.key(EARLY)), {})
    parts = (
        (memory, memory.value, expected(_MEMORY), "the Lua filter before ext_authz is"),
        (ask, ask.value, _ASK, "what decides whether the sidecar is asked is"),
        (lock, lock.value, expected(_LOCK), "the second lock, or the Lua filter after it, is"),
        (early, manager.get(EARLY), names and _with({_NAMES: names}, _EARLY), f"`{EARLY}` is"),
    )
    for part, found, written, what in parts:
        if not _same(found, written or None):
            yield error(part.place, CODE, f"{what} not as generated", _HINT)


def _with(texts: Mapping[str, str], written: Any) -> Any:
    """Return a generated part with the texts of this configuration in it."""
    if isinstance(written, dict):
        return {name: _with(texts, value) for name, value in written.items()}
    if isinstance(written, list):
        return [_with(texts, value) for value in written]
    return texts.get(written, written) if isinstance(written, str) else written


def _heeded_by(text: str) -> Heeded:
    """Return the headers that a program heeds, where no configuration says which it must."""
    deciding, removed = _listed(text, "KEY"), _listed(text, "REMOVED")
    return Heeded(tuple(n for n in deciding if n not in PSEUDO_HEADERS), removed)


def _listed(text: str, name: str) -> tuple[str, ...]:
    """Return the names in a table of a program, none if there are more than there can be."""
    _, _, rest = text.partition(f"local {name} = {{\n")
    table, _, _ = rest.partition("}\n")
    return tuple(_NAME.findall(table)) if len(table) < _MAX_TABLE else ()


def _first_difference(text: str, written: str) -> int:
    lines, others = text.splitlines(), written.splitlines()
    for number, (line, other) in enumerate(zip(lines, others, strict=False), 1):
        if line != other:
            return number
    return min(len(lines), len(others)) + 1


def _unwrap(filters: _Filters, pin: Pin) -> None:
    """Put the settings of ext_authz and of the second lock where other files have them."""
    chain = filters.lock.below(*_ACTION, "filter_chain")
    lock, *_ = [*chain.each("typed_config"), Part((), {})]
    inner = ((filters.ask, filters.ext_authz), (filters.lock, lock.below("typed_config")))
    own: Any = filters.manager.value[filters.manager.key("http_filters")]
    for outer, settings in inner:
        if settings.value:
            pin(settings.place)
            # Another listener without a memory may have the same filters, by an alias of YAML.
            own[outer.place[-1]] = outer.value | {outer.key("typed_config"): settings.value}
            settings.value.pop(settings.key("metadata_context_namespaces"), None)
    filters.manager.value.pop(filters.manager.key(EARLY), None)


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
