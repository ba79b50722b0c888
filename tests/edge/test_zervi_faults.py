"""The key-set engine against a key server that fails in every way, and its recovery each time."""

import gzip
import json

import pytest

from tests.edge import key_server
from tests.edge.key_server import MEGABYTE, Answer, document, serving
from tests.edge.zervi_rig import HASTE, SETTINGS, key_set, public, running, source
from tests.support.ports import free_port
from tests.support.signing import b64, ec_key, jwks, uint
from tests.support.waiting import eventually

GOOD = document(key_set("a"))
PRIVATE = public("a", d=uint(ec_key(name="a").private_numbers().private_value))
OCT = {"kty": "oct", "kid": "a", "k": b64(b"x" * 32).decode(), "alg": "HS256"}

HANGS: dict[str, tuple[Answer, str]] = {
    "never": (key_server.never, "no complete answer within 0.3 s"),
    "drips_head": (key_server.drips_head, "no complete answer within 0.3 s"),
    "drips_body": (key_server.drips_body, "no complete answer within 0.3 s"),
}
FAULTS: dict[str, tuple[Answer, str]] = {
    "reset": (key_server.reset, "connection"),
    "closes": (key_server.closes, "the connection was closed without an answer"),
    "reset_in_body": (key_server.reset_in_body, "the body ended early"),
    "ends_early": (key_server.ends_early, "the body ended early"),
    "endless_body": (key_server.endless_body, "larger than 256 KiB"),
    "endless_headers": (key_server.endless_headers, "not valid HTTP"),
    "200_mb": (key_server.two_hundred_megabytes, "larger than 256 KiB"),
    "200_mb_unannounced": (key_server.two_hundred_megabytes_unannounced, "larger than 256 KiB"),
    "redirect": (key_server.redirects, "status 302: redirects are"),
    "no_http": (key_server.no_http, "not valid HTTP"),
    "500": (document(b"sorry", status="500 Internal Server Error"), "status 500"),
    "404": (document(b"nobody", status="404 Not Found"), "status 404"),
    "204": (document(b"", status="204 No Content"), "status 204"),
    "206": (document(key_set("b"), status="206 Partial Content"), "status 206"),
    "304_unasked": (document(b"", status="304 Not Modified"), "status 304"),
    "gzip": (
        document(gzip.compress(bytes(MEGABYTE)), headers={"Content-Encoding": "gzip"}),
        "larger than 256 KiB",
    ),
    "not_gzip": (
        document(key_set("b"), headers={"Content-Encoding": "gzip"}),
        "not valid gzip",
    ),
    "half_gzip": (
        document(gzip.compress(key_set("b"))[:-9], headers={"Content-Encoding": "gzip"}),
        "not one whole gzip stream",
    ),
    "gzip_and_more": (
        document(gzip.compress(key_set("b")) + b"x", headers={"Content-Encoding": "gzip"}),
        "not one whole gzip stream",
    ),
    "gzip_twice": (
        document(gzip.compress(b"[]"), headers={"Content-Encoding": "gzip, gzip"}),
        "compressed, and not by gzip",
    ),
    "brotli": (document(b"\x0b", headers={"Content-Encoding": "br"}), "not by gzip"),
    "html": (document(b"<!doctype html><title>Sign in</title>"), "HTML"),
    "html_as_json": (document(b"\n <html>"), "HTML"),
    "truncated_json": (document(key_set("b")[:-9]), "not JSON"),
    "empty_body": (document(b""), "not JSON"),
    "list": (document(b"[]"), "not a JWKS"),
    "empty_set": (document(jwks()), "no keys"),
    "private_keys": (document(jwks(PRIVATE)), "private key"),
    "oct_keys": (document(jwks(OCT)), "oct"),
    "doubled_kid": (
        document(jwks(public("b"), {**public("a"), "kid": "b"})),
        "2 × another key has its kid",
    ),
    "101_keys": (document(jwks(*({"kty": "oct"} for _ in range(101)))), "none of its 101 keys"),
    "10000_keys": (
        document(json.dumps({"keys": [public("b")] * 10_000}).encode()),
        "larger than 256 KiB",
    ),
    "deep_json": (document(b"[" * 100_000), "nested deeper"),
}


