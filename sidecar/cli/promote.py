"""Let the candidate of policy.shadow decide, until either policy file changes or a restart.

Exits 0 when it is in force, 1 when it is not, 2 when the command was called wrongly.
"""

import argparse
import sys

from sidecar.cli import admin_socket

EXAMPLE = "zervi-sidecar promote"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take where the sidecar is."""
    admin_socket.arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Ask the sidecar; return 0 when the candidate decides."""
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
