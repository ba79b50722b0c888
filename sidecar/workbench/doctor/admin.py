"""Asks the admin interface of a running Envoy for its configuration."""

import socket
from http.client import HTTPConnection, HTTPException

from sidecar.documents.document import Document
from sidecar.documents.findings import ConfigError, Finding, Severity
from sidecar.documents.foreign import MAX_BYTES, read_foreign

TIMEOUT = 10.0  # seconds; a dump of 50 MiB takes about one
PATH = "/config_dump?include_eds"


class _Admin(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("admin", timeout=TIMEOUT)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def dump_of(address: str) -> Document:
    """Return the config_dump of the Envoy at ``unix:/path``. Raises ConfigError."""
    connection = _Admin(address.removeprefix("unix:"))
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        data = answer.read(MAX_BYTES + 1)
        if answer.status != 200:
            raise _error(address, f"the admin interface answers {answer.status}")
    except (OSError, HTTPException, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise _error(address, f"the admin interface does not answer: {reason}") from None
    finally:
        connection.close()
    document = read_foreign(data)
    if not document.complete:
        raise _error(address, document.faults[0].message)
    return document


def _error(address: str, message: str) -> ConfigError:
    return ConfigError([Finding("file", Severity.ERROR, address, 0, 0, message)])
