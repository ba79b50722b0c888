"""The ports of the demo's parts, consecutive from one base."""

import socket
from typing import NamedTuple

FIRST_BASE = 1024  # below, a port needs root
_STEP = 1000


class PortInUseError(Exception):
    """A port of the demo is in use; the message is one line with the remedy."""


class Ports(NamedTuple):
    """Loopback ports, in the order of a request's way."""

    envoy: int
    stats: int
    authz: int
    ops: int
    basic_server: int
    zervi: int
    looma: int

    @classmethod
    def from_base(cls, base: int) -> "Ports":
        """Take consecutive ports from ``base``, which is Envoy's."""
        return cls(*range(base, base + len(cls._fields)))

    def check_free(self) -> None:
        """Raise PortInUseError if something listens on one of them."""
        for name, port in zip(self._fields, self, strict=True):
            with socket.socket() as attempt:
                attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    attempt.bind(("127.0.0.1", port))
                except OSError as error:
                    raise PortInUseError(
                        f"port {port} (for {NAMES[name]}) cannot be had: {error.strerror}; end what"
                        f" listens there, or move every port: --base-port {_elsewhere(self)}"
                    ) from error


LAST_BASE = 65536 - len(Ports._fields)

NAMES = {
    "envoy": "Envoy",
    "stats": "Envoy's metrics",
    "authz": "the sidecar",
    "ops": "the sidecar's ops",
    "basic_server": "the Basic Server",
    "zervi": "Zervi",
    "looma": "Looma",
}


def _elsewhere(ports: Ports) -> int:
    return ports.envoy + _STEP if ports.envoy + _STEP <= LAST_BASE else FIRST_BASE + _STEP
