"""Create a route table from an OpenAPI 3 document of the upstream.

Security scopes become permissions. An operation with `security: []` is public; one without
`security` needs a token. Review the table before you use it.
"""

import argparse
import sys
from pathlib import Path

EXAMPLE = "zervi-sidecar import openapi openapi.yaml > routes.yaml"

SPEC_ERROR = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the kind of document and its path."""
    parser.add_argument("kind", choices=("openapi",))
    parser.add_argument("spec", type=Path, metavar="SPEC", help="YAML or JSON")


def run(args: argparse.Namespace) -> int:
    """Print the route table; return 1 for an invalid document."""
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
