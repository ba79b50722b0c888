"""Check an Envoy bootstrap, or a config_dump of a running Envoy, for weaknesses.

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
    from sidecar.workbench.doctor import Wanted

EXAMPLE = "zervi-sidecar doctor --envoy envoy.yaml --config sidecar.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add both configurations and the output format."""
    parser.add_argument("--envoy", type=Path, required=True, metavar="FILE", help="YAML or JSON")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the sidecar.yaml that it must match"
    )
    parser.add_argument("--strict", action="store_true", help="exit 1 for warnings too")
    parser.add_argument(
        "--format",
        choices=("text", "json", "sarif", "github"),
        default="text",
        help="output format; default: text",
    )


def run(args: argparse.Namespace) -> int:
    """Print findings; return 1 for errors and, if strict, for warnings."""
    from sidecar.config import ConfigError, Severity
    from sidecar.workbench.formats import count, render

    try:
        findings = _examined(args.envoy, args.config)
    except ConfigError as error:
        findings = list(error.findings)
    rendered = render(findings, args.format, __version__)
    if rendered:
        print(rendered)
    if args.format == "text":
        print(f"{args.envoy}: {', '.join(count(findings)) or 'good'}")
    failing = {Severity.ERROR, Severity.WARNING} if args.strict else {Severity.ERROR}
    return 1 if any(finding.severity in failing for finding in findings) else 0


def _examined(envoy: Path, config: Path | None) -> "list[Finding]":
    from sidecar.config import load
    from sidecar.core.tokens.principal import IdentityHeaders
    from sidecar.documents.located import in_order, located
    from sidecar.workbench.doctor import Wanted, examine
    from sidecar.workbench.doctor.document import scalar
    from sidecar.workbench.foreign_files import load_foreign

    wanted = Wanted(None, IdentityHeaders().never_from_clients())
    if config is not None:
        wanted = _wanted(load(config, os.environ, offline=True))
    document = load_foreign(envoy, scalar)
    return in_order(located(envoy, document, examine(document.value, wanted)))


def _wanted(config: "Config") -> "Wanted":
    from sidecar.workbench.doctor import Wanted
    from sidecar.workbench.touched import touched

    headers, listen = touched(config), config.settings.listen
    own = (listen.ops, listen.health, listen.admin)
    return Wanted(
        listen.authz,
        headers.names,
        headers.removed,
        tuple(address for address in own if address is not None),
        config.settings.policy.cors_preflight == "forward",
        config.settings.policy.encoded.slash is not None,
    )
