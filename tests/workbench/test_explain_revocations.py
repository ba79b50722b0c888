"""`explain --revocations` and `revocations` of a case: which entry revokes a token."""

import asyncio
import hashlib
import json
import time
from pathlib import Path

import pytest

from demo import minting
from sidecar.cli import main
from sidecar.core.tokens.revocations import Entries
from sidecar.workbench.case_file import read_case
from sidecar.workbench.runner import run_case
from sidecar.zervi.revocation.interface import FeedSource
from sidecar.zervi.revocation.kept import KeptFile
from tests.edge.config_files import ENVIRON, POLICY, Files
from tests.support.policies import NOW
from tests.workbench.conftest import Explain

URL = "https://z/revocations"
ROUTES = 'api_gateway: {routes: [{path: "/any"}]}\n'
ASKED = ("--path", "/any", "--claims")
ALICE = '{"user_id": 7, "iat": 1000, "jti": "a"}'
HOW = "token_revoked: an entry with its user or service: issued 5 s before not_before"


@pytest.fixture
def explain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Explain:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    return Explain(capsys)


@pytest.fixture
def config(tmp_path: Path) -> str:
    files = Files(tmp_path)
    issuer = "{issuer: zervi, secret_env: ZERVI_JWT_SECRET}"
    revocation = f"{{url: '{URL}', retain: 1d}}"
    zervi = f"zervi: {{issuers: [{issuer}], revocation: {revocation}}}\n"
    files.write(sidecar=zervi + POLICY, routes=ROUTES)
    return str(files.config)


def feed(tmp_path: Path, *entries: object) -> str:
    file = tmp_path / "feed.json"
    file.write_text(json.dumps({"entries": entries, "cursor": "9"}))
    return str(file)


def revocation(steps: list[tuple[str, bool | None, str]]) -> list[tuple[bool | None, str]]:
    return [(held, text) for name, held, text in steps if name == "revocation"]


@pytest.mark.parametrize(
    ("entry", "how"),
    [
        ({"user_id": "7", "not_before": 1005}, HOW),
        ({"user_id": 7, "not_before": 1005, "issuer": "zervi"}, HOW),
        ({"jti": "a"}, "token_revoked: an entry with its jti"),
        (
            {"issuer": "zervi", "not_before": 1005},
            "token_revoked: an entry with its issuer: issued 5 s before not_before",
        ),
    ],
)
def test_a_revoked_token_has_a_step_with_the_entry_and_the_words_of_the_live_answer(
    explain: Explain, config: str, tmp_path: Path, entry: dict[str, object], how: str
) -> None:
    given = ("--revocations", feed(tmp_path, {"jti": "b"}, entry))
    steps = explain.steps(*ASKED, ALICE, *given, config=config)
    assert revocation(steps) == [(False, f"{how} (entry 2, {json.dumps(entry)})")]
    body = json.loads(explain(*ASKED, ALICE, *given, "--json", config=config))
    assert (body["reason"], body["status"]) == ("token_revoked", 401)
    assert f"token_revoked: {body['detail']}" == how


@pytest.mark.parametrize(
    "entry",
    [
        {"user_id": "8", "not_before": 1005},
        {"user_id": "7", "not_before": 1000},
        {"service_id": "7", "not_before": 1005},
        {"user_id": "7", "not_before": 1005, "issuer": "another"},
    ],
)
def test_a_token_that_no_entry_means_has_a_step_that_says_so(
    explain: Explain, config: str, tmp_path: Path, entry: dict[str, object]
) -> None:
    given = ("--revocations", feed(tmp_path, entry))
    steps = explain.steps(*ASKED, ALICE, *given, config=config)
    assert revocation(steps) == [(True, "not revoked; entries of the feed: 1")]


def test_a_whole_token_is_compared_by_its_sha256(
    explain: Explain, config: str, tmp_path: Path
) -> None:
    now = int(time.time())
    claims = {"iss": "zervi", "user_id": 7, "iat": now, "exp": now + 60}
    token = minting.sign(claims, ENVIRON["ZERVI_JWT_SECRET"].encode())
    entry = {"token_sha256": hashlib.sha256(token.encode()).hexdigest()}
    asked = ("--path", "/any", "--token", token)
    steps = explain.steps(*asked, "--revocations", feed(tmp_path, entry), config=config)
    ((held, text),) = revocation(steps)
    assert held is False
    assert text.startswith("token_revoked: an entry with its token_sha256 (entry 1, ")
    assert json.loads(explain(*asked, "--json", config=config))["reason"] == "ok"


def test_without_entries_a_step_says_that_the_revocation_is_not_known(
    explain: Explain, config: str
) -> None:
    """And what the feed demands of each token is still checked."""
    steps = explain.steps(*ASKED, ALICE, config=config)
    text = "no entries are given, so it counts as not revoked: --revocations"
    assert revocation(steps) == [(None, text)]
    long = json.dumps({"user_id": 7, "iat": NOW, "exp": 4_000_000_000})
    body = json.loads(explain(*ASKED, long, "--json", config=config))
    assert body["reason"] == "token_claims"


async def kept(path: Path, url: str) -> None:
    table = Entries()
    table.add({"user_id": "7", "not_before": 1005}, NOW)
    file = KeptFile(path, FeedSource(url), 0.0)
    file.keep(table, "9", NOW, changed=True)
    await file.close()


