"""The operations of an OpenAPI document, with the base paths of their servers.

OpenAPI 3.0 to 3.2 and Swagger 2.0; vendors' extensions that add operations. What cannot be read is
a draft that says so, or a remark.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple
from urllib.parse import unquote

from sidecar.documents.findings import (
    ConfigError,
    Finding,
    Place,
    Problem,
    Severity,
    one_line,
    quoted,
)  # fmt: skip
from sidecar.documents.untyped import at, mapping, sequence, texts
from sidecar.workbench.drafts import Draft, Need
from sidecar.workbench.openapi_security import required, unchecked

# The fixed fields of a Path Item that are operations (3.2, section 4.9.1; `query` is new there),
# and AWS API Gateway's extension for every other method.
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
ANY_METHOD = "x-amazon-apigateway-any-method"
ADDITIONAL = "additionalOperations"  # 3.2
MAX_BASES = 20  # base paths of one operation; a document has one or two
MAX_OPERATIONS = 50_000  # five times the largest table; each takes 1 KiB
MAX_REFERENCES = 10  # from one path item to the next

_VARIABLE = re.compile(r"\{([^{}]*)\}")


class _Item(NamedTuple):
    """A path item after its references, and why a part of it is missing."""

    value: Mapping[str, object]
    missing: str


def operations(document: Mapping[str, object]) -> tuple[list[Draft], list[Problem]]:
    """Return every operation, and remarks about the document. Raises ConfigError for too many."""
    reader = _Reader(document)
    found = list(reader.drafts())
    return found, reader.remarks


class _Reader:
    """Reads one document."""

    def __init__(self, document: Mapping[str, object]) -> None:
        self.document = document
        self.remarks: list[Problem] = []
        self.hosts: dict[str, None] = {}

    def drafts(self) -> Iterator[Draft]:
        """Yield the operations of every path."""
        count = 0
        for template, value in mapping(self.document.get("paths")).items():
            place: Place = ("paths", template)
            if template.startswith("x-") or template == "$ref":
                what = "is in another file" if template == "$ref" else "is an extension, not a path"
                self._remark(place, f"{quoted(template)} {what}; it is not imported")
                continue
            item = self._item(value)
            for draft in self._operations(template, item, place):
                count += 1
                if count > MAX_OPERATIONS:
                    message = f"more than {MAX_OPERATIONS} operations"
                    raise ConfigError([Finding("openapi", Severity.ERROR, "", 0, 0, message)])
                yield draft
        if len(self.hosts) > 1:
            hosts = ", ".join(self.hosts)
            self._remark(("servers",), f"routes match every host; the servers have {hosts}")
        if names := unchecked(self.document):
            message = f"the sidecar checks tokens, not {', '.join(names)}"
            self._remark(("components", "securitySchemes", names[0]), message)
        for key in ("webhooks", "x-webhooks"):
            if mapping(self.document.get(key)):
                self._remark((key,), f"`{key}` are requests that the API sends; none is imported")

    def _operations(self, template: str, item: _Item, place: Place) -> Iterator[Draft]:
        if item.missing:
            yield Draft(template, (), Need(), place, lost=item.missing)
        named = mapping(item.value.get(ADDITIONAL))
        given: dict[Place, tuple[str, object]] = {
            **{(method,): (method.upper(), item.value.get(method)) for method in METHODS},
            **{(ADDITIONAL, method): (method, value) for method, value in named.items()},
            (ANY_METHOD,): ("", item.value.get(ANY_METHOD)),
        }
        for keys, (method, operation) in given.items():
            if operation is not None:
                yield from self._operation(template, item, (*place, *keys), method, operation)
        for key, value in item.value.items():
            if (key,) not in given and "responses" in mapping(value):
                self._remark((*place, key), f"{quoted(key)} of {template} is not imported")

    def _operation(
        self, template: str, item: _Item, place: Place, method: str, operation: object
    ) -> Iterator[Draft]:
        value = mapping(operation)
        need, notes = required(value.get("security", self.document.get("security")), self.document)
        bases, more = self._bases(value, item.value)
        if template[:1] != "/":
            template = "/" + template
        for base in bases:
            methods = (method,) if method else ()
            yield Draft(base + template, methods, need, place, notes=(*notes, *more))

    def _item(self, value: object) -> _Item:
        """Follow a path item's references within the document; its own fields count first."""
        merged: dict[str, object] = {}
        for _ in range(MAX_REFERENCES):
            item = mapping(value)
            merged = {**item, **merged}
            reference = item.get("$ref")
            if not isinstance(reference, str):
                return _Item(merged, "")
            if not reference.startswith("#/"):
                return _Item(merged, f"its path item is in another file, {reference}")
            keys = [_pointer(part) for part in reference[2:].split("/")]
            value = at(self.document, *keys)
            if not isinstance(value, dict):
                return _Item(merged, f"the document does not contain {reference}")
        return _Item(merged, "its references lead to each other")

    def _bases(self, *scopes: Mapping[str, object]) -> tuple[list[str], list[str]]:
        """Return the base paths of an operation's servers; the innermost servers count."""
        if "swagger" in self.document:
            base = self.document.get("basePath")
            return [_base_path(base) if isinstance(base, str) else ""], []
        servers: list[object] = []
        for scope in (*scopes, self.document):
            servers = servers or list(sequence(scope.get("servers")))
        notes: list[str] = []
        bases: dict[str, None] = {}
        for server in servers[: MAX_BASES + 1]:
            bases |= dict.fromkeys(self._server(mapping(server), notes))
        if len(servers) > MAX_BASES or len(bases) > MAX_BASES:
            notes.append(f"only the first {MAX_BASES} base paths are imported")
        return list(bases)[:MAX_BASES] or [""], notes

    def _server(self, server: Mapping[str, object], notes: list[str]) -> list[str]:
        """Return the base paths of a server, for each value of the variables in its path."""
        url = server.get("url")
        if not isinstance(url, str):
            return [""]
        url = re.split("[?#]", url, maxsplit=1)[0]
        before, separator, rest = url.partition("//")
        absolute = separator and (not before or before.endswith(":"))
        host, _, path = rest.partition("/") if absolute else ("", "", url)
        if host:
            self.hosts[one_line(host)] = None
        names = list(dict.fromkeys(_VARIABLE.findall(path)))
        values = [_values(mapping(server.get("variables")).get(name)) for name in names]
        for name, choices in zip(names, values, strict=True):
            if choices == [""]:
                notes.append(f"the server's variable {quoted(name)} has no value")
        found = []
        for chosen in product(*(choices[:MAX_BASES] for choices in values)):
            known = dict(zip(names, chosen, strict=True))
            filled = _VARIABLE.sub(lambda part, known=known: known[part[1]], path)
            found.append(_base_path(filled))
            if len(found) > MAX_BASES:
                break
        return found

    def _remark(self, place: Place, message: str) -> None:
        self.remarks.append(Problem(place, "import", one_line(message), severity=Severity.WARNING))


def _values(variable: object) -> list[str]:
    """Return a server variable's possible values, the default first."""
    default = at(variable, "default")
    given = [str(default)] if isinstance(default, str | int | float) else []
    return list(dict.fromkeys([*given, *texts(at(variable, "enum"))])) or [""]


def _base_path(path: str) -> str:
    """Return a base path as it is put before a path: empty, or /x without a slash at its end."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "".join(f"/{part}" for part in parts)


def _pointer(text: str) -> str:
    """Decode a part of a JSON pointer in a URL (RFC 6901)."""
    return unquote(text).replace("~1", "/").replace("~0", "~")
