"""Validate a configuration and the policy it names, and list all that is wrong at once."""

import argparse
import os
from pathlib import Path

EXAMPLE = "zervi-sidecar check --config sidecar.yaml --strict"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take the configuration's path and how strict to be."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="sidecar.yaml")
    parser.add_argument("--strict", action="store_true", help="let warnings fail the check too")


def run(args: argparse.Namespace) -> int:
    """Print findings and a summary; return 1 for errors and, if strict, for warnings."""
    from sidecar.config import ConfigError, Severity, load  # --help needs none of it

    try:
        config = load(args.config, os.environ)
    except ConfigError as error:
        findings, good = error.findings, False
    else:
        findings, good = config.warnings, True
    for finding in findings:
        print(finding)
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    warnings = sum(finding.severity is Severity.WARNING for finding in findings)
    counts = [_count(errors, "error")] if errors else []
    counts += [_count(warnings, "warning")] if warnings else []
    if not good:
        print(f"{args.config}: {', '.join(counts)}")
        return 1
    holds = f"{_count(len(config.issuers), 'issuer')}, {_count(len(config.policy.routes), 'route')}"
    print(f"{args.config}: {', '.join(['good', *counts])} ({holds}, policy {config.policy.digest})")
    return 1 if warnings and args.strict else 0


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
