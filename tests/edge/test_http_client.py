"""The HTTP client against servers that break the protocol, over real sockets."""

import asyncio
import socket
from typing import Any

import pytest

from sidecar.net import http_client
from sidecar.net.http_client import (
    MAX_HEAD_BYTES,
    MAX_INTERIM,
    READ_BYTES,
    WIRE_BYTES,
    HttpClient,
    HttpError,
    HttpFault,
    read_body,
)
from tests.edge.key_server import Answer, Exchange, head, never, serving

pytestmark = pytest.mark.usefixtures("both_loops")

LIMIT = 1000
CHUNKED = head(headers={"Transfer-Encoding": "chunked"})
ENDLESS = 1_000_000  # repetitions; each connection ends long before


def sends(*parts: bytes) -> Answer:
    """Answer with these bytes as they are, then close."""

    async def answer(exchange: Exchange) -> None:
        for part in parts:
            await exchange.send(part)

    return answer


def repeats(begin: bytes, part: bytes) -> Answer:
    """Answer with ``begin``, then with ``part`` without an end."""

    async def answer(exchange: Exchange) -> None:
        await exchange.send(begin)
        for _ in range(ENDLESS):
            await exchange.send(part)

    return answer


async def fetched(url: str, method: str = "GET", **more: Any) -> tuple[int, bytes | None]:
    """Return the status and the body."""
    async with (
        asyncio.timeout(20),
        HttpClient().send(method, url, **more) as response,
    ):
        return response.status, await read_body(response, LIMIT)


