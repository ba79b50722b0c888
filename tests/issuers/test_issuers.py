"""The key sets and tokens of issuers that people use, through the whole service."""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from sidecar.app import wiring
from sidecar.config import Config, load, read_files
from sidecar.core.decision import DecisionRecord, Deny
from sidecar.core.tokens.keys import KeySet
from sidecar.documents.findings import Finding
from sidecar.extauthz.respond import Responder
from sidecar.extauthz.service import CheckService
from sidecar.net.clock import steady
from sidecar.review import lint
from sidecar.zervi.interface import JwksUrl, Source
from sidecar.zervi.keyring import KeyRing
from tests.docs.pages import blocks, read
from tests.edge.key_server import Exchange, document, serving
from tests.issuers.issuer import NAMES, Token, block, key_set, tokens
from tests.support.checks import answer, check_request, reason_of
from tests.support.waiting import eventually

PAGE = "docs/issuers.md"
REST = "policy: {file: routes.yaml}\n"
ROUTES = 'api_gateway: {routes: [{path: "/api/*", principals: [user, service]}]}\n'
EVERY = [(name, token) for name in NAMES for token in tokens(name)]


class Running:
    """A Check service whose keys come from a key server; ``records`` are its decisions."""

    def __init__(self, config: Config, url: str, token_file: Path) -> None:
        self.records: list[DecisionRecord] = []
        local: list[Source | None] = []
        for source in wiring.key_sources(config):
            assert isinstance(source, JwksUrl)
            own = None if source.token_file is None else token_file
            local.append(source._replace(url=url, ca_file=None, token_file=own))
        self.results: list[str] = []
        self.keys = KeyRing(
            local,
            wiring.key_refreshing(config),
            on_keys=self._on_keys,
            on_refresh=lambda _index, result, detail: self.results.append(f"{result}: {detail}"),
            clock=steady,
        )
        self.service = CheckService(
            wiring.snapshot(config),
            Responder(wiring.answers(config)),
            self.keys,
            self._record,
            lambda deliver: deliver(),
            wiring.service(config),
        )

    def _record(self, records: Sequence[DecisionRecord]) -> None:
        self.records += records

    def _on_keys(self, index: int, keys: KeySet) -> None:
        snapshot = self.service.snapshot
        issuers = list(snapshot.issuers)
        issuers[index] = issuers[index]._replace(keys=keys)
        self.service.swap(snapshot._replace(issuers=tuple(issuers)))


def written(name: str, directory: Path) -> Path:
    """Write an issuer's block as a whole configuration; return its path."""
    (directory / "routes.yaml").write_text(ROUTES)
    path = directory / "sidecar.yaml"
    path.write_text(block(name) + REST)
    return path


@contextlib.asynccontextmanager
async def running(name: str, directory: Path) -> AsyncIterator[Running]:
    """Run a service with an issuer's configuration and key set."""
    config = load(written(name, directory), {}, offline=True)
    issuer = config.settings.zervi.issuers[0]
    token_file = directory / "token"
    token_file.write_text("own-token\n")

    async def serve(exchange: Exchange) -> None:
        if (issuer.jwks_token_file is not None) != ("authorization" in exchange.headers):
            await document(b"", status="401 Unauthorized")(exchange)
        elif issuer.discovery and exchange.target == "/jwks.json":
            found = {"issuer": issuer.issuer, "jwks_uri": f"http://127.0.0.1:{server.port}/keys"}
            await document(json.dumps(found).encode())(exchange)
        else:
            await document(key_set(name))(exchange)

    async with serving(serve) as server:
        rig = Running(config, server.url, token_file)
        await rig.keys.start()
        try:
            await eventually(lambda: bool(rig.results), "the first key set")
            assert rig.results[0].startswith("success"), rig.results[0]
            yield rig
        finally:
            await rig.keys.close()


@pytest.mark.parametrize(
    ("name", "token"), EVERY, ids=[f"{name}: {token.name}" for name, token in EVERY]
)
async def test_a_token_gets_what_its_issuer_s_block_promises(
    name: str, token: Token, tmp_path: Path
) -> None:
    """The reason, the identity headers, and what the operator reads in the log."""
    async with running(name, tmp_path) as rig:
        bearer = {"authorization": [b"Bearer " + token.signed(time.time())]}
        response = await answer(rig.service, check_request(b"/api/orders", headers=bearer))
    decision = rig.records[0].decision
    detail = decision.detail if isinstance(decision, Deny) else ""
    assert reason_of(response) == token.expected["reason"], detail
    assert token.expected.get("detail", "") in detail
    sent = {option.header.key: option.header.value for option in response.ok_response.headers}
    assert token.expected.get("headers", {}).items() <= sent.items()


@pytest.mark.parametrize("name", NAMES)
async def test_only_keys_that_are_not_for_signatures_are_left_out(
    name: str, tmp_path: Path
) -> None:
    """No other key of such a set is lost, whatever its members are."""
    async with running(name, tmp_path) as rig:
        keys = rig.service.snapshot.issuers[0].keys
    assert keys is not None
    entries: list[dict[str, Any]] = json.loads(key_set(name))["keys"]
    assert set(keys.by_kid) == {each["kid"] for each in entries if each["use"] == "sig"}
    assert keys.dropped.replace("1 × use is not sig", "") == ""


@pytest.mark.parametrize("name", NAMES)
def test_check_has_no_error_in_the_block(name: str, tmp_path: Path) -> None:
    """As a whole configuration with one route."""
    files = read_files(written(name, tmp_path), {}, offline=True)
    findings: list[Finding] = list(files.config(lint.findings(files)).warnings)
    assert [str(finding) for finding in findings] == []


def test_the_page_shows_the_block_of_each_issuer() -> None:
    """Each as it is tested, in a section of its own."""
    shown = [found.text for found in blocks(PAGE, read(PAGE)) if found.language == "yaml"]
    assert sorted(shown) == sorted(map(block, NAMES))
