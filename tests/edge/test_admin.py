"""What changes a running sidecar's state: the admin socket, and nothing over TCP."""

import json
import signal
import socket
from pathlib import Path

import aiohttp
import pytest

from tests.edge.sidecar_rig import ROUTES, Sidecar, running, with_admin
from tests.support.waiting import eventually


def promotable(sidecar: Sidecar) -> None:
    """Configure an admin socket, and a candidate that may be promoted."""
    sidecar.write("next.yaml", ROUTES.replace("permissions: [closed:read]", "auth_required: false"))
    shadow = {"file": "next.yaml", "promotable": True}
    with_admin(sidecar, policy={"file": "routes.yaml", "shadow": shadow})


@pytest.mark.parametrize(("path", "command"), [("/leave", "leave"), ("/policy/promote", "promote")])
async def test_nothing_over_tcp_changes_state(tmp_path: Path, path: str, command: str) -> None:
    """Neither a form of another site in a browser, nor a foreign Host, nor an SSRF."""
    form = {"Origin": "https://evil.example", "Content-Type": "application/x-www-form-urlencoded"}
    async with running(tmp_path, promotable) as sidecar, aiohttp.ClientSession() as client:
        before = json.loads((await sidecar.ops("/readyz"))[1])
        url = f"http://{sidecar.address('ops')}{path}"
        for method in ("POST", "GET", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for headers in (form, {"Host": "evil.example"}, {"X-HTTP-Method-Override": "POST"}, {}):
                async with client.request(method, url, headers=headers, data=b"a=b") as answer:
                    assert answer.status == 404
                    assert answer.content_type == "application/json"
                    assert f"zervi-sidecar {command}" in (await answer.json())["error"]
        assert json.loads((await sidecar.ops("/readyz"))[1]) == before
        assert await sidecar.reason() == "token_missing"


async def test_the_ops_address_takes_get_and_head_only(tmp_path: Path) -> None:
    async with running(tmp_path) as sidecar:
        for path in ("/livez", "/readyz", "/metrics"):
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                assert (await sidecar.ops(path, method))[0] == 405
            assert (await sidecar.ops(path, "HEAD"))[0] == 200


async def test_without_listen_admin_there_is_no_socket(tmp_path: Path) -> None:
    async with running(tmp_path) as sidecar:
        assert not sidecar.admin_socket.exists()
        assert not sidecar.said("listen.admin")
        assert (await sidecar.ops("/leave", "POST"))[0] == 404


async def test_the_socket_is_0600_whatever_socket_mode_says_and_goes_with_the_sidecar(
    tmp_path: Path,
) -> None:
    def wide(sidecar: Sidecar) -> None:
        listen = {"authz": f"unix:{tmp_path}/authz.sock", "ops": "127.0.0.1:0"}
        admin = tmp_path / "admin"
        admin.mkdir(mode=0o700)
        sidecar.configure(
            listen={**listen, "admin": f"unix:{admin}/admin.sock", "socket_mode": "0666"}
        )

    async with running(tmp_path, wide) as sidecar:
        assert (tmp_path / "authz.sock").stat().st_mode & 0o777 == 0o666
        assert (tmp_path / "admin/admin.sock").stat().st_mode & 0o777 == 0o600
        sidecar.signal(signal.SIGTERM)
        assert await sidecar.ended() == 0
        assert not list((tmp_path / "admin").iterdir())


async def test_leaving_twice_is_leaving_once(tmp_path: Path) -> None:
    async with running(tmp_path, with_admin) as sidecar:
        first = await sidecar.admin("/leave")
        assert first[0] == 200
        assert await sidecar.admin("/leave") == first
        assert (await sidecar.ops("/readyz"))[0] == 503
        assert await sidecar.reason() == "token_missing"


async def test_a_socket_that_a_killed_sidecar_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "admin.sock"))
    async with running(tmp_path, with_admin) as sidecar:
        assert (await sidecar.admin("/leave"))[0] == 200


async def test_a_second_sidecar_on_the_socket_ends_with_a_line_and_harms_nothing(
    tmp_path: Path,
) -> None:
    (tmp_path / "second").mkdir()
    async with running(tmp_path, with_admin) as sidecar:
        second = Sidecar(tmp_path / "second")
        listen = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0"}
        second.configure(listen={**listen, "admin": f"unix:{sidecar.admin_socket}"})
        await second.start()
        assert await second.ended() == 1
        (said,) = second.said("cannot start")
        assert said == (
            f"cannot start: listen.admin: another sidecar is serving on unix:{sidecar.admin_socket}"
        )
        assert (await sidecar.admin("/leave"))[0] == 200


@pytest.mark.parametrize("kind", ["symlink", "dangling symlink", "file", "no directory"])
async def test_what_is_in_the_way_is_left_alone_and_named(tmp_path: Path, kind: str) -> None:
    sidecar = Sidecar(tmp_path)
    with_admin(sidecar)
    target = tmp_path / "target"
    if kind == "symlink":
        target.write_text("kept")
    if kind == "file":
        sidecar.admin_socket.write_text("kept")
    elif kind == "no directory":
        listen = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0"}
        sidecar.configure(listen={**listen, "admin": f"unix:{tmp_path}/none/admin.sock"})
    else:
        sidecar.admin_socket.symlink_to(target)
    await sidecar.start()
    assert await sidecar.ended() == 1
    (said,) = sidecar.said("cannot start: listen.admin: ")
    assert ("No such file or directory" if kind == "no directory" else "not a socket") in said
    if kind == "symlink":
        assert target.read_text() == "kept"
    elif kind == "dangling symlink":
        assert sidecar.admin_socket.is_symlink()
        assert not target.exists()
    elif kind == "file":
        assert sidecar.admin_socket.read_text() == "kept"


async def test_a_successors_socket_is_not_taken_away(tmp_path: Path) -> None:
    """By a former sidecar that ends late, when the path is not its own any more."""
    async with running(tmp_path, with_admin) as former:
        former.admin_socket.unlink()  # as a new file system in its place would
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(former.admin_socket))
            former.signal(signal.SIGTERM)
            assert await former.ended() == 0
            await eventually(former.admin_socket.is_socket, "the successor's socket stays")
