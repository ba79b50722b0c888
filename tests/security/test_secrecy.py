"""Nothing that the sidecar writes holds a token, a secret or a key, wherever a client puts one.

``tests/conftest.py`` looks at all output of the whole run; this makes sure that there is some.
"""

import aiohttp
import pytest

from sidecar.demo import minting
from sidecar.demo.stack import Stack
from tests.support import http1
from tests.support.secrecy import Secrecy
from tests.support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_token_in_any_place_is_written_nowhere(open_stack: Stack) -> None:
    """Log lines, decision log, answers, metrics and health of requests that carry tokens oddly."""
    secrecy = Secrecy()
    token = minting.sign(minting.user_claims("alice", "unified-auth"), open_stack.secret)
    service = open_stack.zervi.service_token("looma")
    for each in (token, service, open_stack.zervi.token("alice")):
        secrecy.token(each)
    secrecy.key(open_stack.secret)
    secrecy.key(open_stack.zervi.keys[-1].private)
    port = open_stack.ports.envoy
    answers = [
        await http1.send(port, "/api/cluster/nodes", *headers)
        for headers in (
            [("authorization", f"Bearer {token}")],
            [("authorization", f"bearer  {token}")],
            [("authorization", f"Basic {token}")],
            [("authorization", token)],
            [("authorization", f"Bearer {token} {token}")],
            [("authorization", f"Bearer {token[:-4]}AAAA")],
            [("authorization", f"Bearer {service}"), ("cookie", f"token={token}")],
            [("accept-language", token), ("user-agent", token), ("x-request-id", token)],
            [(token[:60].replace(".", "-"), token)],
        )
    ]
    answers += [
        await http1.send(port, target, host=host)
        for target, host in (
            (f"/api/cluster/{token}", "api.jobfirst.local"),
            (f"/api/cluster/x?token={token}", "api.jobfirst.local"),
            (f"/api/cluster/x;token={token}", "api.jobfirst.local"),
            (f"/nowhere/{token}/x", token[:60]),
        )
    ]
    assert {answer.status for answer in answers} <= {400, 401, 403}
    async with aiohttp.ClientSession() as session:
        for page in ("metrics", "readyz", "livez"):
            async with session.get(f"{open_stack.ops_url}/{page}") as served:
                secrecy.search(await served.text(), page)
    for answer in answers:
        secrecy.search(f"{answer.headers} {answer.body}", "an answer")
    written = open_stack.sidecar.output
    await eventually(lambda: written().count('"decision"') >= len(answers), "the decision log")
    secrecy.search(written(), "the sidecar's output")
    assert not secrecy.leaks


async def test_what_is_looked_for_would_be_found() -> None:
    """The search sees a token, its signature alone, a secret and a private key."""
    token = minting.sign(
        {"sub": "somebody", "of": "some length"}, b"a secret of thirty-two bytes, made up"
    )
    key = minting.new_key("a", "ES256")
    for written in (
        f'{{"token":"{token}"}}',
        f"...{token[-43:]}",
        "it is a secret of thirty-two bytes, made up.",
        "-----BEGIN EC PRIVATE KEY-----",
    ):
        secrecy = Secrecy()
        secrecy.token(token)
        secrecy.key(b"a secret of thirty-two bytes, made up")
        secrecy.key(key.private)
        secrecy.search(written, "here")
        assert secrecy.leaks
