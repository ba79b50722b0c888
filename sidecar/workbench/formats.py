"""Renders findings for people, editors and pipelines."""

import json
from collections.abc import Sequence

from sidecar.config import Finding, Severity

FORMATS = ("text", "json", "sarif", "github")

_SARIF_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_GITHUB_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def render(findings: Sequence[Finding], form: str, version: str) -> str:
    """Return the findings in one of ``FORMATS``; ``version`` is that of the sidecar."""
    if form == "json":
        listed = [finding._asdict() for finding in findings]
        return json.dumps({"version": version, "findings": listed}, ensure_ascii=False, indent=2)
    if form == "sarif":
        return json.dumps(_sarif(findings, version), ensure_ascii=False, indent=2)
    return "\n".join(map(_github if form == "github" else str, findings))


def count(findings: Sequence[Finding]) -> list[str]:
    """Return the number of findings of each severity, such as ``2 errors``, without zeros."""
    numbers = {each: sum(f.severity is each for f in findings) for each in Severity}
    return [counted(number, each.value) for each, number in numbers.items() if number]


def counted(number: int, noun: str) -> str:
    """Return ``1 route`` or ``1,200 routes``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _sarif(findings: Sequence[Finding], version: str) -> dict[str, object]:
    """Return a SARIF 2.1.0 log (OASIS)."""
    codes = sorted({finding.code for finding in findings})
    driver = {"name": "zervi-sidecar", "version": version, "rules": [{"id": c} for c in codes]}
    results = [
        {
            "ruleId": finding.code,
            "level": _SARIF_LEVELS[finding.severity],
            "message": {"text": _sentence(finding)},
            "locations": [{"physicalLocation": _location(finding)}],
        }
        for finding in findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _location(finding: Finding) -> dict[str, object]:
    location: dict[str, object] = {"artifactLocation": {"uri": finding.file.replace("\\", "/")}}
    if finding.line:
        location["region"] = {"startLine": finding.line, "startColumn": finding.column}
    return location


def _github(finding: Finding) -> str:
    """Return a GitHub workflow command, which annotates the line in a pull request."""
    properties = {"file": finding.file, "title": finding.code}
    if finding.line:
        properties |= {"line": str(finding.line), "col": str(finding.column)}
    given = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    return f"::{_GITHUB_LEVELS[finding.severity]} {given}::{_escaped(_sentence(finding))}"


def _sentence(finding: Finding) -> str:
    return f"{finding.message} ({finding.help})" if finding.help else finding.message


def _escaped(text: str, more: str = "") -> str:
    """Escape the characters that end a value of a workflow command; ``%`` first."""
    for character in "%\r\n" + more:
        text = text.replace(character, f"%{ord(character):02X}")
    return text
