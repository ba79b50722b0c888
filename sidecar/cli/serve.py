"""Run the sidecar until SIGTERM or Ctrl-C."""

import argparse
import os
import signal
from pathlib import Path

EXAMPLE = "zervi-sidecar serve --config /etc/zervi/sidecar.yaml"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take the configuration's path."""
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="sidecar.yaml")


def run(args: argparse.Namespace) -> int:
    """Serve; return 1 where the configuration is wrong, else end with 0, or 1 without a start."""
    # Until the event loop takes the signals over. The system's defaults are wrong: SIGHUP would end
    # the process, and as the first of a container it would not hear SIGTERM at all.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # nothing was begun that has to be ended
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a policy that changes meanwhile is noticed later
    from sidecar.app import process  # --help needs none of it
    from sidecar.app.run import serve

    process.forbid_core_dumps()
    return serve(args.config)
