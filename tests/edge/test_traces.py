"""Traces: which spans there are, what is in them, and that no answer depends on them."""

import asyncio
import json
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidecar.core.decision import DecisionRecord, Deny
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.core.traced import Traced, TracedLookUp
from sidecar.extauthz.in_progress import ServiceSettings
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.extauthz.service import CHECK
from sidecar.extauthz.traced import TracedCheckService
from sidecar.ops import traces
from sidecar.ops.traces import MAX_BATCH, MAX_PENDING, NAME, Tracer
from sidecar.pb.ext_authz_pb2 import CheckResponse
from tests.core.test_traced import SAMPLED, SPAN, TRACE
from tests.edge.sidecar_rig import Sidecar, running, token
from tests.edge.test_light import Light
from tests.edge.trace_collector import Collector, attributes
from tests.edge.transport_rig import connect
from tests.support.checks import NoKeys, check_request, reason_of
from tests.support.policies import BEARER, live_bearer, snapshot
from tests.support.ports import free_port
from tests.support.waiting import eventually

UNSAMPLED = SAMPLED[:-1] + b"0"


async def ask(
    sidecar: Sidecar, message: bytes, *metadata: tuple[str, str], times: int = 1
) -> list[str]:
    """Send Checks with metadata, as Envoy's tracing adds it; return their reasons."""
    async with connect(sidecar.address("authz"), None) as channel:
        method = channel.unary_unary(CHECK, bytes, bytes)
        answers = [await method(message, metadata=metadata, timeout=10) for _ in range(times)]
    return [reason_of(CheckResponse.FromString(answer)) for answer in answers]


def traced_check(traceparent: bytes, target: bytes = b"/closed/1", **headers: bytes) -> bytes:
    sent = {name: (value,) for name, value in {"traceparent": traceparent, **headers}.items()}
    return check_request(target, headers=sent)


@pytest.mark.parametrize("transport", ["h2", "grpcio"])
async def test_a_sampled_check_is_a_span_below_envoys(tmp_path: Path, transport: str) -> None:
    """With decision, reason, route and cache outcome, and neither a token nor a query."""
    collector = Collector()
    async with collector.serving() as url:

        def prepare(sidecar: Sidecar) -> None:
            listen = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0", "transport": transport}
            sidecar.configure(listen=listen, tracing={"otlp": url}, log={"decisions": "all"})

        async with running(tmp_path, prepare) as sidecar:
            good = token()
            bearer = f"Bearer {good}".encode()
            headers = {"traceparent": (b"00-" + b"1" * 32 + SAMPLED[35:],)}
            message = check_request(
                b"/closed/1?q=a-secret", headers={"authorization": (bearer,), **headers}
            )
            sent = (("traceparent", SAMPLED.decode()), ("tracestate", "a=1"))
            assert await ask(sidecar, message, *sent) == ["ok"]
            assert await ask(sidecar, message, *sent) == ["ok"]
            assert await ask(sidecar, check_request(), *sent) == ["token_missing"]
            # These are not sampled, or not valid.
            await ask(sidecar, message, ("traceparent", UNSAMPLED.decode()))
            await ask(sidecar, message, ("traceparent", "00-x"))
            await ask(
                sidecar, check_request(), ("traceparent", "1" * 300), ("tracestate", "x" * 999)
            )
            await eventually(lambda: len(collector.spans) == 3, "three spans")
            stdout = sidecar._process.stdout
            await eventually(lambda: stdout.read_text().count("\n") == 6, "their lines")
            lines = [json.loads(line) for line in stdout.read_text().splitlines()]
            assert await sidecar.metric('zervi_sidecar_trace_spans_total{result="sent"}') == 3
        first, second, third = collector.spans
        for span in collector.spans:
            assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
            assert (span.name, span.kind) == (NAME, Span.SPAN_KIND_SERVER)
            assert (span.trace_state, len(span.span_id)) == ("a=1", 8)
            assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
            assert span.status.code == Status.STATUS_CODE_UNSET
        assert attributes(first).items() >= {
            ("zervi.decision", "allow"),
            ("zervi.reason", "ok"),
            ("zervi.route", "closed-all"),
            ("zervi.token_cache", "miss"),
        }
        assert attributes(second)["zervi.token_cache"] == "hit"
        assert attributes(third)["zervi.reason"] == "token_missing"
        assert attributes(third)["zervi.decision"] == "deny"
        assert "zervi.token_cache" not in attributes(third)
        assert collector.resources[0]["service.name"] == "zervi-sidecar"
        assert {(each.path, each.content_type) for each in collector.requests} == {
            ("/v1/traces", "application/x-protobuf")
        }
        for secret in (b"a-secret", *good.encode().split(b".")):
            assert secret not in collector.raw
        logged = [line.get("trace_id") for line in lines]
        assert logged == [TRACE, TRACE, TRACE, TRACE, None, None]
        assert {line["decision_id"] for line in lines[:3]} == {
            attributes(span)["zervi.decision_id"] for span in collector.spans
        }


