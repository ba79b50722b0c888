"""Print the JSON Schema of sidecar.yaml or routes.yaml, for editors that complete and underline.

It describes the form; what must hold between keys, `check` alone says.
"""

import argparse
from importlib.resources import files

EXAMPLE = "zervi-sidecar schema routes > routes.schema.json"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take which file."""
    parser.add_argument("of", nargs="?", choices=("config", "routes"), default="config")


def run(args: argparse.Namespace) -> int:
    """Print the schema."""
    schema = files("sidecar.workbench") / "schemas" / f"{args.of}.json"
    print(schema.read_text(encoding="utf-8"), end="")
    return 0
