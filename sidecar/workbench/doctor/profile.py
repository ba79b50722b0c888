"""A profile: which fields an Envoy configuration may have, with which values, kept as YAML.

Each message of Envoy's API that is examined has an entry. ``fields`` are those that the bootstrap
of the profile has, with what is accepted there; ``info``, ``warning`` and ``error`` are further
fields that Envoy knows, by how much they weigh; ``unlisted`` is for all others. ``like`` takes over
what another entry says. Of the fields in ``needs_one`` there must be exactly one.

A rule is a word or a mapping. Words: ``any`` (a scalar or a list of scalars), ``tree`` (anything),
``elsewhere`` (examined by code). Keys of a mapping, exactly one of the first group:

- ``message``, ``list``: the value, each item is this message
- ``typed``, ``map_typed``: the value, each member has one of these messages as its ``@type``
- ``items`` beside ``list``: how many there must be at least
- ``any``: ``text``, ``texts``, ``path`` (of a socket), ``address`` or ``loopback``
- ``good`` (silent), beside it ``info`` and ``warning`` (reported): the accepted values
- ``at_least``, ``at_most``: bounds, of numbers or of durations such as ``0.25s``
- ``words``: what a text of words with commas, or a list of words, may hold
- ``severity`` of another value, ``absent``: severity where the field is missing
- ``code``, ``say``, ``write``: the finding's code, its cause, what to write instead
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sidecar.documents.findings import Severity
from sidecar.documents.own_yaml import read

PROFILES = Path(__file__).with_name("profiles")

_SHAPES = ("message", "list", "typed", "map_typed", "any", "good", "words")
_TEXTS = ("code", "say", "write")


@dataclass(frozen=True, slots=True)
class Rule:
    """What one field accepts. ``shape`` is the rule's kind, ``argument`` its parameter."""

    shape: str
    argument: Any = None
    severity: Severity = Severity.ERROR
    absent: Severity | None = None
    info: tuple[Any, ...] = ()
    warning: tuple[Any, ...] = ()
    items: int = 0
    unlisted: str = ""
    code: str = ""
    say: str = ""
    write: str = ""


@dataclass(frozen=True, slots=True)
class Message:
    """What one message accepts; ``names`` maps both spellings of a field to Envoy's."""

    name: str
    protos: tuple[str, ...]
    rules: Mapping[str, Rule]
    unlisted: Severity = Severity.WARNING
    code: str = "unknown-field"
    why: str = "is unknown to doctor, so it may not be harmless"
    opaque: str = ""
    check: str = "none"
    needs_one: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def required(self) -> Iterator[tuple[str, Rule]]:
        """Yield the required fields."""
        return ((name, rule) for name, rule in self.rules.items() if rule.absent is not None)


Profile = Mapping[str, Message]


@cache
def camel(name: str) -> str:
    """Return a field's other spelling in protobuf's JSON: ``route_config`` is ``routeConfig``."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


@cache
def load_profile(name: str = "default") -> Profile:
    """Read the data of a profile. Raises KeyError or ValueError if it is invalid."""
    raw: dict[str, dict[str, Any]] = {}
    for path in sorted((PROFILES / name / "messages").glob("*.yaml")):
        raw |= read(path)
    return {name: _message(name, _inherited(raw, name)) for name in raw}


def _inherited(raw: Mapping[str, dict[str, Any]], name: str) -> dict[str, Any]:
    own = raw[name]
    if "like" not in own:
        return own
    parent = _inherited(raw, own["like"])
    whole = parent | own
    for key in ("fields", "warning", "error"):
        whole[key] = parent.get(key, {}) | own.get(key, {})
    whole["info"] = [*parent.get("info", ()), *own.get("info", ())]
    graver = {*own.get("info", ()), *own.get("warning", {}), *own.get("error", {})}
    whole["fields"] = {key: rule for key, rule in whole["fields"].items() if key not in graver}
    return whole


def _message(name: str, raw: Mapping[str, Any]) -> Message:
    rules: dict[str, Rule] = {}
    for key in raw.get("info", ()):
        rules[key] = Rule("extra", severity=Severity.INFO, code="extra-field")
    for severity in (Severity.WARNING, Severity.ERROR):
        for key, why in raw.get(severity.value, {}).items():
            texts = why if isinstance(why, dict) else {"say": why}
            rules[key] = Rule("forbidden", severity=severity, **{"code": "weakens"} | texts)
    rules |= {key: _rule(rule) for key, rule in raw.get("fields", {}).items()}
    more = {key: raw[key] for key in ("code", "why", "opaque", "check") if key in raw}
    protos = tuple(raw.get("protos", ())) or ((raw["proto"],) if "proto" in raw else ())
    names = {spelling: key for key in rules for spelling in (camel(key), key)}
    needs = tuple(raw.get("needs_one", ()))
    unlisted = Severity(raw.get("unlisted", "warning"))
    return Message(name, protos, rules, unlisted, needs_one=needs, names=names, **more)


def _rule(raw: Any) -> Rule:
    if isinstance(raw, str):
        return Rule({"any": "scalar"}.get(raw, raw))
    more: dict[str, Any] = {key: raw[key] for key in _TEXTS if key in raw}
    more |= {key: Severity(raw[key]) for key in ("severity", "absent") if key in raw}
    more |= {key: tuple(raw[key]) for key in ("info", "warning") if key in raw}
    more |= {key: raw[key] for key in ("unlisted", "items") if key in raw}
    if "at_least" in raw:
        return Rule("bounds", (raw["at_least"], raw["at_most"]), **more)
    (shape,) = (key for key in _SHAPES if key in raw)
    return Rule(shape, raw[shape], **more)
