"""Examines an Envoy that remembers allows: it must be as ``generate envoy --remember`` writes it.

What is, is deleted from the document, and its filter is accepted before ext_authz. What differs is
an error.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from sidecar.core.remembering import LONGEST, PSEUDO_HEADERS
from sidecar.documents.findings import Problem
from sidecar.workbench.doctor.context import Wanted, error
from sidecar.workbench.doctor.document import Part, snake, type_name
from sidecar.workbench.doctor.filters import EXT_AUTHZ, RBAC, kinds_of
from sidecar.workbench.doctor.sources import Source, managers
from sidecar.workbench.generate.remember import (
    ASKED,
    FILTER,
    LUA,
    PRINCIPAL,
    QUESTION,
    Heeded,
    script,
)

CODE: Final = "remember"

OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

_LUA: Final = LUA.rpartition("/")[2]
_HINT: Final = "write the file again with `generate envoy --remember`; change none of these lines"
_LONGEST: Final = re.compile(r"local LONGEST = ([1-9][0-9]{0,3})\n")
_TABLE: Final = r"local %s = \{\n([^}]*)\}\n"
_NAME: Final = re.compile(r'\["([a-z0-9!#$%&\'*+.^_`|~:-]+)"\] =')


def with_memory(source: Source, wanted: Wanted) -> Source:
    """Return what is left to examine, with the differences as problems."""
    problems = list(source.problems)
    accepted = set(source.memories)
    for listener in source.listeners:
        for manager in managers(listener):
            kinds = kinds_of(manager)
            place = kinds.index(EXT_AUTHZ) if EXT_AUTHZ in kinds else 0
            if place == 0 or kinds[place - 1] != _LUA:
                continue
            filters = list(manager.each("http_filters"))
            lua, authz, *after = filters[place - 1 :]
            accepted.add(lua.place)
            problems += _program(lua, wanted)
            problems += _asked(authz.below("typed_config"))
            _move_retries(authz.below("typed_config", "grpc_service"), source.clusters)
            lock = after[0].below("typed_config") if after else authz
            if type_name(lock) == RBAC:
                problems += _lock(lock)
    return replace(source, problems=tuple(problems), memories=frozenset(accepted))


def _program(lua: Part, wanted: Wanted) -> Iterator[Problem]:
    """Yield that the filter is not exactly the generated one."""
    config = lua.below("typed_config")
    code = config.below("default_source_code")
    text = code.get("inline_string")
    bare = set(config.value) == {"@type", config.key("default_source_code")}
    if lua.get("name") != FILTER or not bare or len(code.value) != 1 or not isinstance(text, str):
        message = "a Lua filter before ext_authz is not the one that remembers allows"
        yield error(lua.place, CODE, message, _HINT)
        return
    place = (*code.place, code.key("inline_string"))
    longest = _LONGEST.match(text)
    if longest is None or int(longest[1]) > LONGEST * 1000:
        message = f"the filter must remember for 1 to {LONGEST * 1000:.0f} ms"
        yield error(place, CODE, message, _HINT)
        return
    heeded = wanted.heeded or _heeded_by(text)
    written = script(int(longest[1]), heeded)
    if wanted.heeded is None and (lacking := sorted({*wanted.headers} - {*heeded.removed})):
        message = f"the filter passes a client's {', '.join(lacking)}"
        yield error(place, CODE, message, _HINT)
    elif text.rstrip("\n") != written.rstrip("\n"):
        line = _first_difference(text, written)
        message = f"line {line} of the filter's program is not as generated for this configuration"
        yield error(place, CODE, message, _HINT)


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


def _asked(authz: Part) -> Iterator[Problem]:
    """Yield that ext_authz does not ask about every request that the filter did not answer."""
    wanted: Mapping[str, Any] = {
        "filter_enabled_metadata": ASKED,
        "metadata_context_namespaces": [QUESTION],
    }
    for name, written in wanted.items():
        key = authz.key(name)
        found = authz.value.pop(key, None)
        if not _same(found, written):
            message = f"`{name}` of ext_authz is not as generated"
            yield error((*authz.place, key) if found else authz.place, CODE, message, _HINT)


def _move_retries(service: Part, clusters: tuple[Part, ...]) -> None:
    """Move the retry policy of the sidecar's cluster to where it is examined."""
    name = service.get("envoy_grpc", "cluster_name")
    (cluster, *others) = [each for each in clusters if each.get("name") == name] or [service]
    options = cluster.below("typed_extension_protocol_options", OPTIONS)
    key = options.key("retry_policy")
    if not others and key in options.value and not service.has("retry_policy"):
        service.value["retry_policy"] = options.value.pop(key)


def _lock(rbac: Part) -> Iterator[Problem]:
    """Yield that the second lock does not pass exactly what the filter answered."""
    for policy in rbac.below("rules").members("policies"):
        principals = policy.value.get(policy.key("principals"))
        if (
            isinstance(principals, list)
            and len(principals) > 1
            and _same(principals[-1], PRINCIPAL)
        ):
            principals.pop()
            return
    message = "the second lock does not pass what was answered from memory as generated"
    yield error(rbac.place, CODE, message, _HINT)


def _same(found: object, written: object) -> bool:
    """Compare a part with what is generated; a config_dump leaves out the default of an enum."""
    text = json.dumps(snake(found), sort_keys=True)
    return text.replace(_DEFAULT, "") == json.dumps(written, sort_keys=True).replace(_DEFAULT, "")


_DEFAULT: Final = ', "metadata_source": "DYNAMIC"'
