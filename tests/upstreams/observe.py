"""Send raw requests to a server, and say which handler ran."""

import socket
import subprocess
import time
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, unquote

from tests.upstreams.scenario import Sent

START_SECONDS = 30.0
ANSWER_SECONDS = 20.0
"""No server here takes a second: this is for a machine under load."""

Row = Mapping[str, Any]


def wait_for(port: int, process: subprocess.Popen[bytes]) -> Mapping[str, str] | None:
    """Wait until a handler answers, and return its headers; None where none does in time."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            _, headers = _ask(port, Sent("/docs/secret"))
        except OSError:
            headers = {}
        if "x-handler" in headers:
            return headers
        time.sleep(0.02)  # nothing tells when a foreign program begins to listen
    return None


def observe(port: int, sent: Sent, patterns: MutableMapping[str, str]) -> Row:
    """Send one request, and return its row; ``patterns`` gets the route of the handler that ran.

    A row has the request, the status where it is not 200, and the handler with its parameters, or
    where the client is sent instead. A status of None means no answer.
    """
    row: dict[str, Any] = {"target": sent.target}
    if sent.method != "GET":
        row["method"] = sent.method
    if sent.headers:
        row["headers"] = list(sent.headers)
    if sent.body:
        row["body"] = sent.body
    try:
        status, headers = _ask(port, sent)
    except OSError:
        status, headers = None, {}
    if status != 200:
        row["status"] = status
    if name := headers.get("x-handler"):
        row["handler"] = name
        if params := dict(parse_qsl(headers.get("x-params", ""), keep_blank_values=True)):
            row["params"] = params
        if "x-pattern" in headers:
            patterns[name] = unquote(headers["x-pattern"])
    elif "location" in headers:
        row["location"] = headers["location"].replace(f":{port}", "")
    return row


def _ask(port: int, sent: Sent) -> tuple[int | None, Mapping[str, str]]:
    """Send the bytes on a connection of their own; the answer's status and headers."""
    head = [f"{sent.method} {sent.target} HTTP/1.1", "host: upstream", "connection: close"]
    if sent.body or sent.method == "POST":
        head.append(f"content-length: {len(sent.body)}")
    octets = "\r\n".join([*head, *sent.headers, "", sent.body]).encode("latin-1")
    answer = bytearray()
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        connection.sendall(octets)
        while b"\r\n\r\n" not in answer and (received := connection.recv(65536)):
            answer += received
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    if not lines[0].startswith("HTTP/"):
        return None, {}
    pairs = (line.partition(":") for line in lines[1:])
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs}
