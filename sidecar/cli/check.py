"""Validate a configuration and its policy, and warn of what weakens them.

Exit codes: 0 without errors, 1 with errors (with --strict also with warnings), 2 for wrong
arguments.
"""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar import __version__

if TYPE_CHECKING:
    from sidecar.config import Config, Finding

EXAMPLE = "zervi-sidecar check --config sidecar.yaml --strict"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the configuration, strictness and output format."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="sidecar.yaml")
    findings_arguments(parser)
    parser.add_argument(
        "--openapi", type=Path, metavar="SPEC", help="compare the routes with an OpenAPI document"
    )


def findings_arguments(parser: argparse.ArgumentParser) -> None:
    """Add strictness and output format, of every command that prints findings."""
    parser.add_argument("--strict", action="store_true", help="exit 1 for warnings too")
    parser.add_argument(
        "--format",
        choices=("text", "json", "sarif", "github"),
        default="text",
        help="output format; default: text",
    )


def run(args: argparse.Namespace) -> int:
    """Print findings and a summary; return 1 for errors and, if strict, for warnings."""
    from sidecar.config import ConfigError, Severity, read_files  # --help needs none of it
    from sidecar.review import suggestions
    from sidecar.workbench.formats import count, counted, render

    holds = ""
    try:
        read = read_files(args.config, os.environ)
        config = read.config(suggestions.findings(read))
        findings = config.warnings
        if args.openapi is not None:
            findings = (*findings, *_drift(args.openapi, config))
    except ConfigError as error:
        findings = error.findings
    else:
        issuers, routes = len(config.issuers), len(config.policy.routes)
        holds = f"{counted(issuers, 'issuer')}, {counted(routes, 'route')}"
        holds = f" ({holds}, policy {config.policy.digest})"
    good = not any(finding.severity is Severity.ERROR for finding in findings)
    rendered = render(findings, args.format, __version__)
    if rendered:
        print(rendered)
    if args.format == "text":
        state = ["good"] if good else []
        files = [str(args.config)] if good else dict.fromkeys(each.file for each in findings)
        print(f"{', '.join(files)}: {', '.join([*state, *count(findings)])}{holds}")
    strictly = args.strict and any(finding.severity is Severity.WARNING for finding in findings)
    return 0 if good and not strictly else 1


def _drift(spec: Path, config: "Config") -> "list[Finding]":
    from sidecar.workbench.openapi import drift, read_spec

    policy_file = config.settings.policy.file
    return drift(read_spec(spec), config.policy, config.route_lines, policy_file)
