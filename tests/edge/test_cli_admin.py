"""``zervi-sidecar leave`` and ``promote``: what they print, and what they end with."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import cli
from sidecar.cli import admin_socket
from tests.edge.sidecar_rig import ROUTES, Sidecar, running, with_admin


class StandIn:
    """A socket that takes one request after another, and answers each with the same bytes."""

    def __init__(self, path: Path, answer: bytes) -> None:
        self.asked: list[bytes] = []
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                self.asked.append(peer.recv(65536))
                peer.sendall(self._answer)

    def close(self) -> None:
        """Take no more."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def answer(status: int, body: object) -> bytes:
    """Return an HTTP answer with a JSON body."""
    content = json.dumps(body).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(content), content)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write what names the socket; nothing else of it is looked at."""
    path = tmp_path / "sidecar.yaml"
    path.write_text(f"listen: {{admin: 'unix:{tmp_path}/admin.sock'}}\nother: [broken]\n")
    return path


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    """Answer as a sidecar that has left."""
    body = {"left": True, "detail": "left the registry; not ready, but still deciding"}
    server = StandIn(tmp_path / "admin.sock", answer(200, body))
    yield server
    server.close()


def test_leave_asks_the_socket_that_the_configuration_names(
    config: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leave", "--config", str(config)]) == 0
    assert capsys.readouterr() == ("left the registry; not ready, but still deciding\n", "")
    (asked,) = stand_in.asked
    assert asked.startswith(b"POST /leave HTTP/1.1\r\n")


def test_a_socket_may_be_named_itself(
    tmp_path: Path, stand_in: StandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leave", "--socket", f"{tmp_path}/admin.sock"]) == 0
    assert cli.main(["leave", "--socket", f"unix:{tmp_path}/admin.sock"]) == 0
    assert len(stand_in.asked) == 2


def test_the_configuration_of_the_image_is_the_default(
    config: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    dockerfile = (Path(__file__).parents[2] / "Dockerfile").read_text()
    assert f'CMD ["serve", "--config", "{admin_socket.DEFAULT_CONFIG}"]' in dockerfile
    monkeypatch.setattr(admin_socket, "DEFAULT_CONFIG", config)
    assert cli.main(["leave"]) == 0


@pytest.mark.parametrize("good", [True, False])
def test_leave_waits_after_the_answer_whatever_it_was(
    config: Path, tmp_path: Path, good: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For load balancers, which Kubernetes tells in any case."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    body = {"left": good, "detail": "x"}
    server = StandIn(tmp_path / "admin.sock", answer(200 if good else 502, body))
    assert cli.main(["leave", "--wait", "10s", "--config", str(config)]) == (0 if good else 1)
    server.close()
    assert slept == [10.0]


def test_leave_waits_even_if_no_process_listens(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert cli.main(["leave", "--wait", "250ms", "--config", str(config)]) == 1
    assert slept == [0.25]


@pytest.mark.parametrize("wait", ["10", "soon", "-1s", "2h", ""])
def test_an_invalid_wait_is_a_usage_error(
    config: Path, wait: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["leave", f"--wait={wait}", "--config", str(config)])
    assert ended.value.code == 2
    assert "--wait" in capsys.readouterr().err


def test_the_former_way_by_the_ops_address_names_its_successor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["leave", "--ops", "127.0.0.1:9002"])
    assert ended.value.code == 2
    assert "set listen.admin, and use --config or --socket" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["leave", "promote"])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "sidecar.yaml does not set listen.admin"),
        ("listen: {admin: null}", "sidecar.yaml does not set listen.admin"),
        ("listen: {admin: '127.0.0.1:9004'}", "sidecar.yaml: listen.admin must be a unix socket"),
        ("listen: {admin: 7}", "sidecar.yaml: listen.admin must be a unix socket"),
        (None, "sidecar.yaml cannot be read: No such file or directory"),
        ("listen: [", "sidecar.yaml:2:1: error: this is not valid YAML"),
    ],
)
def test_a_configuration_without_the_socket_is_an_error(
    tmp_path: Path,
    command: str,
    content: str | None,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "sidecar.yaml"
    if content is not None:
        path.write_text(content)
    assert cli.main([command, "--config", str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert err.count("\n") == 1


def test_a_missing_socket_is_an_error(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["leave", "--config", str(config)]) == 1
    assert f"the socket {tmp_path}/admin.sock" in capsys.readouterr().err


def test_a_socket_without_a_listener_is_an_error(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(f"{tmp_path}/admin.sock")
    assert cli.main(["leave", "--config", str(config)]) == 1
    assert f"no process listens on {tmp_path}/admin.sock" in capsys.readouterr().err


def test_another_user_gets_an_error_that_says_so(config: Path) -> None:
    """By the file's mode."""
    code = (  # the first call imports what another user may not read
        "import contextlib, io, os, sys; from sidecar import cli\n"
        "with contextlib.redirect_stderr(io.StringIO()): cli.main(['leave', '--socket', '/none'])\n"
        "os.setgroups([]); os.setgid(12345); os.setuid(12345); sys.exit(cli.main(sys.argv[1:]))"
    )
    if os.geteuid() != 0:
        pytest.skip("only root can act as other users")
    with socket.socket(socket.AF_UNIX) as served:
        path = config.with_name("admin.sock")
        served.bind(str(path))
        served.listen()
        path.chmod(0o600)
        command = [sys.executable, "-c", code, "leave", "--socket", str(path)]
        # The other user may not write coverage data.
        env = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=30, check=False, env=env
        )
    assert done.returncode == 1
    assert done.stderr == (
        f"{path}: permission denied: only the sidecar's user and root may use it, not uid 12345\n"
    )


