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
            yield Problem(part.place, "extra-field", text, severity=Severity(message.opaque))
        return
    for key, value in part.value.items():
        if value is None or key == "@type":
            continue
        place = (*part.place, key)
        known = message.names.get(key)
        if known is None:
            yield Problem(
                place,
                message.code,
                f"{quoted(key)} {message.why}",
                f"remove {quoted(key)}, or see envoy/envoy.yaml",
                message.unlisted,
            )
        elif known != key and known in part.value:
            yield Problem(place, "twice", f"duplicate field {quoted(known)}", "keep one of the two")
        else:
            yield from _field(place, known, value, message.rules[known], context)
    yield from _missing(part, message)
    yield from CHECKS[message.check](part, context)


def _kind(part: Part, message: Message) -> str:
    return quoted(short(type_name(part)) or message.name)


def _missing(part: Part, message: Message) -> Iterator[Problem]:
    for name, rule in message.required():
        if not part.has(name) and rule.absent is not None:
            why = f": {rule.say}" if rule.say else ""
            text = f"{quoted(name)} is missing{why}"
            yield Problem(part.place, rule.code or "missing", text, _hint(name, rule), rule.absent)
    if message.needs_one:
        found = [name for name in message.needs_one if part.has(name)]
        if len(found) != 1:
            names = one_of(map(quoted, message.needs_one))
            text = f"exactly one of {names} is required, not {len(found)}"
            yield Problem(part.place, "one-of", text, severity=Severity.WARNING)


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
    place: Place, name: str, value: object, rule: Rule, context: Context
) -> Iterator[Problem]:
    match rule.shape:
        case "elsewhere" | "tree":
            return
        case "extra":
            text = f"{quoted(name)} is not in envoy.yaml; it is not known to weaken the boundary"
            yield Problem(place, rule.code, text, severity=rule.severity)
        case "forbidden":
            text = f"{quoted(name)} {rule.say}"
            yield Problem(place, rule.code, text, _hint(name, rule), rule.severity)
        case "message" | "list" | "typed" | "map_typed":
            yield from _messages(place, name, value, rule, context)
        case _:
            yield from _scalar(place, name, value, rule)


def _messages(
    place: Place, name: str, value: object, rule: Rule, context: Context
) -> Iterator[Problem]:
    plural = rule.shape == "list"
    if not isinstance(value, list if plural else dict):
        text = f"{quoted(name)} is not a {'list' if plural else 'mapping'}"
        yield Problem(place, "type", text, "see envoy/envoy.yaml")
        return
    if len(value) < rule.items:
        text = f"{quoted(name)} has {len(value)} items, Envoy needs {rule.items}"
        yield Problem(place, "items", text, severity=rule.severity)
    items: list[tuple[Place, object]] = [(place, value)]
    if plural:
        items = [((*place, index), item) for index, item in enumerate(sequence(value))]
    elif rule.shape == "map_typed":
        items = [((*place, key), item) for key, item in mapping(value).items()]
    for where, item in items:
        if not isinstance(item, dict):
            yield Problem(where, "type", f"an item of {quoted(name)} is not a mapping")
        elif rule.shape in {"typed", "map_typed"}:
            yield from _typed(Part(where, item), name, rule, context)
        else:
            yield from walk(Part(where, item), rule.argument, context)


def _typed(part: Part, name: str, rule: Rule, context: Context) -> Iterator[Problem]:
    kind = type_name(part)
    for accepted in rule.argument:
        if kind in context.profile[accepted].protos:
            yield from walk(part, accepted, context)
            return
    if rule.unlisted != "elsewhere":
        why = rule.say or "is not known to be harmless here"
        hint = rule.write or f"one of {', '.join(rule.argument)}"
        text = f"the extension {quoted(short(kind) or name)} {why}"
        yield Problem(part.place, rule.code or "extension", text, hint, rule.severity)


def _scalar(place: Place, name: str, value: object, rule: Rule) -> Iterator[Problem]:
    severity = misses(value, rule)
    if severity is None:
        return
    text = f"{quoted(name)} is {quoted(json.dumps(value, ensure_ascii=False))}"
    if rule.shape == "bounds":
        text += f", not {rule.argument[0]} to {rule.argument[1]}"
    if rule.say:
        text += f": {rule.say}"
    yield Problem(place, rule.code or "value", text, _hint(name, rule), severity)
