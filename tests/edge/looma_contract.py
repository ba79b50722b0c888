"""An OpenAPI file of ``docs/`` as something to hold bodies and answers against."""

import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

DOCS = Path(__file__).parents[2] / "docs"


class Contract:
    """The OpenAPI document: which operation a request is, and what may go with it."""

    def __init__(self, name: str = "looma-registry") -> None:
        text = (DOCS / f"{name}.openapi.yaml").read_text("utf-8")
        self.document: dict[str, Any] = yaml.safe_load(text)

    def operation(self, method: str, path: str) -> dict[str, Any]:
        for template, operations in self.document["paths"].items():
            pattern = re.sub(r"\{[a-z_]+\}", "[^/]+", template)
            if re.fullmatch(pattern, path) and method.lower() in operations:
                found: dict[str, Any] = operations[method.lower()]
                return found
        raise AssertionError(f"the contract has no {method} {path}")

    def check_request(self, method: str, path: str, body: Any) -> None:
        operation = self.operation(method, path)
        if "requestBody" in operation:
            self.check(operation["requestBody"]["content"]["application/json"]["schema"], body)
        else:
            assert body in (None, {}), "the contract has no body for this operation"

    def check_answer(self, method: str, path: str, status: int, body: Any) -> None:
        responses = self.operation(method, path)["responses"]
        assert str(status) in responses, f"the contract has no {status} for {method} {path}"
        response = self._resolved(responses[str(status)])
        if "content" in response:
            self.check(response["content"]["application/json"]["schema"], body)
        else:
            assert body is None, "the contract has no body for this answer"

    def check(self, schema: dict[str, Any], value: Any) -> None:
        whole = {**schema, "components": self.document["components"]}
        jsonschema.Draft202012Validator(whole).validate(value)

    def _resolved(self, node: dict[str, Any]) -> dict[str, Any]:
        while "$ref" in node:
            found: Any = self.document
            for step in node["$ref"].removeprefix("#/").split("/"):
                found = found[step]
            node = found
        return node
