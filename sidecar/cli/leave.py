"""Take a running sidecar out of the registry, while it goes on deciding.

For the sidecar's own `preStop` hook, which Kubernetes runs as soon as the pod begins to end: a
native sidecar gets its SIGTERM only after the Basic Server has ended. May be called again.
"""

import argparse
import http.client
import json
import sys

EXAMPLE = "zervi-sidecar leave --ops 127.0.0.1:9002"

DEFAULT_OPS = "127.0.0.1:9002"
SECONDS = 5.0  # the sidecar needs two at most


def arguments(parser: argparse.ArgumentParser) -> None:
    """Take the ops address."""
    parser.add_argument(
        "--ops",
        default=DEFAULT_OPS,
        metavar="HOST:PORT",
        help=f"the sidecar's listen.ops (default: {DEFAULT_OPS})",
    )


def run(args: argparse.Namespace) -> int:
    """Ask the sidecar; return 0 when it is out of the registry."""
    try:
        connection = http.client.HTTPConnection(args.ops, timeout=SECONDS)
        connection.request("POST", "/leave")
        answer = connection.getresponse()
        status, body = answer.status, answer.read(1024).decode("utf-8", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or error
        print(f"no sidecar answers on {args.ops}: {why}", file=sys.stderr)
        return 1
    print(_in_words(body), file=sys.stdout if status == 200 else sys.stderr)
    return 0 if status == 200 else 1


def _in_words(body: str) -> str:
    """Return what the sidecar says happened; another's answer as it is."""
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, TypeError, KeyError):
        return body