@pytest.mark.parametrize("fault", [*FAULTS, *HANGS])
async def test_a_fault_keeps_the_last_good_set_and_its_end_is_noticed(fault: str) -> None:
    """Whatever the server does, the good set stays, the cause is named, the next good set comes."""
    answer, cause = {**FAULTS, **HANGS}[fault]
    settings = HASTE if fault in HANGS else SETTINGS
    async with serving(GOOD) as server, running(source(server.url), settings=settings) as rig:
        await rig.fetched()
        server.answer = answer
        assert await rig.ask("b") is False
        assert rig.last[0] == "failure"
        assert cause in rig.last[1]
        assert rig.kids == {"a"}
        assert rig.swaps == 1
        server.answer = document(key_set("a", "b"))
        await rig.fetched()
        assert rig.kids == {"a", "b"}


@pytest.mark.parametrize("fault", [*FAULTS, *HANGS])
async def test_a_start_with_a_faulty_server_waits_for_its_recovery(fault: str) -> None:
    """Without any good answer there are no keys; the first fetch after the fault brings them."""
    answer, _cause = {**FAULTS, **HANGS}[fault]
    settings = HASTE if fault in HANGS else SETTINGS
    async with serving(answer) as server, running(source(server.url), settings=settings) as rig:
        await rig.fetched("failure")
        assert rig.kids == set()
        server.answer = GOOD
        began = len(server.exchanges)
        await rig.fetched()
        assert len(server.exchanges) == began + 1
        assert rig.kids == {"a"}


async def test_a_refused_connection_is_followed_by_recovery() -> None:
    """A server that is down keeps the last good set; its return is noticed by the next retry."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        await server.stop()
        assert await rig.ask() is False
        assert rig.last == ("failure", "no connection: connection refused")
        assert rig.kids == {"a"}
        server.answer = document(key_set("b"))
        await server.start()
        await rig.fetched()
        assert rig.kids == {"b"}


async def test_a_name_that_does_not_resolve_is_a_failure_like_any_other() -> None:
    """The name stays unresolved, the engine goes on trying."""
    async with running(source("http://zervi.invalid/jwks.json")) as rig:
        await rig.fetched("failure")
        assert rig.last == ("failure", "the host name does not resolve")
        await rig.fetched("failure")


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x"])
async def test_a_url_that_cannot_be_asked_for_is_named_as_such(url: str) -> None:
    """Such a URL does not end the engine."""
    async with running(source(url)) as rig:
        await rig.fetched("failure")
        assert rig.last == ("failure", "the URL is not valid")


@pytest.mark.parametrize("fault", ["endless_body", "200_mb", "200_mb_unannounced"])
async def test_a_huge_body_is_cut_off_while_it_is_read(fault: str) -> None:
    """Of 200 MB no more is taken than the limit and what sockets buffer."""
    async with serving(FAULTS[fault][0]) as server, running(source(server.url)) as rig:
        await rig.fetched("failure")
        await eventually(lambda: server.open_connections == 0, "the connection ends")
        assert server.exchanges[0].sent < 16 * MEGABYTE


@pytest.mark.parametrize("fault", ["closes", "reset", "500"])
async def test_a_failure_is_one_request(fault: str) -> None:
    """No retry but the schedule's own: a fleet counts on it."""
    async with serving(FAULTS[fault][0]) as server, running(source(server.url)) as rig:
        rig.dice.wait = 3600.0
        await rig.fetched("failure")
        assert len(server.exchanges) == 1


async def test_a_redirect_is_not_followed() -> None:
    """Only the configured URL is ever asked."""
    async with serving(key_server.redirects) as server, running(source(server.url)) as rig:
        await rig.fetched("failure")
        await rig.fetched("failure")
        assert {exchange.target for exchange in server.exchanges} == {"/jwks.json"}


@pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", "", "é"])
async def test_a_wrong_content_type_does_not_matter(content_type: str) -> None:
    """The body is judged, not its label: real servers label a JWKS in many ways."""
    answer = document(key_set("a"), headers={"Content-Type": content_type})
    async with serving(answer) as server, running(source(server.url)) as rig:
        await rig.fetched()
        assert rig.kids == {"a"}


async def test_what_is_not_for_verifying_is_left_out_of_a_good_set() -> None:
    """One good key beside private, secret and encryption keys is a set of one."""
    encryption = {**public("e"), "use": "enc"}
    answer = document(jwks(public("a"), PRIVATE, OCT, encryption))
    async with serving(answer) as server, running(source(server.url)) as rig:
        await rig.fetched()
        assert rig.kids == {"a"}


async def test_a_start_without_a_server_backs_off_up_to_a_bound() -> None:
    """Without any keys the waits grow to a bound, so that a try is never far from its return."""
    async with running(source(f"http://127.0.0.1:{free_port()}/")) as rig:
        await eventually(lambda: rig.count("failure") >= 9, "some retries")
        ceilings = [ceiling for _floor, ceiling in rig.dice.spans[:9]]
        assert ceilings == [0.5, 1, 2, 4, 8, 15, 15, 15, 15]


async def test_an_outage_with_good_keys_is_waited_out_calmly() -> None:
    """While good keys are held and none is missed, a retry is hardly sooner than a refresh."""
    settings = SETTINGS._replace(refresh=30.0)
    async with serving(GOOD) as server, running(source(server.url), settings=settings) as rig:
        await rig.fetched()
        server.answer = key_server.closes
        await eventually(lambda: rig.count("failure") >= 3, "some retries")
        assert [ceiling for _floor, ceiling in rig.dice.spans[1:4]] == [20, 30, 30]


async def test_an_outage_in_which_a_key_is_missed_is_retried_quickly_at_first() -> None:
    """A key that was asked for hastens some retries; a good set forgets all that."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        for _ in range(2):
            await rig.fetched()
            spans = len(rig.dice.spans)
            server.answer = key_server.closes
            assert await rig.ask() is False
            for _ in range(5):
                await rig.fetched("failure")
            ceilings = [ceiling for _floor, ceiling in rig.dice.spans[spans : spans + 6]]
            assert ceilings == [0.5, 1, 2, 4, 300, 300]
            server.answer = GOOD


async def test_a_body_that_announces_too_much_is_not_read_at_all() -> None:
    """The length in the head is enough to refuse; nothing of the body has come yet."""

    async def announces(exchange: key_server.Exchange) -> None:
        await exchange.send(key_server.head(headers={"Content-Length": str(200 * MEGABYTE)}))
        await exchange.server.stopping.wait()

    async with serving(announces) as server, running(source(server.url)) as rig:
        await rig.fetched("failure")
        assert rig.last == ("failure", "the body is larger than 256 KiB")


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip"])
async def test_a_body_that_is_compressed_unasked_is_read(encoding: str) -> None:
    """Some servers and proxies compress whatever was asked for."""
    answer = document(gzip.compress(key_set("a")), headers={"Content-Encoding": encoding})
    async with serving(answer) as server, running(source(server.url)) as rig:
        await rig.fetched()
        assert rig.kids == {"a"}


async def test_a_request_says_what_it_wants_and_nothing_of_the_machine() -> None:
    """No compression is asked for; the headers are these and no others."""
    async with serving(GOOD) as server, running(source(server.url)) as rig:
        await rig.fetched()
        headers = dict(server.exchanges[0].headers)
        assert headers.pop("host") == f"127.0.0.1:{server.port}"
        assert headers == {
            "accept": "application/jwk-set+json, application/json",
            "accept-encoding": "identity",
            "user-agent": "zervi-sidecar",
            "connection": "close",
        }
