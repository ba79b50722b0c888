"""Compares a part of an Envoy configuration with what the profile accepts there."""

import json
from collections.abc import Callable, Iterator, Mapping

from sidecar.documents.findings import Place, Problem, Severity, one_of, quoted
from sidecar.documents.untyped import mapping, sequence
from sidecar.workbench.doctor import cors, filters, logs, routes, service
from sidecar.workbench.doctor.context import Context
from sidecar.workbench.doctor.document import Part, short, type_name
from sidecar.workbench.doctor.profile import Message, Rule
from sidecar.workbench.doctor.values import misses

Check = Callable[[Part, Context], Iterator[Problem]]

# What code examines, by the name that the profile's data has for it.
CHECKS: Mapping[str, Check] = {
    "none": lambda _part, _context: iter(()),
    "manager": filters.manager,
    "stats_manager": filters.stats_manager,
    "routes": routes.table,
    "headers_added": routes.headers,
    "action": routes.action,
    "stats_route": routes.stats_route,
    "mutations": service.mutations,
    "service": service.service,
    "cors": cors.cors,
    "format": logs.log_format,
    "header_value": logs.header_value,
}


def walk(part: Part, name: str, context: Context) -> Iterator[Problem]:
    """Yield what a message has or lacks against its entry in the profile."""
    message = context.profile[name]
    if message.opaque:
        if message.opaque != "silent":
            text = f"{_kind(part, message)} is not in envoy.yaml; its settings are not examined"
            problem = Problem(part.place, "extra-field", text, severity=Severity(message.opaque))
            yield from _told(problem, message, "", context)
        return
    for key, value in part.value.items():
        if value is None or key == "@type":
            continue
        place = (*part.place, key)
        known = message.names.get(key)
        if known is None:
            text = f"{quoted(key)} {message.why}"
            hint = f"remove {quoted(key)}, or see envoy/envoy.yaml"
            problem = Problem(place, message.code, text, hint, message.unlisted)
            yield from _told(problem, message, key, context)
        elif known != key and known in part.value:
            text = f"duplicate field {quoted(known)}"
            problem = Problem(place, "twice", text, "keep one of the two")
            yield from _told(problem, message, known, context)
        else:
            yield from _field(place, known, value, message, context)
    for field, problem in _missing(part, message):
        yield from _told(problem, message, field, context)
    for problem in CHECKS[message.check](part, context):
        yield from _told(problem, message, "", context)


def _told(problem: Problem, message: Message, field: str, context: Context) -> Iterator[Problem]:
    """Yield a finding as the profile of a mesh puts it, as it is without one."""
    if context.mesh is None:
        yield problem
    else:
        yield from context.mesh.judged(problem, message.name, field)


def _kind(part: Part, message: Message) -> str:
    return quoted(short(type_name(part)) or message.name)


def _missing(part: Part, message: Message) -> Iterator[tuple[str, Problem]]:
    for name, rule in message.required():
        if not part.has(name) and rule.absent is not None:
            why = f": {rule.say}" if rule.say else ""
            text = f"{quoted(name)} is missing{why}"
            code = rule.code or "missing"
            yield name, Problem(part.place, code, text, _hint(name, rule), rule.absent)
    if message.needs_one:
        found = [name for name in message.needs_one if part.has(name)]
        if len(found) != 1:
            names = one_of(map(quoted, message.needs_one))
            text = f"exactly one of {names} is required, not {len(found)}"
            yield "", Problem(part.place, "one-of", text, severity=Severity.WARNING)


def _hint(name: str, rule: Rule) -> str:
    if rule.write:
        return rule.write
    if rule.shape == "forbidden":
        return f"remove {quoted(name)}"
    if rule.shape == "good" and rule.argument:
        return f"{name}: {_shown(rule.argument[0])}"
    return "see envoy/envoy.yaml"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _field(
    place: Place, name: str, value: object, message: Message, context: Context
) -> Iterator[Problem]:
    rule = message.rules[name]
    found: Problem | None = None
    match rule.shape:
        case "elsewhere" | "tree":
            return
        case "extra":
            text = f"{quoted(name)} is not in envoy.yaml; it is not known to weaken the boundary"
            found = Problem(place, rule.code, text, severity=rule.severity)
        case "forbidden":
            text = f"{quoted(name)} {rule.say}"
            found = Problem(place, rule.code, text, _hint(name, rule), rule.severity)
        case "message" | "list" | "typed" | "map_typed":
            yield from _messages(place, name, value, message, context)
        case _:
            found = _scalar(place, name, value, rule)
    if found is not None:
        yield from _told(found, message, name, context)


def _messages(
    place: Place, name: str, value: object, message: Message, context: Context
) -> Iterator[Problem]:
    rule = message.rules[name]
    plural = rule.shape == "list"
    if not isinstance(value, list if plural else dict):
        text = f"{quoted(name)} is not a {'list' if plural else 'mapping'}"
        problem = Problem(place, "type", text, "see envoy/envoy.yaml")
        yield from _told(problem, message, name, context)
        return
    if len(value) < rule.items:
        text = f"{quoted(name)} has {len(value)} items, Envoy needs {rule.items}"
        problem = Problem(place, "items", text, severity=rule.severity)
        yield from _told(problem, message, name, context)
    items: list[tuple[Place, object]] = [(place, value)]
    if plural:
        items = [((*place, index), item) for index, item in enumerate(sequence(value))]
    elif rule.shape == "map_typed":
        items = [((*place, key), item) for key, item in mapping(value).items()]
    for where, item in items:
        if not isinstance(item, dict):
            problem = Problem(where, "type", f"an item of {quoted(name)} is not a mapping")
            yield from _told(problem, message, name, context)
        elif rule.shape in {"typed", "map_typed"}:
            yield from _typed(Part(where, item), name, message, context)
        else:
            yield from walk(Part(where, item), rule.argument, context)


def _typed(part: Part, name: str, message: Message, context: Context) -> Iterator[Problem]:
    rule, kind = message.rules[name], type_name(part)
    for accepted in rule.argument:
        if kind in context.profile[accepted].protos:
            yield from walk(part, accepted, context)
            return
    if rule.unlisted != "elsewhere":
        why = rule.say or "is not known to be harmless here"
        hint = rule.write or f"one of {', '.join(rule.argument)}"
        text = f"the extension {quoted(short(kind) or name)} {why}"
        code = rule.code or "extension"
        if context.mesh is not None and message.name == "NetworkFilter":
            code = "tcp"
            if kind in context.mesh.filters:
                return
        if context.mesh is not None and context.mesh.per_route and code == "disabled-on-route":
            return  # listeners.py examines which routes enable the filter
        yield from _told(
            Problem(part.place, code, text, hint, rule.severity), message, name, context
        )


def _scalar(place: Place, name: str, value: object, rule: Rule) -> Problem | None:
    severity = misses(value, rule)
    if severity is None:
        return None
    text = f"{quoted(name)} is {quoted(json.dumps(value, ensure_ascii=False))}"
    if rule.shape == "bounds":
        text += f", not {rule.argument[0]} to {rule.argument[1]}"
    if rule.say:
        text += f": {rule.say}"
    return Problem(place, rule.code or "value", text, _hint(name, rule), severity)
