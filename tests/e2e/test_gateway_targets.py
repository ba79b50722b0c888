"""What a gateway's Envoy reaches, and what it refuses: certificates, services, registries."""

import asyncio
import base64
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from demo.envoy import Envoy
from demo.gateway import bootstrap
from sidecar.core.placement.directory import Directory, Health, Instance
from sidecar.gateway.files import FileSettings, contents
from sidecar.gateway.writer import FileWriter
from tests.e2e.gateway_rig import Rig, running
from tests.edge.certificates import Authority
from tests.edge.etcd_server import Etcd, etcd_server
from tests.support.ports import free_port

NAMES = {
    "right": "right.jobfirst.local",
    "wrong": "right.jobfirst.local",  # another service's
    "longer": "longer.jobfirst.local.attacker.example",
    "stranger": "stranger.jobfirst.local",  # signed by another authority
    "plaintext": "",
    "team-a": "team-a.jobfirst.local",
    "team-b": "other-team.jobfirst.local",
}
TLS_ROUTES = """\
api_gateway:
  routes:
    - {path: "/right/*", target: right, auth_required: false}
    - {path: "/wrong/*", target: wrong, auth_required: false}
    - {path: "/longer/*", target: longer, auth_required: false}
    - {path: "/stranger/*", target: stranger, auth_required: false}
    - {path: "/plaintext/*", target: plaintext, auth_required: false}
    - {path: "/team-a/*", target: "team-a*", auth_required: false}
    - {path: "/team-b/*", target: "team-b*", auth_required: false}
"""