FAULTS: dict[str, tuple[Answer, HttpFault]] = {
    "both_lengths": (
        sends(
            head(headers={"Content-Length": "5", "Transfer-Encoding": "chunked"}),
            b"5\r\nhello\r\n0\r\n\r\n",
        ),
        HttpFault.NOT_HTTP,
    ),
    "two_lengths": (
        sends(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi"),
        HttpFault.NOT_HTTP,
    ),
    "negative_length": (sends(head(headers={"Content-Length": "-1"})), HttpFault.NOT_HTTP),
    "odd_length": (sends(head(headers={"Content-Length": "+1"}), b"x"), HttpFault.NOT_HTTP),
    "unknown_coding": (sends(head(headers={"Transfer-Encoding": "gzip"})), HttpFault.NOT_HTTP),
    "two_codings": (
        sends(head(headers={"Transfer-Encoding": "gzip, chunked"})),
        HttpFault.NOT_HTTP,
    ),
    "chunk_size": (sends(CHUNKED, b"xyz\r\nhello\r\n"), HttpFault.NOT_HTTP),
    "negative_chunk": (sends(CHUNKED, b"-5\r\nhello\r\n"), HttpFault.NOT_HTTP),
    "huge_chunk_size": (sends(CHUNKED, b"F" * 50 + b"\r\n"), HttpFault.NOT_HTTP),
    "chunk_end": (sends(CHUNKED, b"5\r\nhelloworld"), HttpFault.NOT_HTTP),
    "endless_extension": (repeats(CHUNKED + b"5;a=", b"b" * 10_000), HttpFault.NOT_HTTP),
    "endless_trailers": (repeats(CHUNKED + b"0\r\n", b"a: b\r\n" * 1000), HttpFault.NOT_HTTP),
    "endless_status_line": (repeats(b"HTTP/1.1 200 ", b"O" * 10_000), HttpFault.NOT_HTTP),
    "endless_interim": (repeats(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100), HttpFault.NOT_HTTP),
    "interim_only": (sends(b"HTTP/1.1 103 Early Hints\r\n\r\n"), HttpFault.NOT_HTTP),
    "switching": (sends(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"), HttpFault.NOT_HTTP),
    "version_2": (sends(b"HTTP/2.0 200 OK\r\n\r\n"), HttpFault.NOT_HTTP),
    "version_9": (sends(b"HTTP/9.9 200 OK\r\n\r\n"), HttpFault.NOT_HTTP),
    "status_99": (sends(b"HTTP/1.1 99 OK\r\n\r\n"), HttpFault.NOT_HTTP),
    "status_1000": (sends(b"HTTP/1.1 1000 OK\r\n\r\n"), HttpFault.NOT_HTTP),
    "null_byte": (sends(b"HTTP/1.1 200 OK\r\nX: \0\r\n\r\n"), HttpFault.NOT_HTTP),
    "space_in_name": (sends(b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n"), HttpFault.NOT_HTTP),
    "tls": (sends(b"\x15\x03\x01\x00\x02\x02\x16"), HttpFault.NOT_HTTP),
    "half_a_head": (sends(b"HTTP/1.1 200 OK\r\nX: y"), HttpFault.NOT_HTTP),
    "nothing": (sends(), HttpFault.CLOSED),
    "short_body": (sends(head(headers={"Content-Length": "5"}), b"hell"), HttpFault.BODY),
    "no_last_chunk": (sends(CHUNKED, b"5\r\nhello\r\n"), HttpFault.BODY),
    "half_a_chunk": (sends(CHUNKED, b"5\r\nhel"), HttpFault.BODY),
    "half_a_chunk_size": (sends(CHUNKED, b"5"), HttpFault.BODY),
    "half_of_the_trailers": (sends(CHUNKED, b"0\r\na: b"), HttpFault.BODY),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_answer_that_breaks_the_protocol_is_refused_by_its_kind(fault: str) -> None:
    """Two lengths, wrong chunks, endless heads and early ends: no part of them is an answer."""
    answer, kind = FAULTS[fault]
    async with serving(answer) as server:
        with pytest.raises(HttpError) as refused:
            await fetched(server.url)
    assert refused.value.fault is kind
    assert server.exchanges[0].sent < 16 * 1024 * 1024  # what sockets buffer


@pytest.mark.parametrize(
    "part",
    [
        b"1;" + b"e" * 8000 + b"\r\nx\r\n",
        b"1\r\nx\r\n" * 1000,
        b"10000\r\n" + b"x" * 0x10000 + b"\r\n",
    ],
)
async def test_an_endless_body_is_cut_off_by_its_bytes_on_the_wire(part: bytes) -> None:
    """Chunk extensions are not a part of the body, and still count."""
    async with (
        serving(repeats(CHUNKED, part)) as server,
        asyncio.timeout(20),
        HttpClient().send("GET", server.url) as response,
    ):
        assert await read_body(response, LIMIT) is None
        assert response.wire.received <= WIRE_BYTES * LIMIT + 2 * READ_BYTES


async def test_many_tiny_chunks_leave_turns_to_other_tasks() -> None:
    """One read may hold thousands of chunks; a decision must not wait for all of them."""
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    parts = 900
    async with (
        serving(sends(CHUNKED + b"1\r\nx\r\n" * parts + b"0\r\n\r\n")) as server,
        HttpClient().send("GET", server.url) as response,
    ):
        task, before = asyncio.create_task(other()), turns
        assert await read_body(response, LIMIT) == b"x" * parts
        task.cancel()
    assert turns - before >= parts // 2


@pytest.mark.parametrize(
    "drip", [b"HTTP/1.1 200 OK\r\nX: ", CHUNKED + b"5;", CHUNKED + b"5\r\nhel"]
)
async def test_a_deadline_ends_a_server_that_stops_anywhere(drip: bytes) -> None:
    """The caller's deadline covers head, chunk header and body; the connection is closed."""

    async def stops(exchange: Exchange) -> None:
        await exchange.send(drip)
        await never(exchange)

    async with serving(stops) as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1), HttpClient().send("GET", server.url) as response:
                await read_body(response, LIMIT)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (sends(head(headers={"Content-Length": "5"}), b"hello, and more"), (200, b"hello")),
        (sends(CHUNKED, b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"), (200, b"hello")),
        (sends(head(), b"hello"), (200, b"hello")),
        (sends(b"HTTP/1.0 200 OK\r\n\r\nhello"), (200, b"hello")),
        (sends(b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello"), (200, b"hello")),
        (sends(b"HTTP/1.1 100 Continue\r\n\r\n" * MAX_INTERIM, head("204 No Content")), (204, b"")),
        (sends(head("304 Not Modified", {"Content-Length": "5"})), (304, b"")),
        (sends(head(headers={"X": "y" * (MAX_HEAD_BYTES // 2)}), b"hello"), (200, b"hello")),
        (sends(head(headers={"Content-Length": str(LIMIT + 1)})), (200, None)),
        (sends(head(), b"x" * (LIMIT + 1)), (200, None)),
        (sends(head(), b"x" * LIMIT), (200, b"x" * LIMIT)),
    ],
)
async def test_every_form_of_a_good_answer_is_read(
    answer: Answer, expected: tuple[int, bytes | None]
) -> None:
    """A length, chunks or the connection's end may end a body; interim answers are skipped."""
    async with serving(answer) as server:
        assert await fetched(server.url) == expected


async def test_fields_of_one_name_are_joined() -> None:
    """Several lines mean the same as one with commas (RFC 9110, 5.3)."""
    answer = sends(b"HTTP/1.1 204 A\r\nCache-Control: a\r\ncache-control: b\r\n\r\n")
    async with serving(answer) as server, HttpClient().send("GET", server.url) as response:
        assert response.header("Cache-Control") == "a, b"
        assert response.header("etag") == ""


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("", "/"),
        ("?a=b", "/?a=b"),
        ("/a%2Fb/ü c?x=\N{SNOWMAN}#part", "/a%2Fb/%C3%BC%20c?x=%E2%98%83"),
        ("/a\r\nX: y", "/aX:%20y"),
    ],
)
async def test_a_target_has_only_characters_that_are_valid_in_one(path: str, target: str) -> None:
    """Other characters are escaped as UTF-8; a line break cannot end the request line."""
    async with serving(sends(head("204 No Content"))) as server:
        assert await fetched(f"http://127.0.0.1:{server.port}{path}") == (204, b"")
        assert server.exchanges[0].target == target


async def test_credentials_of_a_url_are_sent_as_basic() -> None:
    """As user and password, unescaped (RFC 7617); a header of the caller's precedes."""
    async with serving(sends(head("204 No Content"))) as server:
        url = f"http://me:p%40ss@127.0.0.1:{server.port}/"
        await fetched(url)
        await fetched(url, headers={"authorization": "Bearer a"})
        first, second = (exchange.headers["authorization"] for exchange in server.exchanges)
        assert (first, second) == ("Basic bWU6cEBzcw==", "Bearer a")


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable of the pod must not lead its key sets and tokens elsewhere."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with serving(sends(head("204 No Content"))) as server:
        assert await fetched(server.url) == (204, b"")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/a",
        "ftp://a/",
        "http://",
        "http://a b/",
        "http://a:x/",
        "http://a:70000/",
        "http://[a/",
    ],
)
async def test_what_is_not_a_url_is_not_asked(url: str) -> None:
    """The message does not repeat it: it may hold a password."""
    with pytest.raises(HttpError, match=r"^the URL is not valid$"):
        await fetched(url)


async def test_a_header_cannot_be_split() -> None:
    """A value with a line break is not sent."""
    async with serving(sends(head("204 No Content"))) as server:
        with pytest.raises(HttpError):
            await fetched(server.url, headers={"x-a": "b\r\nx-c: d"})
        assert server.exchanges == []


@pytest.mark.parametrize(
    ("method", "content", "length"),
    [("GET", None, None), ("DELETE", None, "0"), ("POST", None, "0"), ("PUT", b"hello", "5")],
)
async def test_a_request_names_its_length(
    method: str, content: bytes | None, length: str | None
) -> None:
    """A server need not wait for the end of a body that is not sent."""
    async with serving(sends(head("204 No Content"))) as server:
        await fetched(server.url, method, content=content)
        assert server.exchanges[0].headers.get("content-length") == length


async def test_the_next_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that refuses, or that drops all packets, does not use up the deadline."""
    monkeypatch.setattr(http_client, "ADDRESS_SECONDS", 0.05)
    with socket.socket() as silent:  # it listens with a full queue: a SYN gets no answer
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        full = [socket.socket() for _ in range(4)]
        for each in full:
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        async with serving(sends(head("204 No Content"))) as server:
            addresses = [("127.0.0.1", 1), silent.getsockname(), ("127.0.0.1", server.port)]

            async def resolve(*_: object, **__: object) -> list[Any]:
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", a) for a in addresses]

            monkeypatch.setattr(http_client, "_resolve", resolve)
            assert await fetched("http://zervi.test/") == (204, b"")
        for each in full:
            each.close()


async def test_an_address_of_a_family_that_this_host_lacks_is_passed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A kernel without IPv6 resolves names to addresses that it has no sockets for."""
    lacked = (socket.AF_APPLETALK, socket.SOCK_STREAM, 6, "", ("::1", 1))
    async with serving(sends(head("204 No Content"))) as server:
        usable = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", server.port))
        found = [lacked, usable]

        async def resolve(*_: object) -> list[Any]:
            return found

        monkeypatch.setattr(http_client, "_resolve", resolve)
        assert await fetched("http://zervi.test/") == (204, b"")
        found.remove(usable)
        with pytest.raises(HttpError, match="no connection"):
            await fetched("http://zervi.test/")
