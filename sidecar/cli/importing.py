"""Create a route table from another program's document. Review it before you use it.

openapi: an OpenAPI document of the upstream, 3.0 to 3.2 or Swagger 2.0. Security scopes become
permissions. An operation with `security: []` is public; one without `security` needs a token.
zervi: the routes of JobFirst's router (GET /api/v1/router/routes); isPublic makes a route public.
What a table cannot express is a comment in it and a line on standard error.
"""

import argparse
import sys
from pathlib import Path

EXAMPLE = "zervi-sidecar import openapi openapi.yaml > routes.yaml"

SPEC_ERROR = 1


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the kind of document and its path."""
    parser.add_argument("kind", choices=("openapi", "zervi"))
    parser.add_argument("spec", type=Path, metavar="FILE", help="YAML or JSON; - is standard input")


def run(args: argparse.Namespace) -> int:
    """Print the route table; return 1 for an invalid document."""
    from sidecar.config import ConfigError
    from sidecar.documents.findings import BadValueError
    from sidecar.workbench.openapi import read_spec, routes_yaml
    from sidecar.workbench.zervi_routes import zervi_yaml

    try:
        if args.kind == "zervi":
            text, remarks = zervi_yaml(args.spec)
        else:
            text, remarks = routes_yaml(read_spec(args.spec))
    except BadValueError as error:
        print(f"{args.spec} {error}", file=sys.stderr)
        return SPEC_ERROR
    except ConfigError as error:
        for finding in error.findings:
            print(finding, file=sys.stderr)
        return SPEC_ERROR
    for remark in remarks:
        print(remark, file=sys.stderr)
    print(text, end="")
    return 0
