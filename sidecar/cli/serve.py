"""Run the sidecar until SIGTERM or Ctrl-C."""

import argparse
import os
import signal
from pathlib import Path

EXAMPLE = "zervi-sidecar serve --config /etc/zervi/sidecar.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the path of the configuration."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="sidecar.yaml")


def run(args: argparse.Namespace) -> int:
    """Serve; return 1 if the configuration is invalid or the start fails, else 0."""
    # Until the event loop handles the signals. The system's defaults are wrong: SIGHUP would end
    # the process, and process 1 of a container would ignore SIGTERM.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # nothing has started yet
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a changed policy is noticed later
    from sidecar.app import process  # --help needs none of it

    process.start_without_collections()
    process.forbid_core_dumps()
    from sidecar.app.run import serve

    return serve(args.config)
