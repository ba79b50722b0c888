"""The JSON Schemas match the configuration's kinds and accept the files of the repository."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft7Validator

from sidecar.cli import main
from sidecar.documents.yaml_source import read_yaml
from tests.generated_schemas import ROOT, files

PAGE = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
SIDECARS = [ROOT / f"{at}.yaml" for at in ("demo/sidecar", "tests/cases/config/elsewhere")]
ROUTES = [ROOT / "demo/routes.yaml", ROOT / "tests/cases/config/routes.yaml"]


@pytest.fixture
def schema(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> Draft7Validator:
    assert main(["schema", request.param]) == 0
    told = json.loads(capsys.readouterr().out)
    Draft7Validator.check_schema(told)
    return Draft7Validator(told)


config = pytest.mark.parametrize("schema", ["config"], indirect=True)
routes = pytest.mark.parametrize("schema", ["routes"], indirect=True)


def errors(schema: Draft7Validator, text: str) -> list[str]:
    return [error.message for error in schema.iter_errors(read_yaml(text.encode()).value)]


def test_the_checked_in_schemas_are_generated_from_the_kinds_and_the_page() -> None:
    for path, text in files().items():
        assert path.read_text(encoding="utf-8") == text, "make schemas"


@config
def test_the_examples_of_settings_fit(schema: Draft7Validator) -> None:
    texts = [text for text in EXAMPLES if not text.startswith("api_gateway")]
    texts += [path.read_text(encoding="utf-8") for path in SIDECARS]
    assert [errors(schema, text) for text in texts] == [[]] * len(texts)


@routes
def test_the_examples_of_routes_fit(schema: Draft7Validator) -> None:
    texts = [text for text in EXAMPLES if text.startswith("api_gateway")]
    texts += [path.read_text(encoding="utf-8") for path in ROUTES]
    assert [errors(schema, text) for text in texts] == [[]] * len(texts)


@config
@pytest.mark.parametrize(
    "wrong",
    ["drian: 5s", "drain: 5", "listen: {transport: http}", "log: {level: loud}", "drain: soon"],
)
def test_a_value_that_the_sidecar_refuses_is_underlined(
    schema: Draft7Validator, wrong: str
) -> None:
    good = "zervi: {issuers: [{issuer: z, jwks_url: https://z/k}]}\npolicy: {file: r.yaml}\n"
    assert errors(schema, good) == []
    assert len(errors(schema, good + wrong)) == 1


@routes
def test_an_unknown_key_of_a_route_is_underlined(schema: Draft7Validator) -> None:
    assert errors(schema, "api_gateway: {routes: [{path: /x, permision: [a]}]}")


def described(schema: Any, name: str = "") -> list[str]:
    """Return the keys that lack a description."""
    found = []
    for key, each in schema.get("properties", {}).items():
        inner = [each, *each.get("anyOf", ()), each.get("items", {})]
        for part in inner:
            if "issuers[].claims" not in f"{name}{key}":
                found += described(part, f"{name}{key}.")
        section = any("properties" in part for part in inner)
        found += [name + key] if "description" not in each and not section else []
    return found


def test_every_key_has_a_description() -> None:
    for text in files().values():
        assert [name for name in described(json.loads(text)) if "issuers.claims" not in name] == []
