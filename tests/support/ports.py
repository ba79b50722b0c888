"""Ports for servers that need their port in advance; others listen on port 0."""

import socket

_reserved: list[socket.socket] = []


def free_port() -> int:
    """Return a loopback port that no other test gets while this process runs.

    It stays bound here without listening: a server that sets SO_REUSEADDR (asyncio, grpcio and
    Envoy do) can still listen on it, a connection before that is refused, and the kernel gives it
    to no other process meanwhile.
    """
    return _reserve(0)


def free_ports_in_a_row(count: int) -> int:
    """Return the first of ``count`` such ports that follow each other."""
    while True:
        first = _reserve(0)
        try:
            for offset in range(1, count):
                _reserve(first + offset)
        except (OSError, OverflowError):
            continue
        return first


def _reserve(port: int) -> int:
    reservation = socket.socket()
    try:
        reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reservation.bind(("127.0.0.1", port))
    except BaseException:
        reservation.close()
        raise
    _reserved.append(reservation)
    bound: int = reservation.getsockname()[1]
    return bound
