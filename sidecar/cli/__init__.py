"""The ``zervi-sidecar`` command: one module a subcommand, imported when it is asked for."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

import sidecar

# Each module has EXAMPLE, arguments(parser), and run(args) -> exit code. Order is that of
# --help.
COMMANDS = {
    "serve": "run the sidecar",
    "leave": "take a running sidecar out of the registry",
    "promote": "let the candidate of a running sidecar decide",
    "check": "validate the configuration and the policy",
    "test": "test a policy by cases",
    "explain": "tell what is decided on a request, and why",
    "replay": "hold logged decisions against another policy",
    "import": "make a route table from an OpenAPI document",
    "doctor": "examine an Envoy configuration",
    "schema": "print the JSON Schema of a configuration file",
    "version": "print the version",
}

_MODULES = {"import": "importing"}  # what Python does not let a module be called


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (0 good, 1 errors, 2 usage)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    parser = argparse.ArgumentParser(
        prog="zervi-sidecar",
        description=sidecar.__doc__,
        epilog="Example: zervi-sidecar serve --config sidecar.yaml",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, summary in COMMANDS.items():
        if name != chosen:
            subparsers.add_parser(name, help=summary)
            continue
        module = import_module(f"sidecar.cli.{_MODULES.get(name, name)}")
        subparser = subparsers.add_parser(
            name, help=summary, description=module.__doc__, epilog=f"Example: {module.EXAMPLE}"
        )
        module.arguments(subparser)
        subparser.set_defaults(run=module.run)
    args = parser.parse_args(argv)
    return int(args.run(args))
