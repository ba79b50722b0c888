"""Make a route table from what describes the upstream already: an OpenAPI 3 document.

Security scopes become permissions, an operation with `security: []` is public, and one of which
nothing is said needs a token. Look at what came out before you use it.
"""

import argparse
import sys
from pathlib import Path

EXAMPLE = "zervi-sidecar import openapi openapi.yaml > routes.yaml"

SPEC_ERROR = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take the kind of document, and where it is."""
    parser.add_argument("kind", choices=("openapi",))
    parser.add_argument("spec", type=Path, metavar="SPEC", help="YAML or JSON")


def run(args: argparse.Namespace) -> int:
    """Print the route table; return 1 for a document that cannot be one."""
    from sidecar.config import ConfigError
    from sidecar.workbench.openapi import read_spec, routes_yaml

    try:
        spec = read_spec(args.spec)
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)
        return SPEC_ERROR
    print(routes_yaml(spec), end="")
    return 0
