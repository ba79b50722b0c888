"""When a log of the tests of `advise` begins, and policies and snapshots from a table's text."""

from datetime import UTC, datetime

from sidecar.config.policy_file import PolicySettings, compile_document
from sidecar.core.routes.table import Policy
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource
from sidecar.documents.yaml_source import read_yaml
from tests.support.policies import HS256

BEARER = TokenSource("header", "authorization", "Bearer")
START = datetime(2026, 9, 1, tzinfo=UTC)


def compiled_table(text: str) -> Policy | None:
    return compile_document(read_yaml(text.encode()), PolicySettings(frozenset()), "")[0]


def snapshot_of(text: str) -> Snapshot:
    compiled = compiled_table(text)
    assert compiled is not None
    return Snapshot(compiled, (HS256,), (BEARER,))
