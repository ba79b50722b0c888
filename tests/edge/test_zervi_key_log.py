"""What an operator reads of key sets: each change once, causes with advice, never a secret."""

import logging

import pytest

from sidecar.core.tokens.key_sets import parse_key_set
from sidecar.zervi.interface import FetchError
from sidecar.zervi.key_log import LINES_BURST, KeyLog
from tests.edge import key_server
from tests.edge.key_server import document, serving
from tests.edge.zervi_rig import ALGORITHMS, ISSUER, SETTINGS, key_set, public, running, source
from tests.support.signing import jwks

GOOD = document(key_set("a"))
FREQUENT = SETTINGS._replace(refresh=1.0)


async def test_an_operator_gets_a_line_for_each_change_and_none_for_repeats(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Log lines: first keys, first failure with cause and advice, recovery, rotation."""
    caplog.set_level(logging.INFO, "sidecar.zervi")
    async with serving(GOOD) as server, running(source(server.url), settings=FREQUENT) as rig:
        await rig.fetched()
        await rig.fetched()
        server.answer = key_server.redirects
        for _ in range(3):
            await rig.fetched("failure")
        server.answer = document(key_set("b", "c"))
        await rig.fetched()
    lines = [record.getMessage() for record in caplog.records]
    where = server.url
    failed = (
        f"issuer {ISSUER}: no key set from {where}: status 302: redirects are not followed;"
        " the last good keys are usable for another 1 day, 0:00:00;"
        " put the final address into jwks_url"
    )
    assert lines == [
        f"issuer {ISSUER}: 1 key from {where}: 1 new, 0 removed",
        failed,
        f"issuer {ISSUER}: 2 keys from {where}: 2 new, 1 removed",
    ]


async def test_a_server_that_comes_and_goes_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The log has endless changes up to a bound, and the latest state in the end."""
    caplog.set_level(logging.INFO, "sidecar.zervi")
    log = KeyLog(ISSUER, "http://zervi.test/jwks.json")
    keys = parse_key_set(key_set("a"), algorithms=ALGORITHMS, fetched_at=0)
    for second in range(50):
        log.bad(FetchError("it flaps", "steady it"), 60.0, float(second))
        log.good(keys, keys, float(second))
    assert len(caplog.records) <= LINES_BURST + 1
    log.bad(FetchError("it stays down", "bring it back"), 60.0, 1000.0)
    assert "it stays down" in caplog.records[-1].getMessage()


async def test_the_operator_learns_what_the_age_of_keys_means(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No keys yet, keys still good and keys too old are three lines, the last one an error."""
    log = KeyLog(ISSUER, "http://zervi.test/jwks.json")
    error = FetchError("it is down", "bring it back")
    for left in (None, None, 60.0, 59.0, 0.0, -1.0):
        log.bad(error, left, 1000.0)
    assert [record.levelno for record in caplog.records] == [
        logging.WARNING,
        logging.WARNING,
        logging.ERROR,
    ]


async def test_keys_that_were_left_out_are_told_with_their_cause(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A good set that lacks some of its keys is a warning, once, naming no key."""
    left_out = "ignored: 1 × use is not sig"
    answer = document(jwks(public("a"), {**public("b"), "use": "enc"}))
    async with serving(answer) as server, running(source(server.url), settings=FREQUENT) as rig:
        await rig.fetched()
        await rig.fetched()
    assert [record.getMessage() for record in caplog.records] == [
        f"issuer {ISSUER}: 1 key from {server.url}: 1 new, 0 removed; {left_out}"
    ]


async def test_neither_password_nor_query_of_a_url_is_ever_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """They are sent to the server that they are for, and to no other."""
    caplog.set_level(logging.DEBUG)
    async with serving(GOOD) as server:
        url = server.url.replace("://", "://me:pass-word@") + "?key=query-secret"
        async with running(source(url)) as rig:
            await rig.fetched()
            for answer in (key_server.closes, key_server.redirects, key_server.no_http):
                server.answer = answer
                await rig.fetched("failure") if rig.last[0] == "failure" else await rig.ask()
            await server.stop()
            await rig.fetched("failure")
    shown = caplog.text + repr(rig.results)
    assert server.exchanges[0].target.endswith("?key=query-secret")
    assert "authorization" in server.exchanges[0].headers
    assert "pass-word" not in shown
    assert "query-secret" not in shown
