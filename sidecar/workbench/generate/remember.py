"""The part of Envoy's bootstrap that remembers allows: a Lua filter, and what heeds its metadata.

``remember.lua`` beside this module is the filter's program; a few lines before it depend on the
configuration. ``doctor`` compares all of this with what it finds.
"""

import json
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final, NamedTuple

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.core.remembering import LONGEST, PSEUDO_HEADERS, coverage, deciding_headers
from sidecar.documents.findings import BadValueError, quoted
from sidecar.documents.values import seconds
from sidecar.extauthz.respond import Responder

FILTER: Final = "zervi.remember"
NAMESPACE: Final = "zervi.remember"  # of the metadata that the filter writes, and nothing else
QUESTION: Final = "zervi.question"

LUA: Final = "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua"

# ext_authz asks unless the filter wrote this. The second lock passes the same value.
_PATH: Final = [{"key": "allow"}, {"key": "reason"}]
_ALLOWS: Final = {
    "or_match": {
        "value_matchers": [{"string_match": {"exact": "ok"}}, {"string_match": {"exact": "public"}}]
    }
}
REMEMBERED: Final[Mapping[str, Any]] = {"filter": NAMESPACE, "path": _PATH, "value": _ALLOWS}
ASKED: Final[Mapping[str, Any]] = {**REMEMBERED, "invert": True}
PRINCIPAL: Final[Mapping[str, Any]] = {
    "sourced_metadata": {"metadata_source": "DYNAMIC", "metadata_matcher": REMEMBERED}
}

# For each request, answered from memory too, Envoy looks its gRPC client up by comparing all of
# `grpc_service`, and a retry policy there is most of it. The cluster's own policy does the same.
RETRIES: Final = (
    "# Of each Check. In grpc_service it would cost time with each request that is answered from",
    "# memory.",
    "retry_policy:",
)

SHORTEST: Final = 0.001  # seconds

_WIDTH: Final = 100  # characters of a line


class Heeded(NamedTuple):
    """The headers that the filter heeds: those that decide, and those that it removes, sorted."""

    deciding: tuple[str, ...]
    removed: tuple[str, ...]


def remembered(text: str) -> int:
    """Return the milliseconds of ``--remember``, such as `1s`. Raises BadValueError."""
    found = seconds(text)
    if not SHORTEST <= found <= LONGEST:
        raise BadValueError(f"must be from 1ms to {LONGEST:g}s, not {quoted(text)}")
    return int(found * 1000)


def heeded(config: Config) -> Heeded:
    """Return the headers that the filter must heed for this configuration."""
    responder = Responder(wiring.answers(config), names_hosts=config.policy.names_hosts)
    return Heeded(deciding_headers(responder.token_sources), responder.removed)


def script(longest: int, headers: Heeded) -> str:
    """Return the program of the Lua filter; ``longest`` is in milliseconds."""
    numbered = enumerate((*PSEUDO_HEADERS, *headers.deciding), 1)
    lines = [
        f"local LONGEST = {longest}",
        f"local COVERS = {json.dumps(coverage(*headers))}",
        *_table("KEY", (f"[{json.dumps(name)}] = {number}" for number, name in numbered)),
        *_table("REMOVED", (f"[{json.dumps(name)}] = true" for name in headers.removed)),
    ]
    return "\n".join(lines) + "\n\n" + program()


def program() -> str:
    """Return the part of the program that is the same for every configuration."""
    return files(__package__).joinpath("remember.lua").read_text(encoding="utf-8")


def filter_lines(longest: int, headers: Heeded) -> list[str]:
    """Return the Lua filter, as lines of YAML."""
    return [
        "# Experimental (docs/remember.md). SAFETY: answers from memory, for as long as the",
        "# sidecar permits, at most LONGEST milliseconds. It must be directly before ext_authz,",
        "# and no other filter may write its metadata.",
        f"- name: {FILTER}",
        "  typed_config:",
        f'    "@type": {LUA}',
        "    default_source_code:",
        "      inline_string: |",
        *(f"        {line}".rstrip() for line in script(longest, headers).splitlines()),
        "",
    ]


def asked_lines() -> list[str]:
    """Return when ext_authz asks the sidecar, and what it tells it."""
    return [
        "# SAFETY: every request is asked about, unless the filter above answered it from memory.",
        "filter_enabled_metadata:",
        f"  filter: {NAMESPACE}",
        "  path: [{key: allow}, {key: reason}]",
        "  value: &an_allow",
        "    or_match:",
        "      value_matchers:",
        "        - string_match: {exact: ok}",
        "        - string_match: {exact: public}",
        "  invert: true",
        f"metadata_context_namespaces: [{QUESTION}] # how many were answered from memory",
    ]


def lock_lines() -> list[str]:
    """Return what the second lock passes beside the sidecar's answers."""
    return [
        "- sourced_metadata: # answered from memory",
        "    metadata_source: DYNAMIC",
        "    metadata_matcher:",
        f"      filter: {NAMESPACE}",
        "      path: [{key: allow}, {key: reason}]",
        "      value: *an_allow",
    ]


def log_lines() -> list[str]:
    """Return the access log's field: what the sidecar said of a request that was remembered."""
    return [f'remembered: "%DYNAMIC_METADATA({NAMESPACE}:allow)%"']


def _table(name: str, items: Iterable[str]) -> list[str]:
    """Return a Lua table, as many items on a line as fit."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH:
            lines.append("")
        lines[-1] += f" {item}," if lines[-1] else f"{item},"
    return [f"local {name} = {{", *(f"  {line}" for line in lines), "}"]
