"""docs/operations.md is in step with what is shown."""

import ast
import re
from pathlib import Path

from sidecar.core.decision import Allow, DecisionRecord, Deny, MemoryUse, PeerInfo
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.table import Route
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.errors import TokenFacts
from sidecar.core.tokens.facts import MAX_NAMES
from sidecar.core.tokens.principal import Kind, Principal
from sidecar.core.tokens.verify import Verified
from sidecar.core.traced import Traced
from sidecar.ops.decision_log import MAX_CLAIM, MAX_ITEMS, MAX_PATH, MAX_TEXT, render
from sidecar.ops.exposition import render as render_metrics
from sidecar.ops.gateway_metrics import GatewayValues
from sidecar.ops.metrics import MAX_CHECK_SERIES, OTHER_ROUTES, Metrics, RevocationValues
from sidecar.ops.readiness import State

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()


def first_cells(heading: str) -> list[str]:
    """Return every `word` in the first column of the tables of a section."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE)
    return re.findall(r"`([\w.]+)`", "\n".join(cells))


def test_every_metric_is_on_the_page_and_no_other() -> None:
    metrics = Metrics("1.0", ready=lambda: {"policy": True})
    metrics.policy_loaded("digest", 1.0)
    metrics.looma_registered(True)
    metrics.upstream_state("healthy")
    metrics.gateway = lambda: GatewayValues(directory_age=1.0)
    metrics.revocation = lambda: RevocationValues(1, 20, 1.0, {"success": 1})
    text = render_metrics(metrics.values()).decode()
    shown = re.findall(r"^# TYPE (zervi_\w+)", text, re.MULTILINE)
    assert sorted(first_cells("Metrics")) == sorted(shown)
    assert f"{MAX_CHECK_SERIES:,}" in PAGE
    assert OTHER_ROUTES in PAGE


def test_every_field_of_a_decision_is_on_the_page_and_no_other() -> None:
    record = DecisionRecord(
        time=0.0,
        seconds=0.0,
        decision_id="1",
        decision=Deny(Reason.NO_ROUTE, needs=("x",), detail="x", facts=TokenFacts("x")),
        request=Request("GET", "host", b"/", {}, True),
        policy_digest="digest",
        peer_info=lambda: PeerInfo("source", "destination", (("a", "b"),)),
        memory_use=MemoryUse(repeats=1),
    )
    alice = Verified(b"", Principal(Kind.USER, "7", "an-issuer"), 0, None, 0.0, 0.0, 0.0, ())
    allowed = record._replace(decision=Allow(Reason.OK, Route(0, "a", "/"), alice, alice))
    public = record._replace(decision=Allow(Reason.PUBLIC, Route(0, "a", "/", public=True)))
    traced = record._replace(traced=Traced(b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-00"))
    lines = render(traced) + render(allowed, replayable=True)
    lines += render(public, token_sources=(TokenSource("header", "x"),))
    fields = set(re.findall(r'"(\w+)":', lines.decode())) - {"a", "kid"}
    assert set(first_cells("The decision log")) == fields
    assert f"{MAX_TEXT} characters" in PAGE
    assert f"cut at {MAX_CLAIM} characters, a list after {MAX_ITEMS}" in PAGE
    assert f"{('no', 'one', 'two', 'three', 'four')[MAX_NAMES]} names of a list" in PAGE
    assert f"`path` at {MAX_PATH}" in PAGE


def test_every_state_is_on_the_page_and_no_other() -> None:
    assert first_cells("Health") == [state.value for state in State]


def test_the_commands_messages_on_the_page_are_those_of_the_program() -> None:
    texts = [
        str(node.value)
        for name in ("cli/admin_socket.py", "app/admin.py")
        for node in ast.walk(ast.parse((ROOT / "sidecar" / name).read_text()))
        if isinstance(node, ast.Constant)
    ]
    section = PAGE.split("\n## Commands to a running sidecar\n")[1].split("\n## ")[0]
    shown = re.findall(r"^\| 1 \|[^|]*\| (.*) \|$", section, re.MULTILINE)
    parts = [
        part.strip()
        for message in re.findall(r"`([^`]+)`", "\n".join(shown))
        for part in re.split("…|; ", message)
    ]
    assert len(parts) > 8
    assert [each for each in parts if not any(each in text for text in texts)] == []
