"""The JSON Schemas of the files, from the kinds that read them and the page that describes them.

``python -m tests.generated_schemas`` compares, and with ``--write`` writes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Any

from sidecar.config.claims import ManyClaim, OneClaim, SplitSection
from sidecar.config.lookups import MAX_LENGTH, Length
from sidecar.config.model import Settings
from sidecar.config.policy_file import RouteEntry, RouteFile
from sidecar.config.requirements import (
    MAX_VALUES,
    AuthRequired,
    Conditions,
    OwnerKind,
)
from sidecar.console.settings import Settings as ConsoleSettings
from sidecar.core.tokens.claims import MAX_STEPS
from sidecar.documents.kinds import (
    Choice,
    Duration,
    File,
    Flag,
    Integer,
    Kind,
    List,
    Mapped,
    Optional,
    Size,
    Text,
)
from sidecar.documents.schema import Section, keys_of
from sidecar.documents.values import ALGORITHMS, SECRET_ALGORITHMS, algorithm
from sidecar.documents.yaml_source import read_yaml

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "sidecar" / "workbench" / "schemas"
DRAFT = "http://json-schema.org/draft-07/schema#"  # what editors' YAML servers read

_ROW = re.compile(r"^\| `([^`]+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
_DURATION = r"^[0-9]{1,9}(\.[0-9]{1,3})?(ms|s|m|h|d)$"
_SIZE = r"^[0-9]{1,9}(KiB|MiB|GiB)$"
_REFERENCE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"}

Schema = dict[str, Any]


class Page:
    """What docs/configuration.md says of each key."""

    def __init__(self, text: str) -> None:
        self._rows = {name: (default, meaning) for name, default, meaning in _ROW.findall(text)}

    def describe(self, name: str, schema: Schema) -> Schema:
        """Return a key's schema with its meaning, and its default where it can be written."""
        if name not in self._rows:
            return schema
        default, meaning = self._rows[name]
        described = {**schema, "description": meaning.replace("`", "")}
        if default.startswith("`"):
            value = read_yaml(f"key: {default.strip('`')}".encode()).value
            assert isinstance(value, dict)
            described["default"] = value["key"]
        return described


def schema_of(kind: Kind, name: str, page: Page) -> Schema:
    """Return what a kind accepts."""
    match kind:
        case Optional(of):
            return {"anyOf": [schema_of(of, name, page), {"type": "null"}]}
        case List(of, min_items, max_items, or_one, unique):
            inner = of if not isinstance(of, Optional) else of.of
            listed: Schema = {"type": "array", "items": schema_of(inner, f"{name}[]", page)}
            listed |= {"minItems": min_items} if min_items else {}
            listed |= {"maxItems": max_items} if max_items is not None else {}
            listed |= {"uniqueItems": True} if unique else {}
            return {"anyOf": [listed["items"], listed]} if or_one else listed
        case Mapped(of, _, max_items):
            mapped = {"type": "object", "additionalProperties": schema_of(of, name, page)}
            return mapped if max_items is None else {**mapped, "maxProperties": max_items}
        case OneClaim():
            path = {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "maxItems": MAX_STEPS,
            }
            return {"anyOf": [{"type": "string"}, path]}
        case ManyClaim():
            split = section(SplitSection, "", Page(""))
            return {"anyOf": [*schema_of(OneClaim(), name, page)["anyOf"], split]}
        case AuthRequired():
            return {"enum": [True, False, "optional"]}
        case OwnerKind():
            said = {"segment": "The {name} in the path", "claim": "The claim that it must equal"}
            parts = {key: {"type": "string", "description": text} for key, text in said.items()}
            closed = {"required": sorted(parts), "additionalProperties": False}
            split = {"type": "object", "properties": parts, **closed}
            return {"anyOf": [{"type": "string"}, split]}
        case Conditions():
            value = {"type": ["string", "boolean", "integer"]}
            values = {"type": "array", "items": value, "minItems": 1, "maxItems": MAX_VALUES}
            claim = {"anyOf": [value, values, {"type": "object", "minProperties": 1}]}
            return {"type": "object", "additionalProperties": claim, "minProperties": 1}
        case Length():
            number: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LENGTH}
            ends = {"type": "array", "items": number, "minItems": 2, "maxItems": 2}
            return {"anyOf": [number, ends]}
        case Section(of):
            return section(of, name, page)
        case Choice(words):
            return {"enum": list(words)}
        case Flag():
            return {"type": "boolean"}
        case Integer(minimum, maximum):
            return {"type": "integer", "minimum": minimum, "maximum": maximum}
        case Duration(minimum, maximum):
            return {"type": "string", "pattern": _DURATION, "examples": [minimum, maximum]}
        case Size(minimum, maximum):
            return {"type": "string", "pattern": _SIZE, "examples": [minimum, maximum]}
        case Text(check):
            names = [*ALGORITHMS, *SECRET_ALGORITHMS]
            return {"enum": names} if check is algorithm else {"type": "string"}
        case File(_):
            return {"type": "string", "minLength": 1}
        case _:  # the list of routes, which keeps those that are right
            route = section(RouteEntry, "", page)
            return {"type": "array", "items": route, "minItems": 1}


def section(of: type[Any], name: str, page: Page) -> Schema:
    """Return what a section accepts."""
    keys = keys_of(of)
    prefix = f"{name}." if name else ""
    properties = {}
    for key, kind in keys.kinds.items():
        schema = schema_of(kind, prefix + key, page)
        if name == "looma.service" and schema.get("type") == "integer":
            schema = {"anyOf": [schema, _REFERENCE]}
        properties[key] = page.describe(prefix + key, schema)
    found: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**found, "required": list(keys.required)} if keys.required else found


def files() -> dict[Path, str]:
    """Return the content of each schema's file."""
    page = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    sidecar, routes = page.split("## `routes.yaml`")
    console = Page((ROOT / "docs" / "console.md").read_text(encoding="utf-8"))
    schemas = {
        "config": ("sidecar.yaml of zervi-sidecar", section(Settings, "", Page(sidecar))),
        "routes": ("routes.yaml of zervi-sidecar", section(RouteFile, "", Page(routes))),
        "console": ("console.yaml of zervi-sidecar", section(ConsoleSettings, "", console)),
    }
    return {
        SCHEMAS / f"{name}.json": json.dumps(
            {"$schema": DRAFT, "title": title, **schema}, indent=1, ensure_ascii=False
        )
        + "\n"
        for name, (title, schema) in schemas.items()
    }


def main() -> int:
    """Compare or write the files; return 1 if one differs."""
    for path, text in files().items():
        if "--write" in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            print(f"{path.name} is out of date: make schemas")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
