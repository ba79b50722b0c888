"""What routes can require, through a real Envoy with the output of ``generate envoy``.

One Envoy asks one sidecar. Its listener requires client certificates, for ``callers``.
"""

import asyncio
import secrets
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
import yaml

from demo.basic_server import BasicServer
from demo.envoy import Envoy
from demo.minting import sign
from demo.process import Process
from demo.stack import until_ready
from tests.edge.certificates import Authority
from tests.support.http1 import Answer, exchange
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

ORDERS = "spiffe://cluster.local/ns/shop/sa/orders"
BILLING = "spiffe://cluster.local/ns/shop/sa/billing"

ROUTES = f"""\
api_gateway:
  routes:
    - {{path: "/v1/things/{{id}}", permissions: [things:read]}}
    - {{path: "/v1/things/{{id}}:purge", permissions: [things:purge]}}
    - {{path: "/v{{version}}/files/{{name}}.json", permissions: [files:read]}}
    - {{path: "/site", hosts: ["*.example.com"], permissions: [site:read]}}
    - {{path: "/site", hosts: [admin.example.com], permissions: [site:admin]}}
    - path: "/tenants/{{tenant}}/reports"
      claims: {{tenant: "{{tenant}}", email_verified: true, department: [finance, audit]}}
      owner: {{segment: tenant, claim: org}}
    - {{path: /news, auth_required: optional}}
    - {{path: "/projects/{{id}}/issues", permissions: [issues:read]}}
    - {{path: "/projects/{{id}}", permissions: [projects:read]}}
    - {{path: /internal, permissions: ["things:read"], callers: ["{ORDERS}"]}}
"""
REPORTS: dict[str, Any] = {
    "tenant": "acme",
    "email_verified": True,
    "department": "audit",
    "org": "acme",
}


class Rig(NamedTuple):
    """One Envoy with one sidecar, and the certificates of its clients by mesh identity."""

    port: int
    secret: bytes
    clients: dict[str, ssl.SSLContext]
    basic_server: BasicServer

    async def ask(
        self,
        target: str,
        *granted: str,
        host: str = "api.test",
        peer: str = ORDERS,
        credential: str | None = None,
        **claims: Any,
    ) -> Answer:
        """Send a request with a token of these permissions and claims, if there are any."""
        if granted or claims:
            payload = {"iss": "test", "sub": "7", "exp": 4e9, "permissions": granted, **claims}
            credential = f"Bearer {sign(payload, self.secret)}"
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
        lines += [] if credential is None else [f"Authorization: {credential}"]
        message = "\r\n".join([*lines, "", ""]).encode()
        return await exchange(self.port, message, self.clients[peer])

    async def reason(self, target: str, *granted: str, **options: Any) -> str:
        """Return the reason of a denial; ``passed`` if the Basic Server got the request."""
        answer = await self.ask(target, *granted, **options)
        return "passed" if answer.status == 200 else str(answer.json["reason"])


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    directory = tmp_path_factory.mktemp("keys")
    secret = secrets.token_hex(32).encode()
    authority = Authority("mesh")
    pair(directory, "tls", authority.issue("envoy"))
    (directory / "ca.pem").write_bytes(authority.pem)
    clients = {}
    for name in (ORDERS, BILLING):
        context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
        context.load_cert_chain(*pair(directory, name[-6:], authority.issue("c", names=[name])))
        clients[name] = context
    basic_server = BasicServer()
    upstream, ingress, ops = free_port(), free_port(), free_port()
    await basic_server.start(upstream)
    config = write_config(directory, secret, upstream, ops)
    command = [sys.executable, "-m", "sidecar", "serve", "--config", str(config)]
    sidecar = await Process.start("sidecar", command, directory)
    try:
        await until_ready(sidecar, f"http://127.0.0.1:{ops}")
        envoy = await Envoy.start(await generated(directory, config, ingress), directory)
        try:
            yield Rig(ingress, secret, clients, basic_server)
        finally:
            await envoy.stop()
    finally:
        await sidecar.stop()
        await basic_server.stop()


def pair(directory: Path, name: str, issued: tuple[bytes, bytes]) -> tuple[Path, Path]:
    certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
    certificate.write_bytes(issued[0])
    key.write_bytes(issued[1])
    return certificate, key


def write_config(directory: Path, secret: bytes, upstream: int, ops: int) -> Path:
    (directory / "routes.yaml").write_text(ROUTES)
    (directory / "secret").write_bytes(secret)
    config = {
        "listen": {"authz": f"127.0.0.1:{free_port()}", "ops": f"127.0.0.1:{ops}"},
        "zervi": {"issuers": [{"issuer": "test", "secret_file": "secret"}]},
        "policy": {"file": "routes.yaml", "encoded": {"slash": "segment"}},
        "upstream": {"probe": {"url": f"http://127.0.0.1:{upstream}/health"}},
    }
    path = directory / "sidecar.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