class Target:
    """An instance that answers each request with 200, and keeps the names of its clients."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        self.port = 0
        self.requests: list[bytes] = []
        self.clients: list[str] = []

    async def start(self) -> None:
        server = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        self._server = await server
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peercert")
        if peer:
            self.clients += [value for kind, value in peer["subjectAltName"] if kind == "DNS"]
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            await writer.drain()
        writer.close()


def _context(directory: Path, name: str, signer: Authority, trusted: str) -> ssl.SSLContext:
    certificate, key = (directory / f"{name}.{end}" for end in ("crt", "key"))
    issued = signer.issue(name, names=[NAMES[name]])
    certificate.write_bytes(issued[0])
    key.write_bytes(issued[1])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=trusted)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    return context


@contextlib.asynccontextmanager
async def targets(directory: Path, authority: Authority) -> AsyncIterator[dict[str, Target]]:
    other = Authority("other")
    found = {}
    for name, san in NAMES.items():
        signer = other if name == "stranger" else authority
        context = _context(directory, name, signer, authority.pem.decode()) if san else None
        found[name] = Target(context)
        await found[name].start()
    try:
        yield found
    finally:
        for target in found.values():
            target.stop()


async def test_envoy_reaches_only_instances_with_the_certificate_of_their_service(
    tmp_path: Path,
) -> None:
    authority = Authority("targets")
    certificate, key = authority.issue("gateway", names=["gateway.jobfirst.local"])
    for name, content in (("ca", authority.pem), ("crt", certificate), ("key", key)):
        (tmp_path / f"gateway.{name}").write_bytes(content)

    def configure(config: dict[str, Any]) -> None:
        del config["gateway"]["unsafe_plaintext_targets"]
        config["gateway"]["tls"] = {
            "san": "{service}.jobfirst.local",
            "ca_file": str(tmp_path / "gateway.ca"),
            "cert_file": str(tmp_path / "gateway.crt"),
            "key_file": str(tmp_path / "gateway.key"),
        }

    async with (
        targets(tmp_path, authority) as found,
        running(tmp_path, configure, TLS_ROUTES) as rig,
    ):
        for number, (name, target) in enumerate(found.items(), 1):
            rig.register(number, target.port, service_name=name)
        await _until(partial(rig.ask, None, "/right/x"), lambda answer: answer[0] == 200)
        answers = {name: (await rig.ask(None, f"/{name}/x"))[0] for name in NAMES}
    assert answers == {
        **dict.fromkeys(NAMES, 503),
        "right": 200,
        "team-a": 200,
    }
    reached = {name for name, target in found.items() if target.requests}
    assert reached == {"right", "team-a"}, "no other got a byte of a request"
    assert set(found["right"].clients) == {"gateway.jobfirst.local"}


async def test_envoy_sends_nothing_to_a_fixed_address_whose_probes_fail(tmp_path: Path) -> None:
    urls = (f"http://localhost:{free_port()}", f"http://localhost:{free_port()}")
    down, up = (Instance(url, "zervi", url) for url in urls)
    directory = Directory(fixed={"zervi": (down._replace(health=Health.CRITICAL), up)})
    settings = FileSettings(str(tmp_path), services={"zervi": urls})
    FileWriter(tmp_path).write(contents(["zervi"], directory, settings))
    envoy = await Envoy.start(bootstrap(tmp_path, free_port()), tmp_path)
    try:
        lines = (await envoy.admin("/clusters")).splitlines()
        shown = [each.split("::") for each in lines if each.startswith("zervi::")]
        states = {
            each[1].rpartition(":")[2]: each[3] for each in shown if each[2] == "health_flags"
        }
    finally:
        await envoy.stop()
    ports = [url.rpartition(":")[2] for url in urls]
    assert states == {ports[0]: "/failed_eds_health", ports[1]: "healthy"}


async def _put(etcd: Etcd, number: int, port: int) -> None:
    name = f"basic-server-{number}"
    value = {"service_name": name, "address": "127.0.0.1", "port": port, "health_status": "healthy"}
    key = base64.b64encode(f"/looma/services/{name}".encode()).decode()
    body = {"key": key, "value": base64.b64encode(json.dumps(value).encode()).decode()}
    await etcd.ask("/v3/kv/put", body)


async def test_users_are_served_while_etcd_is_down_and_it_goes_on_after_its_restart(
    tmp_path: Path,
) -> None:
    (tmp_path / "etcd").mkdir()
    async with etcd_server(tmp_path / "etcd") as etcd:

        def configure(config: dict[str, Any]) -> None:
            config["looma"] |= {"kind": "etcd", "url": etcd.url}

        async with running(tmp_path, configure) as rig:
            ports = set()
            for number in (1, 2):
                ports.add(port := await rig.add(number))
                await _put(etcd, number, port)
            first = await rig.until_placed(ports)
            await etcd.kill()
            await _until(rig.readyz, lambda shown: shown["directory"]["state"] == "degraded")
            assert await rig.until_placed(ports) == first
            await etcd.start()
            await _until(rig.readyz, lambda shown: shown["directory"]["state"] == "ready")
            third = await rig.add(3)
            await _put(etcd, 3, third)
            second = await rig.until_placed({*ports, third})
            assert all(second[user] in (port, third) for user, port in first.items())


async def _until(ask: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool]) -> None:
    """Ask until an answer is as expected; Envoy and the sidecar give no event for it."""
    async with asyncio.timeout(30):
        while True:
            if holds(await ask()):
                return
            await asyncio.sleep(0.05)


async def test_ten_thousand_instances_of_which_half_flap_disturb_no_user(tmp_path: Path) -> None:
    """None of them answers; the user's own server is among them."""
    async with running(tmp_path) as rig:
        port = await rig.add(0)
        for number in range(1, 10_001):
            address = f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
            rig.register(number, 1, address=address)
        rig.looma.allocations["user-1", "basic-server-0"] = {
            "user_id": "user-1",
            "service_name": "basic-server-0",
            "service_id": "basic-server-0",
        }
        await _until(partial(rig.ask, "user-1"), lambda answer: answer == (200, port))
        answers = set()
        for health, count in (("critical", 5000), ("healthy", 0)):
            for number in range(1, 10_001, 2):
                rig.looma.nodes[f"basic-server-{number}"].health_status = health
            answers |= {await rig.ask("user-1") for _ in range(100)}
            await _until(partial(_critical, rig), count.__eq__)
        assert answers == {(200, port)}


async def _critical(rig: Rig) -> int:
    """Return how many instances are critical, as the gateway's metrics show them."""
    async with rig.session.get(f"{rig.ops}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'gateway_instances\{health="critical",[^}]*\} (\d+)', text)
    return int(found[0]) if found else 0
