"""Check an Envoy bootstrap, or a config_dump of a running Envoy, for weaknesses.

A dump may be a part of one, or come from istioctl or egctl. unix:/path asks the admin interface
there for it.

Exit codes: 0 without errors, 1 with errors (with --strict also with warnings), 2 for wrong
arguments.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidecar import __version__
from sidecar.cli.check import findings_arguments

if TYPE_CHECKING:
    from sidecar.config import Config, Finding
    from sidecar.workbench.doctor import Wanted

EXAMPLE = "zervi-sidecar doctor envoy.yaml --config sidecar.yaml"
PROFILES = ("default", "istio", "envoy-gateway")

USAGE_ERROR = 2


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add both configurations and the output format."""
    source = "YAML or JSON; - is standard input, unix:/path an admin interface"
    parser.add_argument("source", nargs="?", metavar="FILE", help=source)
    parser.add_argument("--envoy", metavar="FILE", help="the same as FILE")
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="the sidecar.yaml that it must match"
    )
    parser.add_argument(
        "--listener",
        action="append",
        default=[],
        metavar="NAME",
        help="examine only this listener, and what it uses; may be repeated",
    )
    parser.add_argument(
        "--profile",
        choices=PROFILES,
        default="default",
        help="what wrote the configuration; default: you, as in envoy/envoy.yaml",
    )
    findings_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print findings; return 1 for errors and, if strict, for warnings."""
    from sidecar.config import ConfigError, Severity
    from sidecar.workbench.formats import count, render

    source = args.envoy if args.source is None else args.source
    if source is None or (args.envoy or source) != source:
        print("zervi-sidecar doctor: one FILE is required", file=sys.stderr)
        return USAGE_ERROR
    try:
        findings = _examined(source, args)
    except ConfigError as error:
        findings = list(error.findings)
    rendered = render(findings, args.format, __version__)
    if rendered:
        print(rendered)
    if args.format == "text":
        print(f"{source}: {', '.join(count(findings)) or 'good'}")
    failing = {Severity.ERROR, Severity.WARNING} if args.strict else {Severity.ERROR}
    return 1 if any(finding.severity in failing for finding in findings) else 0


def _examined(source: str, args: argparse.Namespace) -> "list[Finding]":
    from sidecar.config import load
    from sidecar.core.tokens.principal import IdentityHeaders
    from sidecar.documents.located import in_order, located
    from sidecar.workbench.doctor import Wanted, examine
    from sidecar.workbench.doctor.admin import dump_of
    from sidecar.workbench.doctor.document import scalar
    from sidecar.workbench.foreign_files import load_foreign

    wanted = Wanted(None, IdentityHeaders().never_from_clients())
    if args.config is not None:
        wanted = _wanted(load(args.config, os.environ, offline=True))
    is_admin = source.startswith("unix:")
    document = dump_of(source) if is_admin else load_foreign(Path(source), scalar)
    problems = examine(document.value, wanted, args.profile, only=args.listener, pin=document.mark)
    return in_order(located(Path(source), document, list(problems)))


def _wanted(config: "Config") -> "Wanted":
    from sidecar.workbench.doctor import Wanted
    from sidecar.workbench.gateway_files import gateway_files
    from sidecar.workbench.generate.remember import heeded
    from sidecar.workbench.touched import touched

    headers, listen = touched(config), config.settings.listen
    own = (listen.ops, listen.health, listen.admin, listen.page)
    return Wanted(
        listen.authz,
        headers.names,
        headers.removed,
        tuple(address for address in own if address is not None),
        config.settings.policy.cors_preflight == "forward",
        config.settings.policy.encoded.slash is not None,
        config.policy.names_callers,
        gateway_files(config),
        heeded(config),
    )
