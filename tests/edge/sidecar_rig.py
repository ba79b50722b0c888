"""A sidecar as a process of its own, with its files, a client and its ops address."""

import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from grpc import ChannelCredentials

from demo import minting
from demo.process import Process
from sidecar.extauthz.service import CHECK
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.edge.transport_rig import call, connect
from tests.support.checks import check_request, reason_of
from tests.support.waiting import eventually

SECRET = "a secret made up for the tests of the sidecar's life"
ISSUER = "jobfirst-auth"
ROUTES = """\
api_gateway:
  routes:
    - {path: "/open/*", auth_required: false}
    - {path: "/closed/*", permissions: [closed:read]}
"""


def token(secret: str = SECRET, **claims: Any) -> str:
    """Return a token that is good for an hour and permits ``/closed/*``."""
    claims = {"iss": ISSUER, "user_id": 7, "permissions": ["closed:read"], **claims}
    return minting.sign({"exp": int(time.time()) + 3600, **claims}, secret.encode())


class Sidecar:
    """A directory with ``sidecar.yaml``, ``routes.yaml`` and ``secret``, and who runs by them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.process: Process | None = None
        self.write("routes.yaml", ROUTES)
        self.write("secret", SECRET)
        self.configure()

    def write(self, name: str, content: str | bytes) -> Path:
        """Put a file into the directory, whole."""
        path = self.directory / name
        unfinished = path.with_name(f"{path.name}.new")
        unfinished.write_bytes(content if isinstance(content, bytes) else content.encode())
        return unfinished.replace(path)

    def configure(self, **sections: Any) -> None:
        """Write ``sidecar.yaml``; JSON is YAML. A section given replaces the default one."""
        config: dict[str, Any] = {
            "listen": {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0"},
            "zervi": {"issuers": [{"issuer": ISSUER, "secret_file": "secret"}]},
            "policy": {"file": "routes.yaml"},
            "drain": "100ms",
        }
        self.write("sidecar.yaml", json.dumps({**config, **sections}, indent=2))

    async def start(self, environment: Mapping[str, str] | None = None) -> Process:
        """Start the process; it may fail."""
        config = self.directory / "sidecar.yaml"
        command = [sys.executable, "-m", "sidecar", "serve", "--config", str(config)]
        self.process = await Process.start("sidecar", command, self.directory, environment)
        return self.process

    async def until_ready(self) -> None:
        """Wait until it says that it serves."""
        await self.says("ready: version")

    async def says(self, text: str) -> None:
        """Wait for a text in what it logs."""
        process = self._process

        def said() -> bool:
            process.check_running()
            return text in process.output()

        await eventually(said, f"the sidecar says: {text}", within=20)

    def said(self, text: str) -> list[str]:
        """Return the messages logged so far that hold a text."""
        lines = self._process.stderr.read_text().splitlines()
        messages = [json.loads(line)["message"] for line in lines if line.startswith("{")]
        return [message for message in messages if text in message]

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.signal(number)

    async def ended(self) -> int:
        """Wait for its end; its exit code."""
        return await self._process.wait()

    def address(self, key: str) -> str:
        """Return where it listens, as it logged it."""
        (found,) = re.findall(rf"listen\.{key}: ([^\s\"]+)", self._process.output())
        return str(found)

    async def reason(
        self,
        target: str = "/closed/1",
        bearer: str | None = None,
        credentials: ChannelCredentials | None = None,
    ) -> str:
        """Ask for a decision over a connection of its own; return its reason."""
        headers = {} if bearer is None else {"authorization": (f"Bearer {bearer}".encode(),)}
        async with connect(self.address("authz"), credentials) as channel:
            answer = await call(channel, CHECK, check_request(target.encode(), headers=headers))
        return reason_of(CheckResponse.FromString(answer))

    async def ops(self, path: str, method: str = "GET") -> tuple[int, str]:
        """Ask its ops address; return the status and the body."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, f"http://{self.address('ops')}{path}") as answer,
        ):
            return answer.status, await answer.text()

    async def admin(self, path: str, method: str = "POST") -> tuple[int, str]:
        """Ask its admin socket, where it has one; return the status and the body."""
        connector = aiohttp.UnixConnector(str(self.admin_socket))
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.request(method, f"http://admin{path}") as answer,
        ):
            return answer.status, await answer.text()

    @property
    def admin_socket(self) -> Path:
        """Where ``with_admin`` puts the admin socket."""
        return self.directory / "admin.sock"

    async def component(self, name: str) -> dict[str, str]:
        """Return one component of /readyz."""
        found: dict[str, str] = json.loads((await self.ops("/readyz"))[1])["components"][name]
        return found

    async def metric(self, name: str) -> float:
        """Return one sample of /metrics, by its name with labels."""
        lines = (await self.ops("/metrics"))[1].splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"{name} ")), 0.0)

    @property
    def memory(self) -> int:
        """Its resident set in bytes."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    @property
    def _process(self) -> Process:
        assert self.process is not None, "not started"
        return self.process


def with_admin(sidecar: Sidecar, **sections: Any) -> None:
    """Configure an admin socket beside the given sections."""
    listen = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0"}
    sidecar.configure(listen={**listen, "admin": f"unix:{sidecar.admin_socket}"}, **sections)


@contextlib.asynccontextmanager
async def running(
    directory: Path, prepare: Callable[[Sidecar], None] | None = None
) -> AsyncIterator[Sidecar]:
    """Run a sidecar within the block; it is ready at its beginning."""
    sidecar = Sidecar(directory)
    if prepare is not None:
        prepare(sidecar)
    process = await sidecar.start()
    try:
        await sidecar.until_ready()
        yield sidecar
    finally:
        await process.stop()