async def test_the_sidecars_snapshot_file_is_read_too(
    explain: Explain, config: str, tmp_path: Path
) -> None:
    """It has no names, so the step has none; one of another feed is refused."""
    file = tmp_path / "kept"
    await kept(file, URL)
    asked = (*ASKED, ALICE, "--revocations", str(file))
    steps = await asyncio.to_thread(explain.steps, *asked, config=config)
    assert revocation(steps) == [(False, HOW)]
    await kept(file, "https://another/feed")
    told = await asyncio.to_thread(explain, *asked, code=2, config=config)
    assert "it is of another feed" in told


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"entries": [{"jti": "a"}, {"user_id": "7"}]}', "entry 2: an entry has no not_before"),
        ('{"entries": [7]}', "entry 1: an entry is not an object"),
        ('{"entries": {}}', "neither a feed nor a snapshot file: `entries` is not a list"),
        ("<html>", "neither a feed nor a snapshot file"),
        ('{"feed_sha256": 7}\n', "neither a feed nor a snapshot file"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_is_no_feed_is_an_error_that_says_why(
    explain: Explain, config: str, tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "feed.json"
    if content is not None:
        file.write_text(content)
    assert said in explain(*ASKED, ALICE, "--revocations", str(file), code=2, config=config)


def test_without_a_feed_in_the_configuration_the_option_is_a_wrong_call(
    explain: Explain, tmp_path: Path
) -> None:
    told = explain(*ASKED, ALICE, "--revocations", feed(tmp_path), code=2)
    assert "--revocations needs zervi.revocation" in told


CASE = """\
now: 2026-01-01T00:00:00Z
api_gateway: {{routes: [{{path: /any}}]}}
{more}revocations: {revocations}
principals:
  alice: {{claims: {{user_id: 7, iat: 1000}}}}
  again: {{claims: {{user_id: 7, iat: 1005}}}}
  bob: {{claims: {{user_id: 8, jti: b}}}}
requests: {{any: GET /any}}
expect: {{any: {{alice: token_revoked, again: allow, bob: {{reason: token_revoked, status: 401}}}}}}
"""
REVOKED = '[{user_id: "7", not_before: 1005}, {jti: b}]'


@pytest.mark.parametrize("configured", [False, True])
def test_a_case_lists_revocations_as_the_feed_has_them(
    tmp_path: Path, config: str, monkeypatch: pytest.MonkeyPatch, configured: bool
) -> None:
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    more = f"config: {config}\n" if configured else ""
    file = tmp_path / "case.yaml"
    file.write_text(CASE.format(revocations=REVOKED, more=more))
    results = list(run_case(read_case(file)))
    assert [result.differences for result in results] == [()] * 4


@pytest.mark.parametrize(
    ("revocations", "said"),
    [
        ("[{jti: b}, {user_id: 7}]", "3:25: error: an entry has no not_before that is a number"),
        ("[7]", "3:15: error: an entry is not an object"),
        ("{jti: b}", "3:1: error: `revocations` must be a list"),
    ],
)
def test_a_wrong_revocation_of_a_case_is_an_error_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], revocations: str, said: str
) -> None:
    file = tmp_path / "case.yaml"
    file.write_text(CASE.format(revocations=revocations, more=""))
    assert main(["test", str(file)]) == 2
    assert said in capsys.readouterr().err


def test_revocations_of_a_case_need_a_configured_feed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = Files(tmp_path)
    file = tmp_path / "case.yaml"
    file.write_text(CASE.format(revocations=REVOKED, more=f"config: {files.config}\n"))
    assert main(["test", str(file)]) == 2
    assert "`revocations` needs `zervi.revocation`" in capsys.readouterr().err


def test_a_logged_request_has_no_token_to_compare(
    explain: Explain, config: str, tmp_path: Path
) -> None:
    """Its verdict is that of the policy, and no step says anything of revocation."""
    log = tmp_path / "decisions.log"
    line = {
        "decision_id": "d1",
        "decision": "allow",
        "reason": "ok",
        "host": "localhost",
        "method": "GET",
        "path": "/any",
        "subject": "7",
        "principal_kind": "user",
        "issuer": "zervi",
        "roles": [],
        "permissions": [],
    }
    log.write_text(json.dumps(line) + "\n")
    asked = ("--decision-id", "d1", "--log", str(log))
    given = ("--revocations", feed(tmp_path, {"issuer": "zervi", "not_before": 1005}))
    assert revocation(explain.steps(*asked, *given, config=config)) == []
    assert json.loads(explain(*asked, *given, "--json", config=config))["reason"] == "ok"


def test_an_opaque_token_is_compared_after_its_introspection(
    explain: Explain, config: str, tmp_path: Path
) -> None:
    text = Path(config).read_text()
    asked_about = 'introspection: {kind: rfc7662, url: "https://z/i"}'
    secret = "secret_env: ZERVI_JWT_SECRET"
    Path(config).write_text(text.replace(secret, f"{secret}, {asked_about}"))
    verdict = json.dumps({"active": True, "sub": "7", "iat": NOW, "exp": NOW + 60})
    asked = ("--path", "/any", "--token", "opaque", "--introspection", verdict)
    entry = {"user_id": "7", "not_before": NOW + 5}
    steps = explain.steps(*asked, "--revocations", feed(tmp_path, entry), config=config)
    ((held, said),) = revocation(steps)
    assert (held, said.startswith(HOW)) == (False, True)
