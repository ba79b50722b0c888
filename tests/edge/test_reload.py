"""Files that change while the sidecar runs: the whole sidecar, real files, real signals."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import ssl_channel_credentials

from demo.looma import start_looma
from sidecar.config.policy_file import digest_of
from tests.edge.certificates import Authority
from tests.edge.sidecar_rig import ROUTES, SECRET, Sidecar, running, token
from tests.support.waiting import eventually

OPENED = ROUTES.replace("permissions: [closed:read]", "auth_required: false")
INFO = 'zervi_sidecar_policy_info{digest="%s"}'
RELOADS = 'zervi_sidecar_policy_reloads_total{result="%s"}'


@pytest.fixture
async def sidecar(tmp_path: Path) -> AsyncIterator[Sidecar]:
    """Run one with a policy and a secret in files."""
    async with running(tmp_path) as made:
        yield made


async def policy_shows(sidecar: Sidecar, why: str) -> dict[str, str]:
    """Wait until /readyz shows why a policy was refused; return that component."""
    component = {"detail": ""}
    async with asyncio.timeout(20):
        while why not in component["detail"]:
            component = await sidecar.component("policy")
    return component


async def refused(sidecar: Sidecar, why: str) -> None:
    """Ask for a reload; wait until it was refused for this."""
    sidecar.signal(signal.SIGHUP)
    component = await policy_shows(sidecar, why)
    assert component["state"] == "degraded"
    kept = digest_of(ROUTES.encode())
    assert component["detail"].startswith(f"{kept} is kept; not reloaded: ")
    assert await sidecar.metric(INFO % kept) == 1
    assert (await sidecar.ops("/readyz"))[0] == 200


async def test_a_bad_policy_changes_nothing_but_what_is_told_of_it(sidecar: Sidecar) -> None:
    """Empty, cut in half, misspelled, too large, no text, a directory, gone: in turn."""
    policy = sidecar.directory / "routes.yaml"
    bad: dict[str, str | bytes] = {
        "routes.yaml:1:1: error: the file is empty": "",
        "routes.yaml:4:1: error: this is not valid YAML": ROUTES[: len(ROUTES) // 2],
        "error: unknown key `permision`": ROUTES.replace("permissions", "permision"),
        "routes.yaml:5:": ROUTES + '    - {path: "/open/*"}\n',
        "the file is not valid UTF-8": b"\xff\xfe" * 99,
        "is larger than": b"#" * (32 * 1024 * 1024),
    }
    for why, content in bad.items():
        sidecar.write("routes.yaml", content)
        await refused(sidecar, why)
        await sidecar.says(why)
        assert await sidecar.reason() == "token_missing"
    policy.unlink()
    await refused(sidecar, "No such file")
    policy.mkdir()
    await refused(sidecar, "Is a directory")
    assert await sidecar.metric(RELOADS % "failure") >= len(bad) + 2
    policy.rmdir()
    sidecar.write("routes.yaml", OPENED)
    sidecar.signal(signal.SIGHUP)
    await sidecar.says(f"policy {digest_of(OPENED.encode())} is in force")
    assert (await sidecar.component("policy"))["state"] == "ready"
    assert await sidecar.reason() == "public"


async def test_a_swapped_symlink_is_noticed_by_itself(tmp_path: Path) -> None:
    """``..data`` is replaced, as a ConfigMap's is; the files' names and times may stay the same."""

    def as_configmap(sidecar: Sidecar) -> None:
        for version, routes in (("..1", ROUTES), ("..2", OPENED)):
            (tmp_path / version).mkdir()
            sidecar.write(f"{version}/routes.yaml", routes)
            os.utime(tmp_path / version / "routes.yaml", (0, 0))
        (tmp_path / "routes.yaml").unlink()
        (tmp_path / "..data").symlink_to("..1")
        (tmp_path / "routes.yaml").symlink_to("..data/routes.yaml")

    async with running(tmp_path, as_configmap) as sidecar:
        assert await sidecar.reason() == "token_missing"
        (tmp_path / "..next").symlink_to("..2")
        (tmp_path / "..next").rename(tmp_path / "..data")
        await sidecar.says("is in force (was ")
        assert await sidecar.reason() == "public"
        old, new = (digest_of(text.encode()) for text in (ROUTES, OPENED))
        assert await sidecar.metric(INFO % new) == 1
        assert (INFO % old) not in (await sidecar.ops("/metrics"))[1]
        assert await sidecar.metric(RELOADS % "success") == 1


async def test_a_storm_of_sighups_changes_nothing_and_the_last_change_counts(
    sidecar: Sidecar,
) -> None:
    for _ in range(300):
        sidecar.signal(signal.SIGHUP)
    await sidecar.says("unchanged")
    assert await sidecar.reason(bearer=token()) == "ok"
    for text in (OPENED, ROUTES) * 20 + (OPENED,):
        sidecar.write("routes.yaml", text)
        sidecar.signal(signal.SIGHUP)
    wanted = digest_of(OPENED.encode())
    async with asyncio.timeout(20):
        while await sidecar.reason() != "public" or await sidecar.metric(INFO % wanted) != 1:
            assert await sidecar.reason(bearer=token()) in ("ok", "public")


async def test_a_changed_secret_ends_tokens_of_the_old_one_at_once(sidecar: Sidecar) -> None:
    """Cached ones too; a list of two lets both live while it is changed."""
    old, new = token(), token("another secret, made up for the tests as well")
    for _ in range(2):  # the second answer comes from the cache
        assert await sidecar.reason(bearer=old) == "ok"
    assert await sidecar.reason(bearer=new) == "token_signature"
    sidecar.write("secret", "too short")
    await refused(sidecar, "sidecar.yaml:")
    assert await sidecar.reason(bearer=old) == "ok"
    sidecar.write("secret", "another secret, made up for the tests as well\n")
    sidecar.signal(signal.SIGHUP)
    await sidecar.says("secrets reloaded")
    assert await sidecar.reason(bearer=old) == "token_signature"
    assert await sidecar.reason(bearer=new) == "ok"
    assert SECRET not in (sidecar.directory / "sidecar.stderr").read_text()


async def test_new_settings_wait_for_a_restart_and_that_is_said(sidecar: Sidecar) -> None:
    """By the names of their keys."""
    sidecar.configure(log={"level": "debug"}, drain="1s")
    await sidecar.says("sidecar.yaml reloaded: drain, log.level")
    sidecar.configure(log={"level": "loud"})
    await refused(sidecar, "sidecar.yaml:")


@pytest.mark.parametrize("kind", ["grpcio", "h2"])
async def test_renewed_certificates_are_shown_and_unfit_ones_are_not(
    tmp_path: Path, kind: str
) -> None:
    """Whatever the state of the policy: a certificate's end does not wait for its repair."""
    authority = Authority("ours")

    def renew(sidecar: Sidecar) -> str:
        certificate, key = authority.issue("server")
        sidecar.write("tls.crt", certificate)
        sidecar.write("tls.key", key)
        return certificate.decode()

    def with_tls(sidecar: Sidecar) -> None:
        renew(sidecar)
        listen: dict[str, Any] = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0"}
        tls = {"cert_file": "tls.crt", "key_file": "tls.key"}
        sidecar.configure(listen={**listen, "transport": kind, "tls": tls})

    async with running(tmp_path, with_tls) as sidecar:
        port = int(sidecar.address("authz").rpartition(":")[2])

        def shown() -> str:
            return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)

        trusted = ssl_channel_credentials(authority.pem)
        assert await sidecar.reason("/open/1", credentials=trusted) == "public"
        second = renew(sidecar)
        sidecar.signal(signal.SIGHUP)
        await sidecar.says("new connections get the new certificates")
        assert await asyncio.to_thread(shown) == second
        sidecar.write("tls.key", authority.issue("server")[1])
        sidecar.signal(signal.SIGHUP)
        await sidecar.says("listen.tls: the former certificates are kept: ")
        assert await asyncio.to_thread(shown) == second
        await policy_shows(sidecar, "sidecar.yaml:")
        sidecar.write("routes.yaml", "")
        third = renew(sidecar)
        sidecar.signal(signal.SIGHUP)
        await eventually(
            lambda: len(sidecar.said("new connections get the new")) == 2, "renewed again"
        )
        assert await asyncio.to_thread(shown) == third
        assert await sidecar.reason("/open/1", credentials=trusted) == "public"


async def test_the_registry_is_told_which_policy_runs(tmp_path: Path) -> None:
    looma = await start_looma(0)
    looma_section = {
        "url": looma.url,
        "heartbeat": "1s",
        "service": {"name": "basic-server", "address": "10.0.0.7", "port": 10000},
    }
    try:
        async with running(tmp_path, lambda s: s.configure(looma=looma_section)) as sidecar:

            def policies() -> set[tuple[object, object]]:
                return {
                    (node.report.get("policy_digest"), node.report.get("policy_generation"))
                    for node in looma.nodes.values()
                    if node.report
                }

            first = (digest_of(ROUTES.encode()), 1)
            await eventually(lambda: policies() == {first}, "the first policy", within=20)
            sidecar.write("routes.yaml", "")
            await refused(sidecar, "the file is empty")
            sidecar.write("routes.yaml", OPENED)
            sidecar.signal(signal.SIGHUP)
            second = (digest_of(OPENED.encode()), 2)
            await eventually(lambda: policies() == {second}, "the second policy", within=20)
    finally:
        await looma.stop()
