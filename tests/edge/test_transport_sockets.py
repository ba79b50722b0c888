"""Every transport binds and releases addresses in the same way."""

import asyncio
import errno
import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from sidecar.net.addresses import MAX_PATH_BYTES
from sidecar.transport.interface import Listener, ListenError
from sidecar.transport.sockets import address_of, listen
from tests.edge.transport_rig import NewServer, call, connect, methods, serving


async def refusal(transport: NewServer, address: str) -> str:
    """Start a server whose address must be refused; return the error message."""
    server = transport(Listener(address), methods())
    with pytest.raises(ListenError) as caught:
        await server.start()
    await server.drain(0)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def names(directory: Path) -> list[str]:
    """Return the names in a directory."""
    return [path.name for path in directory.iterdir()]


@pytest.mark.parametrize("address", ["127.0.0.1:0", "[::1]:0", "localhost:0"])
async def test_a_port_of_0_is_resolved_and_served(transport: NewServer, address: str) -> None:
    async with serving(transport, methods(), Listener(address)) as bound:
        assert bound.rpartition(":")[0] == address.rpartition(":")[0]
        async with connect(bound) as channel:
            assert await call(channel, "/t/Echo", b"hello") == b"hello"


async def test_localhost_is_served_on_each_of_its_addresses(transport: NewServer) -> None:
    async with serving(transport, methods(), Listener("localhost:0")) as bound:
        port = int(bound.rpartition(":")[2])
        found = socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)
        for _, _, _, _, (host, *_) in found:
            shown = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
            async with connect(shown) as channel:
                assert await call(channel, "/t/Echo", b"hello") == b"hello"


@pytest.mark.parametrize("reuse_port", [False, True])
async def test_a_port_in_use_is_refused_even_if_the_other_allows_sharing(
    transport: NewServer, reuse_port: bool
) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, reuse_port)
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"
        assert await refusal(transport, address) == f"address {address} is already in use"


async def test_a_second_server_on_a_port_is_refused_and_the_first_continues(
    transport: NewServer,
) -> None:
    async with serving(transport, methods()) as address, connect(address) as channel:
        assert await refusal(transport, address) == f"address {address} is already in use"
        assert await call(channel, "/t/Echo", b"hello") == b"hello"


async def test_an_address_of_another_machine_is_refused(transport: NewServer) -> None:
    assert "cannot listen" in await refusal(transport, "192.0.2.1:9001")


async def test_a_host_that_does_not_exist_is_refused(transport: NewServer) -> None:
    assert "cannot resolve the host" in await refusal(transport, "no-such-host.invalid:9001")