@pytest.mark.parametrize(
    ("bytes_", "said"),
    [
        (b"", "closed the connection without an answer"),
        (b"220 smtp.example.org ESMTP\r\n", "is not a zervi-sidecar"),
        (answer(404, {"error": "not found"}), "not found"),
        (answer(200, ["no", "object"]), "is not a zervi-sidecar"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n[[[[", "is not a zervi-sidecar"),
    ],
    ids=["nothing", "no HTTP", "404", "no object", "cut off"],
)
def test_an_answer_from_another_program_is_an_error(
    config: Path, tmp_path: Path, bytes_: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    server = StandIn(tmp_path / "admin.sock", bytes_)
    assert cli.main(["promote", "--config", str(config)]) == 1
    server.close()
    assert said in capsys.readouterr().err


def promotable(sidecar: Sidecar) -> None:
    """Configure a candidate that may be promoted."""
    sidecar.write("next.yaml", ROUTES.replace("permissions: [closed:read]", "auth_required: false"))
    shadow = {"file": "next.yaml", "promotable": True}
    with_admin(sidecar, policy={"file": "routes.yaml", "shadow": shadow})


async def test_promote_puts_the_candidate_in_force_once(tmp_path: Path) -> None:
    """The commands as they are called, and a whole sidecar."""

    def command(name: str, *more: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "sidecar", name, "--config", f"{tmp_path}/sidecar.yaml"]
        return subprocess.run(
            [*words, *more], capture_output=True, text=True, timeout=30, check=False
        )

    async with running(tmp_path, promotable) as sidecar:
        assert await sidecar.reason() == "token_missing"
        promoted = command("promote")
        assert (promoted.returncode, promoted.stderr) == (0, "")
        assert promoted.stdout.startswith("policy ")
        assert "1 request compared, 1 decided differently" in promoted.stdout
        assert await sidecar.reason() == "public"
        again = command("promote")
        assert (again.returncode, again.stdout) == (1, "")
        assert again.stderr == "there is no candidate that is not in force\n"
        for _ in range(2):
            left = command("leave", "--wait", "10ms")
            assert (left.returncode, left.stderr) == (0, "")
            assert left.stdout == "no registry is configured; not ready, but still deciding\n"
        assert await sidecar.reason() == "public"


def test_a_removed_command_names_its_successor(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", "--once"])
    assert ended.value.code == 2
    assert "`demo` was removed: use `make demo` in a checkout" in capsys.readouterr().err
