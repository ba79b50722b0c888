"""Compares single values of an Envoy configuration with a rule of the profile."""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from sidecar.documents.findings import Severity
from sidecar.documents.untyped import sequence
from sidecar.workbench.doctor.profile import Rule

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s")
_NUMBER = re.compile(r"[0-9]{1,20}")


def misses(value: object, rule: Rule) -> Severity | None:
    """Return the severity of a value that breaks the rule, None for one that obeys it."""
    match rule.shape:
        case "good":
            return _among(value, rule)
        case "bounds":
            fits = _within(value, *rule.argument)
        case "words":
            words = value.split(",") if isinstance(value, str) else sequence(value)
            fits = bool(words) and all(str(word).strip() in rule.argument for word in words)
        case "any":
            fits = _KINDS[rule.argument](value)
        case _:
            items = sequence(value) or (value,)
            fits = not any(isinstance(item, dict | list) for item in items)
    return None if fits else rule.severity


def _among(value: object, rule: Rule) -> Severity | None:
    """Compare values with their types: `true` is not 1, and "0" is not 0."""
    for accepted, severity in (
        (rule.argument, None),
        (rule.info, Severity.INFO),
        (rule.warning, Severity.WARNING),
    ):
        if any(type(value) is type(each) and value == each for each in accepted):
            return severity
    return rule.severity


def _within(value: object, least: object, most: object) -> bool:
    measure = seconds if isinstance(least, str) else number
    found, low, high = measure(value), measure(least), measure(most)
    return found is not None and low is not None and high is not None and low <= found <= high


def _address(value: object) -> IPv4Address | IPv6Address | None:
    """Read an IP address, as Envoy does, which accepts no host name; None for anything else."""
    try:
        return ip_address(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _is_loopback(value: object) -> bool:
    address = _address(value)
    return address is not None and address.is_loopback


def _is_texts(value: object) -> bool:
    return bool(sequence(value)) and all(isinstance(each, str) for each in sequence(value))


_KINDS: Mapping[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str) and value != "",
    "texts": _is_texts,
    "path": lambda value: isinstance(value, str) and value[:1] not in {"", "@", "\0"},
    "address": lambda value: _address(value) is not None,
    "loopback": _is_loopback,
}


def number(value: object) -> float | None:
    """Return a number, which JSON may also write as text (64 bits); None for anything else."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def seconds(value: object) -> float | None:
    """Return the seconds of a protobuf duration such as ``0.25s``; None for anything else."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    return float(found[1]) if found else None
