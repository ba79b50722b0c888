"""The lean gRPC server: HTTP/2 as unary calls and health's Watch need it, and no more.

``connection`` and what it imports are pure: bytes in, bytes out. ``protocol`` and ``server`` join
it to asyncio.
"""

from sidecar.transport.h2.server import Server

__all__ = ["Server"]
