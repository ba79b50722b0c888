"""Creates a route table from the one of JobFirst's router, `GET /api/v1/router/routes`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from sidecar.core.routes.problems import NAME
from sidecar.documents.document import Document
from sidecar.documents.findings import (
    ConfigError,
    Finding,
    Place,
    Problem,
    Severity,
    one_line,
    quoted,
)
from sidecar.documents.located import in_order, located
from sidecar.documents.untyped import mapping
from sidecar.documents.values import MAX_TEXT
from sidecar.workbench import drafts
from sidecar.workbench.drafts import Draft, Need
from sidecar.workbench.foreign_files import load_foreign

API_TYPES = frozenset({"", "api", "http", "https", "rest", "exact", "static", "dynamic", "proxy"})
PREFIX_TYPES = frozenset({"prefix", "wildcard"})  # and everything below the path
ANY_METHOD = frozenset({"", "*", "ANY", "ALL"})
LISTS = ("routes", "list", "items", "records", "data")  # where an answer may have its entries
CODES = ("code", "permissionCode", "permission", "name")  # of a permission that is an object

_GIN = re.compile(r"(?<=/)([:*])([A-Za-z_]\w*)(?=/|$)")  # /users/:id, /files/*path


class _Entries(NamedTuple):
    place: Place
    items: Sequence[object]


def zervi_yaml(path: Path) -> tuple[str, list[Finding]]:
    """Return a route table, and what it does not say as the router does.

    Raises ConfigError if the file has no routes, BadValueError if they are too many.
    """
    document = load_foreign(path)
    entries = _entries(path, document)
    found: list[Draft] = []
    remarks: list[Problem] = []
    endpoints: dict[str, str] = {}
    for index, item in enumerate(entries.items):
        place = (*entries.place, index)
        entry = mapping(item)
        if not entry:
            remarks.append(_remark(place, f"entry {index + 1} is not an object; it is left out"))
            continue
        found += _drafts(entry, place)
        service, endpoint = _text(entry, "serviceName"), _text(entry, "serviceEndpoint")
        if service and endpoint and endpoints.setdefault(service, endpoint) != endpoint:
            message = f"{service} has two endpoints, {endpoints[service]} and {endpoint}"
            remarks.append(_remark(place, message))
    heading = [f"From {path.name}. Entries without `isPublic` need a token."]
    heading += [f"target {service} is at {endpoint}" for service, endpoint in endpoints.items()]
    text, noted = drafts.table(heading, found, remarks)
    return text, in_order(located(path, document, noted))


def _entries(path: Path, document: Document) -> _Entries:
    """Return the list of routes, in ``{code, message, data}`` or bare."""
    value, place = document.value, tuple[str | int, ...]()
    answer = mapping(value)
    code = answer.get("code", 0)
    if code not in (0, 200, "0", "200") or isinstance(code, bool):
        message = f"this answer is an error of the router: {_text(answer, 'message') or code}"
        raise _error(path, document, message)
    for _ in range(3):
        if isinstance(value, list):
            return _Entries(place, value)
        key = next((key for key in LISTS if key in mapping(value)), None)
        if key is None:
            break
        place = (*place, key)
        value = mapping(value)[key]
    hint = "the answer of GET /api/v1/router/routes, or its `data`"
    raise _error(path, document, "this is not a list of routes", hint)


def _drafts(entry: Mapping[str, object], place: Place) -> list[Draft]:
    """Return the routes of an entry: none, one, or two for a prefix."""
    path = _text(entry, "routePath")
    kind = _text(entry, "routeType").lower()
    written = entry.get("method")
    methods = tuple(
        method.strip().upper()
        for item in (written if isinstance(written, list) else [written])
        for method in str(item if item is not None else "").split(",")
    )
    lost = ""
    if entry.get("isActive", True) not in (True, 1):
        lost = "it is not active"
    elif kind not in API_TYPES | PREFIX_TYPES:
        lost = f"its type {quoted(kind)} is not a route of requests"
    elif not path:
        lost = "it has no `routePath`"
    path = _GIN.sub(lambda part: f"{{{part[2]}{'+' if part[1] == '*' else ''}}}", path)
    permissions, notes = _permissions(entry.get("permissions"))
    public = entry.get("isPublic") in (True, 1)
    if public and permissions:
        notes.append("the entry is public and has permissions; the route requires them")
    draft = Draft(
        path or "(no path)",
        () if ANY_METHOD.intersection(methods) else tuple(dict.fromkeys(methods)),
        Need(public and not permissions, permissions),
        place,
        _name(_text(entry, "routeKey")),
        one_line(_text(entry, "serviceName")).strip()[:MAX_TEXT],
        tuple(notes),
        lost,
    )
    if kind not in PREFIX_TYPES or lost:
        return [draft]
    below = path.removesuffix("*").rstrip("/") + "/{below+}"
    return [replace(draft, path=path.removesuffix("*")), replace(draft, path=below, name="")]


def _permissions(value: object) -> tuple[tuple[str, ...], list[str]]:
    """Return an entry's permissions; for one that cannot be read, one that no token has."""
    notes: list[str] = []
    found = []
    items = [] if value is None else value if isinstance(value, list) else [value]
    for item in items:
        texts = [item] if isinstance(item, str) else [mapping(item).get(key) for key in CODES]
        text = next((text for text in texts if isinstance(text, str) and text), None)
        if text is None:
            notes.append("a permission cannot be read; the route requires one that no token has")
        found.append(text or "unreadable-permission")
    return tuple(dict.fromkeys(found)), notes


def _name(key: str) -> str:
    """Return a route's name from its key, empty if there is none."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", key).strip("-._")[:64]
    return name if NAME.fullmatch(name) else ""


def _text(entry: Mapping[str, object], key: str) -> str:
    value = entry.get(key)
    return value.strip() if isinstance(value, str) else ""


def _remark(place: Place, message: str) -> Problem:
    return Problem(place, "import", one_line(message), severity=Severity.WARNING)


def _error(path: Path, document: Document, message: str, hint: str = "") -> ConfigError:
    return ConfigError(located(path, document, [Problem((), "import", message, hint)]))
