"""Run the console: one page and one API for a whole cluster.

It needs the extra `zervi-sidecar[console]`. Exit codes: 0 after SIGTERM or Ctrl-C, 1 if it cannot
start, 2 for wrong arguments.
"""

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

EXAMPLE = "zervi-sidecar console --config /etc/zervi/console.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path of the configuration."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="console.yaml")


def run(args: argparse.Namespace) -> int:
    """Serve; return 1 if the configuration is invalid or the start fails, else 0."""
    missing = [name for name in ("aiohttp", "jinja2") if find_spec(name) is None]
    if missing:
        text = f"{' and '.join(missing)} missing: pip install 'zervi-sidecar[console]'"
        print(f"the console needs more packages, {text}", file=sys.stderr)
        return 1
    from sidecar.console.run import run as serve  # --help needs none of it

    return serve(args.config)
