"""Take a running sidecar out of the registry, while it goes on deciding.

For the sidecar's own `preStop` hook, which Kubernetes runs as soon as the pod begins to end. May be
called again. Exits 0 when the sidecar has left, 1 when it has not, 2 when it was called wrongly.
"""

import argparse
import sys
import time

from sidecar.cli import admin_socket

EXAMPLE = "zervi-sidecar leave --wait 10s"

MAX_WAIT = "1h"  # as for `drain`; Kubernetes ends the pod far earlier


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take where the sidecar is, and how long to wait."""
    admin_socket.arguments(parser)
    parser.add_argument(
        "--wait",
        type=_wait,
        default=0.0,
        metavar="DURATION",
        help="wait before exiting, for example 10s, also after a failure, so that load balancers "
        "can remove the pod first",
    )
    parser.add_argument("--ops", type=_gone, help=argparse.SUPPRESS)


def run(args: argparse.Namespace) -> int:
    """Ask the sidecar, wait; return 0 when it is out of the registry."""
    try:
        print(admin_socket.post(args, "/leave").get("detail", "left"), flush=True)
        code = 0
    except admin_socket.AdminError as error:
        print(error, file=sys.stderr, flush=True)
        code = 1
    if args.wait:
        time.sleep(args.wait)
    return code


def _wait(text: str) -> float:
    from sidecar.documents.findings import BadValueError  # --help needs none of it
    from sidecar.documents.values import seconds

    try:
        wait = seconds(text)
    except BadValueError as wrong:
        raise argparse.ArgumentTypeError(f"{wrong} ({wrong.help})") from None
    if wait > seconds(MAX_WAIT):
        raise argparse.ArgumentTypeError(f"longer than {MAX_WAIT}")
    return wait


def _gone(_text: str) -> str:
    raise argparse.ArgumentTypeError(
        "state is changed only over a unix socket: set listen.admin, and use --config or --socket"
    )
