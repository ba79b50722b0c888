"""Activate the candidate of policy.shadow, until either policy file changes or a restart.

Exit codes: 0 if it is active, 1 if not, 2 for wrong arguments.
"""

import argparse
import sys

from sidecar.cli import admin_socket

EXAMPLE = "zervi-sidecar promote"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sidecar's address."""
    admin_socket.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the sidecar; return 0 if the candidate is active."""
    try:
        done = admin_socket.post(args, "/policy/promote")
    except admin_socket.AdminError as error:
        print(error, file=sys.stderr)
        return 1
    compared = done.get("compared")
    requests = "1 request" if compared == 1 else f"{compared} requests"
    print(
        f"policy {done.get('policy')} is in force (was {done.get('was')}); "
        f"{requests} compared, {done.get('different')} decided differently"
    )
    return 0
