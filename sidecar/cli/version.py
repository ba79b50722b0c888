"""Print the version of the sidecar and of the Python that runs it."""

import argparse
import platform

from sidecar import __version__

EXAMPLE = "zervi-sidecar version"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add no options."""


def run(args: argparse.Namespace) -> int:  # noqa: ARG001 -- the same for every command
    """Print one line."""
    print(f"zervi-sidecar {__version__} (Python {platform.python_version()})")
    return 0
