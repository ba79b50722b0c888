"""Print the JSON Schema of sidecar.yaml, routes.yaml or console.yaml, for editors.

The schema describes each key; only `check` examines rules between keys.
"""

import argparse
from importlib.resources import files

EXAMPLE = "zervi-sidecar schema routes > routes.schema.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the file."""
    parser.add_argument("of", nargs="?", choices=("config", "routes", "console"), default="config")


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    schema = files("sidecar.workbench") / "schemas" / f"{args.of}.json"
    print(schema.read_text(encoding="utf-8"), end="")
    return 0
