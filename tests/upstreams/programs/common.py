"""What the Python programs share: a handler's answer, and patterns in another syntax."""

import re
from collections.abc import Mapping
from urllib.parse import quote, urlencode

from tests.upstreams.scenario import ROUTES, Registered

ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The methods of a handler for any method, if a framework needs a list."""


def answer(
    route: Registered, pattern: str, version: str, params: Mapping[str, object]
) -> dict[str, str]:
    """Return the headers by which a handler says that it ran, and with what."""
    pairs = {name: str(value) for name, value in params.items()}
    return {
        "x-handler": route.name,
        "x-pattern": quote(pattern, safe=""),
        "x-version": version,
        "x-params": urlencode(pairs, errors="surrogateescape"),
    }


def rewrite(path: str, one: str, tail: str) -> str:
    """Write a pattern in another syntax: ``one`` holds ``NAME`` for a segment's name."""
    out = re.sub(r"\{(\w+)\}", lambda name: one.replace("NAME", name[1]), path)
    return out.removesuffix("*") + tail if out.endswith("*") else out


def methods_of(route: Registered) -> tuple[str, ...]:
    """Return the methods to register a route for."""
    return (route.method,) if route.method else ANY


def by_path() -> dict[str, dict[str, Registered]]:
    """Return the routes by path and method, for frameworks that have one handler a path."""
    found: dict[str, dict[str, Registered]] = {}
    for route in ROUTES:
        found.setdefault(route.path, {}).update(dict.fromkeys(methods_of(route), route))
    return found