async def test_without_envoys_span_the_requests_own_headers_count(tmp_path: Path) -> None:
    collector = Collector()
    async with collector.serving() as url:
        async with running(tmp_path, lambda it: it.configure(tracing={"otlp": url})) as sidecar:
            message = traced_check(SAMPLED, b"/open/1", tracestate=b"v=" + b"x" * 200)
            assert await ask(sidecar, message) == ["public"]
            # What is left when the sidecar ends is sent.
        (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert span.trace_state == "v=" + "x" * 200


async def test_tracing_needs_a_restart_and_its_package(tmp_path: Path) -> None:
    """Without it, the first line says what to install; without tracing, nothing is imported."""
    hidden = tmp_path / "hidden" / "opentelemetry"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(name='opentelemetry.proto')")
    sidecar = Light(tmp_path)
    process = await sidecar.start()
    try:
        await sidecar.until_ready()
        modules = await sidecar.modules()
        assert not [name for name in modules if name.startswith("opentelemetry")]
        assert not modules & {"sidecar.ops.traces", "sidecar.extauthz.traced"}
        sidecar.configure(tracing={"otlp": "http://127.0.0.1:4318"})
        await sidecar.says("`tracing` changed: takes effect after a restart")
    finally:
        await process.stop()
    other = Sidecar(tmp_path)
    other.configure(tracing={"otlp": "http://127.0.0.1:4318"})
    process = await other.start({"PYTHONPATH": str(hidden.parent)})
    assert await other.ended() == 1
    assert "pip install 'zervi-sidecar[tracing]'" in process.output()


# The service, in this process.


def traced_service(
    records: list[DecisionRecord], keys: Any = None, source: TokenSource = BEARER
) -> TracedCheckService:
    responder = Responder(AnswerSettings(IdentityHeaders(), (), True, (BEARER,)))
    found = snapshot()._replace(token_sources=(source,))
    return TracedCheckService(
        *(found, responder, keys or NoKeys(), records.extend),
        *(lambda deliver: deliver(), ServiceSettings(), None),
    )


def answer(
    checks: TracedCheckService, message: bytes, sent: Traced | None = None
) -> bytes | Awaitable[bytes]:
    return checks.methods().traced[CHECK](message, None, sent)


def test_a_request_is_remembered_though_its_trace_differs_each_time() -> None:
    records: list[DecisionRecord] = []
    checks = traced_service(records)
    bearer = live_bearer(permissions=["closed:read"])
    decide = Mock(side_effect=checks._decision)
    checks._decision = decide  # type: ignore[method-assign]  # -- to count its calls
    for number in range(1, 8):
        parent = f"00-{number:032x}-{number:016x}-0{number % 2}".encode()
        headers = {**bearer, "traceparent": (parent,), "x-request-id": (str(uuid4()).encode(),)}
        found = answer(checks, check_request(headers=headers))
        assert isinstance(found, bytes)
        assert reason_of(CheckResponse.FromString(found)) == "ok"
        traced = records[-1].traced
        assert traced is not None
        assert traced.trace_id == f"{number:032x}"
    assert decide.call_count == 2


@pytest.mark.parametrize(
    "planted",
    [
        {"x-other": (b"\x0a\x46\x0a\x0btraceparent\x1a\x37" + b"0" * 55,)},
        {"x-other": (b"\x0a\x46\x0a\x0btraceparent\x1a\x37" + b"0" * 20,)},
        {"traceparent": (SAMPLED, SAMPLED)},
        {"traceparent": (SAMPLED[:-1],)},
    ],
)
def test_what_only_looks_like_the_header_is_not_cut_out(
    planted: dict[str, Sequence[bytes]],
) -> None:
    """Other bytes there are another request: its own decision counts."""
    records: list[DecisionRecord] = []
    checks = traced_service(records)
    for target in (b"/open/1", b"/open/1", b"/open/1", b"/closed/1"):
        headers = {**planted, "x-request-id": (str(uuid4()).encode(),)}
        found = answer(checks, check_request(target, headers=headers))
        assert isinstance(found, bytes)
        reason = reason_of(CheckResponse.FromString(found))
        assert reason == ("public" if target.startswith(b"/open") else "token_missing")


def test_where_the_token_is_in_that_header_each_is_another_request() -> None:
    records: list[DecisionRecord] = []
    checks = traced_service(records, source=TokenSource("header", "traceparent"))
    reasons = []
    for value in (SAMPLED, SAMPLED, SAMPLED, UNSAMPLED):
        headers = {"traceparent": (value,), "x-request-id": (str(uuid4()).encode(),)}
        found = answer(checks, check_request(headers=headers))
        assert isinstance(found, bytes)
        reasons.append(reason_of(CheckResponse.FromString(found)))
    assert set(reasons) == {"token_malformed"}


@pytest.mark.parametrize("raw", [True, False])
@pytest.mark.parametrize("value", [b"", b"\xff" * 55, b"0" * 5000, SAMPLED + b"\0", b"00-" * 40])
def test_a_hostile_header_changes_no_answer(value: bytes, raw: bool) -> None:
    records: list[DecisionRecord] = []
    checks = traced_service(records)
    for sent in (None, Traced(value, value), Traced(SAMPLED, value)):
        message = check_request(b"/open/1", headers={"traceparent": (value,)}, raw=raw)
        found = answer(checks, message, sent)
        assert isinstance(found, bytes)
        assert reason_of(CheckResponse.FromString(found)) == "public"


class SlowKeys:
    """A source of keys that takes its time."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    def refresh_for(self, issuer: int, kid: str | None) -> Awaitable[bool] | bool:
        async def fetch() -> bool:
            await self.go.wait()
            return True

        return fetch()


async def test_a_look_up_is_a_span_below_that_of_its_own_check() -> None:
    """Checks of other traces that are answered in the meantime do not mix with it."""
    records: list[DecisionRecord] = []
    keys = SlowKeys()
    checks = traced_service(records, keys)
    checks.swap(snapshot()._replace(issuers=(Issuer("zervi", frozenset({"ES256"})),)))
    bearer = {"authorization": (b"Bearer " + unknown_key_token(),)}
    waiting = answer(checks, check_request(headers=bearer), Traced(SAMPLED))
    assert not isinstance(waiting, bytes)
    task = asyncio.ensure_future(waiting)
    other = answer(checks, check_request(b"/open/1"), Traced(b"00-" + b"2" * 32 + SAMPLED[35:]))
    assert isinstance(other, bytes)
    keys.go.set()
    await task
    public, denied = records
    assert public.traced is not None
    assert denied.traced is not None
    assert (public.traced.trace_id, public.traced.look_ups) == ("2" * 32, ())
    assert denied.traced.trace_id == TRACE
    (looked_up,) = denied.traced.look_ups
    assert (looked_up.name, looked_up.answered) == ("key", True)


def unknown_key_token() -> bytes:
    """Return a token of an issuer whose keys are not known yet."""

    def part(value: object) -> bytes:
        return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    head = part({"alg": "ES256", "kid": "new"})
    return b".".join([head, part({"iss": "zervi", "sub": "7", "exp": 2**31}), b"A" * 86])


# The sender, in this process.


def record(
    traced: Traced | None, reason: Reason = Reason.NO_ROUTE, cached: bool | None = None
) -> DecisionRecord:
    decision = Deny(reason)
    request = Request("GET", "host", b"/a?q=secret", {}, True)
    return DecisionRecord(100.0, 0.5, "id", decision, request, "digest", cached, traced=traced)


@asynccontextmanager
async def sending(url: str) -> AsyncIterator[tuple[Tracer, dict[str, int]]]:
    counts: dict[str, int] = {}

    def count(result: str, spans: int) -> None:
        counts[result] = counts.get(result, 0) + spans

    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(traces, "BATCH_SECONDS", 0.05)
    tracer = Tracer(url, {"service.name": "zervi-sidecar"}, count)
    task = asyncio.create_task(tracer.run())
    try:
        yield tracer, counts
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        monkeypatch.undo()


async def test_a_failure_is_an_error_and_a_look_up_its_child() -> None:
    collector = Collector()
    traced = Traced(SAMPLED, look_ups=(TracedLookUp("key", 99.6, 0.25, False),))
    async with collector.serving() as url, sending(f"{url}/v1/traces") as (tracer, counts):
        tracer.records([record(traced, Reason.OVERLOADED, cached=False)])
        await eventually(lambda: len(collector.spans) == 2, "two spans")
    check, child = collector.spans
    assert check.status.code == Status.STATUS_CODE_ERROR
    assert (check.start_time_unix_nano, check.end_time_unix_nano) == (
        99_500_000_000,
        100_000_000_000,
    )
    assert (child.parent_span_id, child.trace_id) == (check.span_id, check.trace_id)
    assert child.name == "look up key"
    assert attributes(child)["zervi.look_up_result"] == "failed"
    assert child.end_time_unix_nano - child.start_time_unix_nano == 250_000_000
    assert counts == {"sent": 2, "failed": 0}


async def test_a_collector_that_is_down_costs_bounded_memory_and_every_span_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "RETRY_SECONDS", 0.01)
    async with sending(f"http://127.0.0.1:{free_port()}") as (tracer, counts):
        tracer.records([record(Traced(SAMPLED))] * (MAX_PENDING + 10))
        assert counts == {"dropped": 10}
        assert len(tracer._pending) == MAX_PENDING
        await eventually(lambda: counts.get("failed") == MAX_PENDING, "all failed")
    assert counts["sent"] == 0


@pytest.mark.parametrize(
    ("statuses", "rejected", "counts"),
    [
        ([503, 429], 0, {"sent": 3, "failed": 0}),
        ([502, 503, 504], 0, {"sent": 0, "failed": 3}),
        ([400], 0, {"sent": 0, "failed": 3}),
        ([302], 0, {"sent": 0, "failed": 3}),
        ([], 2, {"sent": 1, "failed": 2}),
        ([], 2**40, {"sent": 0, "failed": 3}),
    ],
)
async def test_what_can_pass_is_tried_again_and_what_the_collector_refuses_is_counted(
    statuses: list[int],
    rejected: int,
    counts: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traces, "RETRY_SECONDS", 0.01)
    collector = Collector()
    collector.statuses, collector.rejected = list(statuses), rejected
    async with collector.serving() as url, sending(url) as (tracer, found):
        tracer.records([record(Traced(SAMPLED))] * 3)
        await eventually(lambda: sum(found.values()) == 3, "three spans")
    assert found == counts


async def test_spans_are_sent_in_batches() -> None:
    collector = Collector()
    async with collector.serving() as url, sending(url) as (tracer, counts):
        for _ in range(3):
            tracer.records([record(Traced(SAMPLED))] * (MAX_BATCH - 100))
        await eventually(lambda: counts.get("sent") == 3 * (MAX_BATCH - 100), "all")
    assert len(collector.requests) <= 4


@pytest.mark.parametrize(
    "traced", [None, Traced(UNSAMPLED), Traced(b"x"), Traced(b"1" * 55), Traced(SAMPLED.upper())]
)
async def test_no_other_check_is_a_span(traced: Traced | None) -> None:
    async with sending("http://127.0.0.1:1") as (tracer, _):
        tracer.records([record(traced)])
        assert not tracer._pending
