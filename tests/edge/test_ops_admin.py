"""The admin socket: which users it serves, and what a peer can cost it."""

import asyncio
import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sidecar.ops.admin import AdminServer
from sidecar.ops.routes import OpsAnswer
from sidecar.transport.sockets import listen

REQUEST = b"POST /act HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n"
OTHER = 12345  # a uid that no test runs as

# Connects to argv[2] as the user argv[1], asks, prints the answer.
AS_USER = f"""
import os, socket, sys
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
try:
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(20)
    peer.connect(sys.argv[2])
    peer.sendall({REQUEST!r})
    while part := peer.recv(65536):
        print(part.decode(), end="")
except OSError as error:
    print(type(error).__name__)
"""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as other users")


class Admin:
    """An admin server whose only route counts how often it ran."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acted = 0

    async def act(self, *_: object) -> OpsAnswer:
        self.acted += 1
        return OpsAnswer(200, b"done\n", "text/plain")

    async def ask_as(self, uid: int) -> str:
        """Ask from a process of another user; return what it saw."""
        command = [sys.executable, "-I", "-S", "-c", AS_USER, str(uid), str(self.path)]
        done = await asyncio.to_thread(
            subprocess.run, command, capture_output=True, text=True, timeout=30, check=True
        )
        return done.stdout

    async def talk(self, request: bytes) -> bytes:
        """Send bytes; return all that comes back."""
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        answer = b""
        with contextlib.suppress(ConnectionError):
            writer.write(request)
            async with asyncio.timeout(20):
                answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
def directory() -> Iterator[Path]:
    """Make a directory that every user may enter, other than pytest's."""
    made = Path(tempfile.mkdtemp(prefix="admin-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
async def admin(directory: Path) -> AsyncIterator[Admin]:
    """Serve on a socket of mode 0600."""
    admin = Admin(directory / "admin.sock")
    listening = await listen(f"unix:{admin.path}", socket_mode=0o600)
    server = AdminServer(listening.sockets, {("POST", "/act"): admin.act})
    await server.start()
    yield admin
    await server.close()
    listening.close()


async def test_the_sidecars_own_user_is_served(admin: Admin) -> None:
    assert (await admin.talk(REQUEST)).endswith(b"\r\n\r\ndone\n")
    assert admin.acted == 1


@needs_root
async def test_another_user_cannot_connect(admin: Admin) -> None:
    assert await admin.ask_as(OTHER) == "PermissionError\n"
    assert admin.acted == 0


@needs_root
async def test_another_user_who_can_connect_is_sent_away_and_logged(
    admin: Admin, caplog: pytest.LogCaptureFixture
) -> None:
    """The mode may have been widened by hand, or the file system may keep none."""
    admin.path.chmod(0o666)
    assert await admin.ask_as(OTHER) in ("", "ConnectionResetError\n", "BrokenPipeError\n")
    assert admin.acted == 0
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"uid {OTHER}" in record.getMessage()


@needs_root
async def test_root_is_served_by_a_sidecar_of_another_user(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin.path.chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    assert (await admin.ask_as(0)).endswith("done\n")
    assert (await admin.ask_as(OTHER)).endswith("done\n")
    assert not (await admin.ask_as(OTHER + 1)).endswith("done\n")
    assert admin.acted == 2


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /act HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"405"),
        (b"POST /other HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", b"404"),
        (b"POST /act HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000 + b"\r\n\r\n", b"400"),
        (b"POST /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"400"),
        (b"POST /act HTTP/1.1\r\n" + b"X: y\r\n" * 10_000 + b"\r\n", b"400"),
        (b"\x00\xff\r\n\r\n", b"400"),
    ],
)
async def test_what_is_no_small_request_for_a_route_changes_nothing(
    admin: Admin, request_bytes: bytes, status: bytes
) -> None:
    answer = await admin.talk(request_bytes)
    assert answer.split(b" ", 2)[1] == status
    assert b"Traceback" not in answer
    assert admin.acted == 0
    assert (await admin.talk(REQUEST)).endswith(b"done\n")


async def test_a_body_is_not_waited_for(admin: Admin) -> None:
    begun = b"POST /act HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\nx"
    assert (await admin.talk(begun)).endswith(b"done\n")


async def test_the_next_is_served_at_the_latest_when_one_of_too_many_ends(admin: Admin) -> None:
    held = [await asyncio.open_unix_connection(str(admin.path)) for _ in range(100)]
    async with asyncio.timeout(20):
        while not (await admin.talk(REQUEST)).endswith(b"done\n"):
            held.pop()[1].close()
    for _, writer in held:
        writer.close()
