"""The parts of Envoy's bootstrap that remember allows, and what an Envoy with them heeds.

``remember.lua`` beside this module is the program of two Lua filters; a few lines before it depend
on the configuration. ``doctor`` compares all of this with what it finds.
"""

import json
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import Final, NamedTuple

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.core.remembering import LONGEST, PSEUDO_HEADERS, coverage, deciding_headers
from sidecar.documents.findings import BadValueError, quoted
from sidecar.documents.values import seconds
from sidecar.extauthz.respond import Responder
from sidecar.workbench.generate.names import expression, other_spellings, quoted_lines
from sidecar.workbench.generate.template import fill, template

FILTER: Final = "zervi.remember"
EARLY: Final = "early_header_mutation_extensions"
STATE: Final = "zervi.remember"  # filter state that only the filters of this file write
QUESTION: Final = "zervi.question"  # metadata, likewise

SHORTEST: Final = 0.001  # seconds

_INSTRUCTIONS_PER_WORD: Final = 25
_WIDTH: Final = 100  # characters of a line


class Heeded(NamedTuple):
    """The headers that Envoy heeds: those that decide, and those that no client may send, sorted.

    The latter do not reach the Basic Server as a client sent them.
    """

    deciding: tuple[str, ...]
    removed: tuple[str, ...]

    @property
    def withheld(self) -> tuple[str, ...]:
        """The headers that decide and that the Basic Server does not get."""
        return tuple(name for name in self.removed if name in self.deciding)


def remembered(text: str) -> int:
    """Return the milliseconds of ``--remember``, such as `1s`. Raises BadValueError."""
    found = seconds(text)
    if not SHORTEST <= found <= LONGEST:
        raise BadValueError(f"must be from 1ms to {LONGEST:g}s, not {quoted(text)}")
    return int(found * 1000)


def heeded(config: Config) -> Heeded:
    """Return the headers that Envoy must heed for this configuration."""
    responder = Responder(wiring.answers(config), names_hosts=config.policy.names_hosts)
    return Heeded(deciding_headers(responder.token_sources), responder.removed)


def never_from_clients(headers: Heeded) -> str:
    """Return what matches the names that Envoy removes from a request before all filters.

    Each in every spelling, but a header that decides only in its other spellings.
    """
    whole = expression(name for name in headers.removed if name not in headers.deciding)
    others = [each for name in headers.withheld for each in other_spellings(name)]
    return "|".join([*([whole] if whole else []), *others])


def script(longest: int, headers: Heeded) -> str:
    """Return the program of the Lua filters; ``longest`` is in milliseconds."""
    lines = [
        f"local LONGEST = {longest}",
        f"local COVERS = {json.dumps(coverage(*headers))}",
        *_table("KEY", map(json.dumps, (*PSEUDO_HEADERS, *headers.deciding))),
        *_table("REMOVED", (f"[{json.dumps(name)}] = true" for name in headers.removed)),
        *_table("WITHHELD", map(json.dumps, headers.withheld)),
    ]
    return "\n".join(lines) + "\n\n" + program()


def program() -> str:
    """Return the part of the program that is the same for every configuration."""
    return files(__package__).joinpath("remember.lua").read_text(encoding="utf-8")


def program_size(headers: Heeded) -> int:
    """Return how many instructions RE2 may need for ``never_from_clients``, beside its names."""
    words = [len(name.split("-")) for name in headers.withheld]
    return sum(_INSTRUCTIONS_PER_WORD * number * number for number in words)


def early_lines(names: str) -> list[str]:
    """Return what removes headers whose names an expression matches, before all filters."""
    if not names:
        return []
    return _filled("remember-early.yaml", never_from_clients=quoted_lines(names))


def memory_of(address: str) -> str:
    """Return the name of the memory of what the sidecar at ``listen.authz`` allowed."""
    return f"{FILTER} {address}"


def filter_lines(memory: str, program: str) -> list[str]:
    """Return the filter before ext_authz, as lines of YAML; ``memory`` is of ``memory_of``."""
    return _filled("remember-filter.yaml", memory=json.dumps(memory), program=program.splitlines())


def ask_lines(ext_authz: Sequence[str]) -> list[str]:
    """Return the filter that asks about what was not answered; ``ext_authz`` are its settings."""
    return _filled("remember-ask.yaml", ext_authz=ext_authz)


def lock_lines(lock: Sequence[str]) -> list[str]:
    """Return the second lock for what was not answered, and the filter that learns from answers.

    ``lock`` are the settings of the second lock.
    """
    return _filled("remember-lock.yaml", lock=lock)


def question_lines() -> list[str]:
    """Return what ext_authz tells the sidecar."""
    return [
        f"metadata_context_namespaces: [{QUESTION}] # how many were answered from memory",
    ]


def log_lines() -> list[str]:
    """Return the access log's field: what the sidecar said of a request that was remembered."""
    return [f'remembered: "%FILTER_STATE({STATE}:PLAIN)%"']


def _filled(name: str, **values: str | Sequence[str]) -> list[str]:
    return fill(template(name), values).splitlines()


def _table(name: str, items: Iterable[str]) -> list[str]:
    """Return a Lua table, as many items on a line as fit."""
    lines = [""]
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) > _WIDTH:
            lines.append("")
        lines[-1] += f" {item}," if lines[-1] else f"{item},"
    return [f"local {name} = {{", *(f"  {line}" for line in lines if line), "}"]
