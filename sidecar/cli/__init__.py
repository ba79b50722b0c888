"""The ``zervi-sidecar`` command: one module per subcommand, imported only when it is called."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import sidecar

# Each module has EXAMPLE, arguments(parser), and run(args) -> exit code. Order is that of
# --help.
COMMANDS = {
    "serve": "run the sidecar",
    "leave": "deregister a running sidecar",
    "promote": "activate the candidate policy of a running sidecar",
    "check": "validate the configuration and the policy",
    "test": "run the test cases of a policy",
    "explain": "show the decision on a request, and why",
    "replay": "compare logged decisions with those of another policy",
    "advise": "find routes, roles and permissions that no logged request needed",
    "import": "create a route table from OpenAPI or from JobFirst's router",
    "generate": "print an Envoy configuration",
    "doctor": "check an Envoy configuration",
    "schema": "print the JSON Schema of a configuration file",
    "console": "run the console of a cluster",
    "version": "print the version",
}

_MODULES = {"import": "importing"}  # a keyword cannot be a module's name

SIGPIPE = 141  # what a shell shows for a program that ended by this signal

REMOVED = {"demo": "use `make demo` in a checkout of the repository"}
"""What replaces a command that an earlier version had."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code (0 success, 1 errors, 2 usage)."""
    argv = sys.argv[1:] if argv is None else list(argv)
    argv = ["version"] if argv == ["--version"] else argv
    parser = argparse.ArgumentParser(
        prog="zervi-sidecar",
        description=sidecar.__doc__,
        epilog="Example: zervi-sidecar serve --config sidecar.yaml",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in argv if not word.startswith("-")), None)
    if chosen in REMOVED:
        parser.error(f"the command `{chosen}` was removed: {REMOVED[chosen]}")
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
    try:
        code = int(args.run(args))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it again
        return SIGPIPE
    return code
