"""Ports for servers that are told their port beforehand; others listen on port 0."""

import socket

_reserved: list[socket.socket] = []


def free_port() -> int:
    """Return a loopback port that no one else is given while this process runs.

    It stays bound here without listening: a server that sets SO_REUSEADDR (asyncio, grpcio and
    Envoy do) can still listen on it, a connection before that is refused, and the kernel gives it
    to nobody else meanwhile.
    """
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reservation.bind(("127.0.0.1", 0))
    _reserved.append(reservation)
    port: int = reservation.getsockname()[1]
    return port
