"""Listening addresses: bind, release.

A second sidecar on an address must fail with one clear line. A restarted sidecar must start despite
what its predecessor left. A sidecar that ends must not remove its successor's socket.
"""

import asyncio
import contextlib
import errno
import os
import secrets
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from sidecar.documents.findings import BadValueError
from sidecar.net.addresses import MAX_PATH_BYTES, Address, TcpAddress, parse_address
from sidecar.transport.interface import ListenError

BACKLOG = 1024  # more connections than Envoys have workers; the kernel caps it at somaxconn

# Such as a host's IPv6 address on a machine without IPv6: its other addresses are enough.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def address_of(text: str) -> Address:
    """Parse ``host:port``, ``[v6]:port`` or ``unix:/path``. Raises ListenError."""
    try:
        return parse_address(text)
    except BadValueError as error:
        raise ListenError(f"address {text!r} {error}") from None


async def bind_tcp(address: TcpAddress) -> list[socket.socket]:
    """Bind every address that the host has, without listening yet. Raises ListenError.

    A name may have several addresses (``localhost`` often has two); all use the same port. ``::``
    accepts IPv4 too.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError) as error:
        raise ListenError(f"{address}: cannot resolve the host: {_reason(error)}") from None
    bound: list[socket.socket] = []
    port = address.port
    failure = OSError(errno.EADDRNOTAVAIL, "the host has no usable address")
    for family, kind, protocol, _, where in dict.fromkeys(found):
        try:
            sock = _bind_one(family, kind, protocol, (where[0], port, *where[2:]))
        except OSError as error:
            failure = error
            if error.errno in _NOT_HERE:
                continue
            for sock in bound:
                sock.close()
            bound.clear()
            break
        bound.append(sock)
        port = sock.getsockname()[1]
    if not bound:
        if failure.errno == errno.EADDRINUSE:
            raise ListenError(f"address {address} is already in use")
        raise ListenError(f"{address}: cannot listen: {_reason(failure)}")
    return bound


def _bind_one(family: int, kind: int, protocol: int, where: tuple[str | int, ...]) -> socket.socket:
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        # Allow binding despite old connections in TIME_WAIT, but not beside another listener.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, where[0] != "::")
        sock.bind(where)
    except OSError:
        sock.close()
        raise
    return sock


class UnixPath:
    """A unix socket's path.

    The server binds ``temporary``, in the same directory, inside ``binding()``; ``publish`` renames
    it to the path. So the path never names a socket that does not listen yet or whose mode is too
    wide.
    """

    def __init__(self, path: str, mode: int) -> None:
        self.path = path
        self.temporary = str(Path(path).with_name(f".{secrets.token_hex(4)}"))
        self._mode = mode
        self._inode: tuple[int, int] | None = None
        if len(os.fsencode(self.temporary)) > MAX_PATH_BYTES:
            raise ListenError(f"unix:{path}: the socket path is too long")
        self._require_free()

    def _require_free(self) -> None:
        """Raise ListenError unless the path is free or its socket has no listener."""
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise ListenError(f"unix:{self.path}: {_reason(error)}") from None
        if not stat.S_ISSOCK(found.st_mode):
            raise ListenError(
                f"unix:{self.path}: the path exists and is not a socket; remove it first"
            )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.setblocking(False)  # a full backlog is EAGAIN: the socket has a listener
            try:
                probe.connect(self.path)
            except (ConnectionRefusedError, FileNotFoundError):
                return
            except BlockingIOError:
                pass
            except OSError as error:
                raise ListenError(
                    f"unix:{self.path}: cannot check whether it is in use: {_reason(error)}"
                ) from None
        raise ListenError(f"another sidecar is serving on unix:{self.path}")

    @contextlib.contextmanager
    def binding(self) -> Iterator[str]:
        """Bind ``temporary`` within this: only our user may use it. Raises ListenError."""
        former = os.umask(0o177)  # of the whole process, but only briefly, and only stricter
        try:
            yield self.temporary
        except OSError as error:
            raise ListenError(f"unix:{self.path}: cannot listen: {_reason(error)}") from None
        finally:
            os.umask(former)

    def publish(self) -> None:
        """Set the socket's mode and rename it to the path. Raises ListenError."""
        try:
            Path(self.temporary).chmod(self._mode)
            made = os.lstat(self.temporary)
            Path(self.temporary).rename(self.path)
        except OSError as error:
            self.release()
            raise ListenError(f"unix:{self.path}: cannot listen: {_reason(error)}") from None
        self._inode = made.st_dev, made.st_ino

    def release(self) -> None:
        """Remove the socket unless another process replaced it. May be called again."""
        with contextlib.suppress(OSError):
            Path(self.temporary).unlink()
        with contextlib.suppress(OSError):
            found = os.lstat(self.path)
            if self._inode == (found.st_dev, found.st_ino):
                Path(self.path).unlink()
        self._inode = None


class Listening:
    """Sockets that listen on one address; ``address`` has a port of 0 resolved."""

    def __init__(
        self, address: str, sockets: list[socket.socket], unix: UnixPath | None = None
    ) -> None:
        self.address = address
        self.sockets = sockets
        self._unix = unix

    def close(self) -> None:
        """Stop listening; remove the unix socket if it is still ours. May be called again."""
        if self._unix is not None:
            self._unix.release()
        for sock in self.sockets:
            sock.close()


async def listen(address: str, *, socket_mode: int = 0o660) -> Listening:
    """Listen on ``host:port``, ``[v6]:port`` or ``unix:/path``. Raises ListenError."""
    where = address_of(address)
    if isinstance(where, TcpAddress):
        sockets = await bind_tcp(where)
        bound = where._replace(port=sockets[0].getsockname()[1])
        listening = Listening(str(bound), sockets)
        try:
            for sock in sockets:
                sock.listen(BACKLOG)
        except OSError as error:
            listening.close()  # with SO_REUSEADDR two can bind a port, only one can listen
            if error.errno == errno.EADDRINUSE:
                raise ListenError(f"address {address} is already in use") from None
            raise ListenError(f"{address}: cannot listen: {_reason(error)}") from None
        return listening
    unix = UnixPath(where.path, socket_mode)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        with unix.binding() as temporary:
            sock.bind(temporary)
            sock.listen(BACKLOG)
        unix.publish()
    except ListenError:
        sock.close()
        unix.release()
        raise
    return Listening(address, [sock], unix)


def _reason(error: Exception) -> str:
    """Return the system's error text, without its number."""
    return getattr(error, "strerror", None) or str(error)
