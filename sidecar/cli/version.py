"""Print the version of the sidecar and of the Python that runs it."""

import argparse
import platform
from importlib.metadata import version

EXAMPLE = "zervi-sidecar version"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add no options."""


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 -- the same for every command
    """Print one line."""
    print(f"zervi-sidecar {version('zervi-sidecar')} (Python {platform.python_version()})")
    return 0
