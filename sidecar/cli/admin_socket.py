"""Sends commands to the admin socket of a running sidecar."""

import argparse
import http.client
import json
import os
import socket
from pathlib import Path
from typing import Any

DEFAULT_CONFIG = Path("/etc/zervi/sidecar.yaml")  # as the image serves it
SECONDS = 5.0  # leaving the registry takes at most two
MAX_ANSWER_BYTES = 4096  # the answer is a few lines of JSON


class AdminError(Exception):
    """The command failed; the message is one line for the operator."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name the admin socket."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help=f"the sidecar.yaml with the listen.admin to connect to (default: {DEFAULT_CONFIG})",
    )
    where.add_argument(
        "--socket", metavar="PATH", help="the admin socket; no configuration is read"
    )


def post(args: argparse.Namespace, path: str) -> dict[str, Any]:
    """Send a request to the sidecar; return its answer. Raises AdminError."""
    where = (args.socket or _configured(args.config or DEFAULT_CONFIG)).removeprefix("unix:")
    connection = _Connection(where)
    try:
        connection.request("POST", path)
        with connection.getresponse() as answer:
            body = _object(answer.read(MAX_ANSWER_BYTES))
    except FileNotFoundError:
        raise AdminError(
            f"the socket {where} does not exist: is the sidecar running with listen.admin set?"
        ) from None
    except PermissionError:
        raise AdminError(
            f"{where}: permission denied: only the sidecar's user and root may use it, "
            f"not uid {os.geteuid()}"
        ) from None
    except ConnectionRefusedError:
        raise AdminError(f"no process listens on {where}: the sidecar has ended") from None
    except TimeoutError:
        raise AdminError(f"{where}: no answer within {SECONDS:g} s") from None
    except (http.client.RemoteDisconnected, ConnectionError):
        raise AdminError(
            f"{where}: the sidecar closed the connection without an answer: it does not run as "
            f"uid {os.geteuid()}, or it is shutting down"
        ) from None
    except OSError as error:
        raise AdminError(f"{where}: {error.strerror or error}") from None
    except (http.client.HTTPException, ValueError):
        raise AdminError(f"the process that listens on {where} is not a zervi-sidecar") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise AdminError(str(body.get("detail") or body.get("error") or answer.status))
    return body


def _object(content: bytes) -> dict[str, Any]:
    body = json.loads(content)
    if not isinstance(body, dict):
        raise ValueError("not an object")  # noqa: TRY004 -- the content is wrong
    return body


def _configured(path: Path) -> str:
    """Read only ``listen.admin``: an error elsewhere must not keep a pod from leaving.

    Raises AdminError.
    """
    from sidecar.config.addresses import unix_address
    from sidecar.config.files import read_file
    from sidecar.documents.findings import BadValueError
    from sidecar.documents.located import located
    from sidecar.documents.untyped import at
    from sidecar.documents.yaml_source import MAX_BYTES, read_yaml

    try:
        document = read_yaml(read_file(path, MAX_BYTES))
    except BadValueError as wrong:
        raise AdminError(f"{path} {wrong}; use --config or --socket") from None
    if not document.complete:
        raise AdminError(str(located(path, document, [])[0]))
    address = at(document.value, "listen", "admin")
    if address is None:
        raise AdminError(f"{path} does not set listen.admin, which this command needs")
    try:
        return unix_address(str(address))
    except BadValueError as wrong:
        raise AdminError(f"{path}: listen.admin {wrong}") from None


class _Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("admin", timeout=SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