@pytest.mark.parametrize(
    "address",
    [
        *("", "9001", ":9001", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536"),
        *("::1:9001", "[::1]", "[]:1", "127.0.0.1:-1", "127.0.0.1:١", "[127.0.0.1]:1"),
        *("unix:", "unix:relative", "unix:/dir/", "unix:/a\0b", f"unix:/{'x' * MAX_PATH_BYTES}"),
    ],
)
def test_an_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(ListenError):
        address_of(address)


async def test_a_unix_socket_has_its_mode_and_leaves_no_other_file(
    transport: NewServer, tmp_path: Path
) -> None:
    path = tmp_path / "authz.sock"
    former = os.umask(0o777)
    try:
        async with serving(transport, methods(), Listener(f"unix:{path}", None, 0o620)) as address:
            assert address == f"unix:{path}"
            assert stat.S_IMODE(path.stat().st_mode) == 0o620
            assert names(tmp_path) == [path.name]
            async with connect(address) as channel:
                assert await call(channel, "/t/Echo", b"hello") == b"hello"
            assert os.umask(0o777) == 0o777
    finally:
        os.umask(former)
    assert names(tmp_path) == []


async def test_a_path_with_special_characters_is_used_unchanged(
    transport: NewServer, tmp_path: Path
) -> None:
    directory = tmp_path / "a %41 目录"
    directory.mkdir()
    path = directory / "b?#%2f.sock"
    async with serving(transport, methods(), Listener(f"unix:{path}")):
        assert names(directory) == [path.name]
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


async def test_a_stale_socket_is_replaced(transport: NewServer, tmp_path: Path) -> None:
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as killed:  # as after kill -9
        killed.bind(str(path))
        killed.listen()
    server = serving(transport, methods(), Listener(f"unix:{path}"))
    async with server as address, connect(address) as channel:
        assert await call(channel, "/t/Echo", b"hello") == b"hello"


async def test_a_live_socket_is_refused_and_its_server_continues(
    transport: NewServer, tmp_path: Path
) -> None:
    listener = Listener(f"unix:{tmp_path / 'authz.sock'}")
    async with serving(transport, methods(), listener) as address:
        assert await refusal(transport, address) == f"another sidecar is serving on {address}"
        async with connect(address) as channel:
            assert await call(channel, "/t/Echo", b"hello") == b"hello"
        assert names(tmp_path) == ["authz.sock"]


async def test_a_live_server_with_a_full_backlog_counts_as_live(
    transport: NewServer, tmp_path: Path
) -> None:
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        waiting = []
        while True:
            client = socket.socket(socket.AF_UNIX)
            waiting.append(client)
            client.setblocking(False)
            if client.connect_ex(str(path)) == errno.EAGAIN:
                break
        assert "another sidecar" in await refusal(transport, f"unix:{path}")
        for client in waiting:
            client.close()


@pytest.mark.parametrize("kind", ["file", "directory", "link to a file", "datagram socket"])
async def test_a_path_that_is_not_a_stream_socket_is_not_replaced(
    transport: NewServer, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "authz.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
        if kind == "file":
            path.write_text("precious")
        elif kind == "directory":
            path.mkdir()
        elif kind == "link to a file":
            (tmp_path / "target").write_text("precious")
            path.symlink_to(tmp_path / "target")
        else:
            datagram.bind(str(path))
        before = os.lstat(path)
        assert str(path) in await refusal(transport, f"unix:{path}")
        assert os.lstat(path) == before


async def test_a_missing_directory_is_refused_in_one_line(
    transport: NewServer, tmp_path: Path
) -> None:
    path = tmp_path / "missing" / "authz.sock"
    assert await refusal(transport, f"unix:{path}") == (
        f"unix:{path}: cannot listen: No such file or directory"
    )


async def test_a_directory_that_cannot_be_written_is_refused(transport: NewServer) -> None:
    assert "cannot listen" in await refusal(transport, "unix:/proc/authz.sock")


async def test_a_path_too_long_for_a_temporary_name_is_refused(
    transport: NewServer, tmp_path: Path
) -> None:
    directory = tmp_path / ("d" * (MAX_PATH_BYTES - 3 - len(os.fsencode(tmp_path))))
    assert "too long" in await refusal(transport, f"unix:{directory}/s")


async def test_a_server_that_ends_does_not_remove_its_successors_socket(
    transport: NewServer, tmp_path: Path
) -> None:
    path = tmp_path / "authz.sock"
    former = transport(Listener(f"unix:{path}"), methods())
    await former.start()
    path.unlink()
    async with serving(transport, methods(), Listener(f"unix:{path}")) as address:
        await former.drain(1)
        assert path.is_socket()
        async with connect(address) as channel:
            assert await call(channel, "/t/Echo", b"hello") == b"hello"
    assert not path.exists()


async def test_the_path_never_names_a_socket_that_does_not_answer(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.sock" for number in range(100)]
    refused: list[OSError] = []

    def connect_until_it_succeeds() -> None:
        for path in paths:
            while True:
                with socket.socket(socket.AF_UNIX) as client:
                    try:
                        client.connect(str(path))
                    except FileNotFoundError:
                        continue
                    except OSError as error:
                        refused.append(error)
                    break

    thread = threading.Thread(target=connect_until_it_succeeds)
    thread.start()
    listening = [await listen(f"unix:{path}") for path in paths]
    await asyncio.to_thread(thread.join)
    for one in listening:
        one.close()
    assert refused == []
    assert not any(map(os.path.lexists, paths))
