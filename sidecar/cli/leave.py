"""Deregister a running sidecar; it continues to decide requests.

For the sidecar's `preStop` hook, which Kubernetes runs when the pod begins to terminate. It can be
repeated. Exit codes: 0 if the sidecar is deregistered, 1 if not, 2 for wrong arguments.
"""

import argparse
import sys
import time

from sidecar.cli import admin_socket

EXAMPLE = "zervi-sidecar leave --wait 10s"

MAX_WAIT = "1h"  # as for `drain`; Kubernetes ends the pod far earlier


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sidecar's address and the time to wait."""
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
    """Ask the sidecar, wait; return 0 if it is deregistered."""
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
