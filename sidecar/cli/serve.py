"""Run the sidecar until SIGTERM or Ctrl-C."""

import argparse
from pathlib import Path

EXAMPLE = "zervi-sidecar serve --config /etc/zervi/sidecar.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take the configuration's path."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="sidecar.yaml")


def run(args: argparse.Namespace) -> int:
    """Serve; return 0 after a clean end, 1 where nothing could be started."""
    from sidecar.app import serve  # --help needs none of it

    return serve(args.config)
