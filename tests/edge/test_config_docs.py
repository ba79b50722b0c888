"""docs/configuration.md and the schema agree."""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.claims import IssuerClaims
from sidecar.config.model import Settings
from sidecar.config.policy_file import RouteEntry
from sidecar.config.requirements import Owner
from sidecar.core.paths.canonical import ALLOWABLE
from sidecar.documents.kinds import Duration, Integer, Kind, List, Notes, Size
from sidecar.documents.schema import Section, keys_of, section_in
from sidecar.documents.yaml_source import read_yaml
from tests.edge.config_files import ENVIRON

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
SIDECAR, ROUTES = PAGE.split("## `routes.yaml`")

# Defaults that the page describes in words, and their values.
WORDS = {
    "name": ("from the path", ""),
    "methods": ("every one", ()),
    "hosts": ("every one", ()),
    "permissions": ("none", ()),
    "any_permissions": ("none", ()),
    "roles": ("none", ()),
    "owner": ("none", Owner()),
    "claims": ("none", ()),
    "callers": ("every one", ()),
    "owner_unless": ("none", ()),
    "issuers": ("every one", ()),
    "target": ('`""`', ""),
}


def documented(page: str) -> dict[str, str]:
    """Each key of the page's tables, and its default."""
    return dict(re.findall(r"^\| `([^`]+)` \| (.+?) \| .+ \|$", page, re.MULTILINE))


def keys(section: type[Any], prefix: str = "") -> Iterator[tuple[str, Kind, Any]]:
    """Each key of the schema that can be set by itself, with its kind and default."""
    defaults = {each.name: each for each in fields(section)}
    for name, kind in keys_of(section).kinds.items():
        own = defaults[name]
        default = own.default_factory() if own.default_factory is not MISSING else own.default
        below = section_in(kind)
        if below in (None, IssuerClaims) or not isinstance(kind, Section):
            yield prefix + name, kind, default
        if below not in (None, IssuerClaims):
            yield from keys(below, f"{prefix}{name}{'[]' if isinstance(kind, List) else ''}.")


SCHEMA = {name: (kind, default) for name, kind, default in keys(Settings)}
ROUTE = {name: (kind, default) for name, kind, default in keys(RouteEntry)}


def test_every_key_of_the_configuration_is_documented_and_no_other() -> None:
    assert set(documented(SIDECAR)) == set(SCHEMA)


def test_every_key_of_a_route_is_documented_and_no_other() -> None:
    assert set(documented(ROUTES)) == set(ROUTE)


@pytest.mark.parametrize("name", SCHEMA)
def test_the_default_of_a_key_is_the_documented_one(name: str) -> None:
    kind, default = SCHEMA[name]
    written = documented(SIDECAR)[name]
    if default is MISSING:
        assert written == "required"
        return
    value = read_yaml(f"key: {written.strip('`')}".encode()).value
    assert isinstance(value, dict)
    if value["key"] in ("", {}):  # nothing that could be given
        assert not default or default == IssuerClaims()
    else:
        assert kind.read(value["key"], ("key",), Notes()) == default


@pytest.mark.parametrize("name", ROUTE)
def test_the_default_of_a_routes_key_is_the_documented_one(name: str) -> None:
    kind, default = ROUTE[name]
    written = documented(ROUTES)[name]
    if default is MISSING:
        assert written == "required"
    elif name in WORDS:
        assert (written, default) == WORDS[name]
    else:
        value = read_yaml(f"key: {written.strip('`')}".encode()).value
        assert isinstance(value, dict)
        assert kind.read(value["key"], ("key",), Notes()) == default


def test_every_allowable_path_is_documented() -> None:
    (row,) = re.findall(r"^\| `policy.allow_paths` .*$", PAGE, re.MULTILINE)
    assert set(re.findall(r"`([a-z]+_?[a-z]+)`", row)) == ALLOWABLE


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL))
def test_an_example_of_the_page_is_valid(block: str, tmp_path: Path) -> None:
    from tests.edge.config_files import Files

    files = Files(tmp_path)
    files.environ = ENVIRON
    files.write(**{"routes" if block.startswith("api_gateway") else "sidecar": block})
    assert files.load().warnings == ()


def test_a_bound_that_the_page_names_is_the_schemas() -> None:
    """Rows such as "1s to 24h" hold for the kinds of their keys."""
    rows = re.findall(r"^\| `([^`]+)` .*?\b(\d\w*) to (\d\w*)", SIDECAR, re.MULTILINE)
    assert len(rows) == 19
    for name, least, most in rows:
        kind = SCHEMA[name][0]
        assert isinstance(kind, Duration | Integer | Size)
        assert (str(kind.minimum), str(kind.maximum)) == (least, most), name