async def generated(directory: Path, config: Path, ingress: int) -> dict[str, Any]:
    """Return the output of `generate envoy`, on loopback, and requiring client certificates.

    `doctor` reports the generated file, which requires none, and finds nothing in the result.
    """
    command = ["generate", "envoy", "--tls", str(directory)]
    command += ["--listen", f"127.0.0.1:{ingress}", "--stats", f"127.0.0.1:{free_port()}"]
    command += ["--upstream-grpc", f"127.0.0.1:{free_port()}"]
    _, output = await run(*command, "--config", str(config))
    loaded: dict[str, Any] = yaml.safe_load(output)
    (listener, _) = loaded["static_resources"]["listeners"]
    tls = listener["filter_chains"][0]["transport_socket"]["typed_config"]
    file = directory / "envoy.yaml"
    doctor = ("doctor", "--envoy", str(file), "--config", str(config))
    file.write_text(yaml.safe_dump(loaded))
    code, findings = await run(*doctor)
    assert (code, "routes name `callers`" in findings) == (1, True), findings
    ca = {"trusted_ca": {"filename": str(directory / "ca.pem")}}
    tls["common_tls_context"]["validation_context"] = ca
    tls["require_client_certificate"] = True
    file.write_text(yaml.safe_dump(loaded))
    code, findings = await run(*doctor)
    assert code == 0, findings
    return loaded


async def run(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sidecar", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_segment_with_a_literal_part_has_its_own_requirements(rig: Rig) -> None:
    assert await rig.reason("/v1/things/7", "things:read") == "passed"
    for verb in ("/v1/things/7:purge", "/v1/things/7%3Apurge"):
        assert await rig.reason(verb, "things:read") == "permission_denied"
        assert await rig.reason(verb, "things:read", "things:purge") == "passed"
    assert await rig.reason("/v2/files/a.json", "files:read") == "passed"
    assert await rig.reason("/v2/files/a.xml", "files:read") == "no_route"


async def test_a_host_below_a_wildcard_has_its_route_and_an_exact_host_wins(rig: Rig) -> None:
    for host in ("a.example.com", "a.b.example.com", "A.EXAMPLE.COM:443"):
        assert await rig.reason("/site", "site:read", host=host) == "passed"
    for host in ("example.com", "example.com.evil.test"):
        assert await rig.reason("/site", "site:read", host=host) == "no_route"
    assert await rig.reason("/site", "site:read", host="admin.example.com") == "permission_denied"
    assert await rig.reason("/site", "site:admin", host="admin.example.com") == "passed"


async def test_conditions_on_claims_and_an_owner_by_another_claim(rig: Rig) -> None:
    target = "/tenants/acme/reports"
    assert await rig.reason(target, **REPORTS) == "passed"
    for wrong in ({"tenant": "other"}, {"email_verified": "true"}, {"department": "sales"}):
        answer = await rig.ask(target, **REPORTS | wrong)
        assert (answer.status, answer.json["reason"]) == (403, "claim_denied")
    assert await rig.reason(target, **REPORTS | {"org": "other"}) == "not_owner"
    assert await rig.reason("/tenants/other/reports", **REPORTS) == "claim_denied"


async def test_an_optional_token_brings_its_identity_and_a_bad_one_is_denied(rig: Rig) -> None:
    public = await rig.ask("/news")
    assert (public.status, public.arrived("x-user-id")) == (200, [])
    named = await rig.ask("/news", email="a@b.test")
    assert (named.status, named.arrived("x-user-id")) == (200, ["7"])
    assert await rig.reason("/news", credential="Basic dTpw") == "passed"
    assert await rig.reason("/news", exp=1) == "token_expired"
    forged = Rig(rig.port, b"x" * 32, rig.clients, rig.basic_server)
    assert await forged.reason("/news", email="a@b.test") == "token_signature"


async def test_a_kept_slash_stays_in_its_segment_up_to_the_basic_server(rig: Rig) -> None:
    target = "/projects/group%2Fproject/issues"
    answer = await rig.ask(target, "issues:read")
    assert (answer.status, answer.json["path"]) == (200, target)
    assert await rig.reason(target, "projects:read") == "permission_denied"
    assert await rig.reason("/projects/group%2Fissues", "issues:read") == "permission_denied"
    assert await rig.reason("/projects/group/issues", "projects:read") == "permission_denied"
    assert await rig.reason("/projects/a%2F..%2Fb", "projects:read") != "passed"


async def test_only_the_named_callers_certificate_passes(rig: Rig) -> None:
    assert await rig.reason("/internal", "things:read", peer=ORDERS) == "passed"
    seen = len(rig.basic_server.received)
    denied = await rig.ask("/internal", "things:read", peer=BILLING)
    assert (denied.status, denied.json["reason"]) == (403, "wrong_caller")
    assert await rig.reason("/internal", peer=BILLING) == "wrong_caller"
    assert await rig.reason("/internal", peer=ORDERS) == "token_missing"
    assert len(rig.basic_server.received) == seen


async def test_a_client_without_a_certificate_gets_no_answer(rig: Rig) -> None:
    bare = ssl.create_default_context()
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
        await exchange(rig.port, b"GET /news HTTP/1.1\r\nHost: a.test\r\n\r\n", bare)
