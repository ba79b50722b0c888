"""Spans of sampled Checks, sent to a collector in the background: OTLP over HTTP, in protobuf.

Imported only where ``tracing`` is configured. https://opentelemetry.io/docs/specs/otlp/
"""

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from sidecar.core.decision import DecisionRecord, outcome
from sidecar.core.traced import Parent, TracedLookUp
from sidecar.net.http_client import HttpClient, HttpError, read_body
from sidecar.net.trust import TrustError

_log = logging.getLogger(__name__)

MAX_PENDING: Final = 4096
"""Checks that wait to be sent, some 1 KiB each; a client may have every request sampled. More are
dropped and counted."""

MAX_BATCH: Final = 512  # Checks of one request to the collector, as the SDKs have it
BATCH_SECONDS: Final = 1.0  # that a batch is gathered for
SEND_SECONDS: Final = 5.0  # for one attempt
ATTEMPTS: Final = 3  # for a batch; meanwhile further ones wait
RETRY_SECONDS: Final = 1.0  # before the second attempt, and twice as many before the third
CLOSE_SECONDS: Final = 1.0  # for the last batch
MAX_ANSWER_BYTES: Final = 64 * 1024

_PATH: Final = "/v1/traces"
OK: Final = 200
NONE: Final = 0  # instead of a status: there was no answer
# OTLP/HTTP, "Retryable Response Codes".
_RETRIED: Final = frozenset({NONE, 429, 502, 503, 504})
_NANO: Final = 1_000_000_000
NAME: Final = "envoy.service.auth.v3.Authorization/Check"


class Checked(NamedTuple):
    """What a span has of a Check: no token, no query, nothing else of the request."""

    parent: Parent
    start: float
    seconds: float
    attributes: Mapping[str, str]
    failed: bool
    look_ups: Sequence[TracedLookUp]


class Tracer:
    """Sends the spans of sampled Checks to ``url``.

    ``resource`` says who sends them. ``count`` gets a result (sent, failed, dropped) and a number
    of spans.
    """

    def __init__(
        self, url: str, resource: Mapping[str, str], count: Callable[[str, int], None]
    ) -> None:
        self._url = url if url.endswith(_PATH) else url.rstrip("/") + _PATH
        self._resource = Resource(attributes=_attributes(resource))
        self._version = resource.get("service.version", "")
        self._count = count
        self._client = HttpClient()
        self._pending: deque[Checked] = deque()
        self._wake = asyncio.Event()

    def records(self, records: Sequence[DecisionRecord]) -> None:
        """Take the Checks whose callers sampled them."""
        for record in records:
            traced = record.traced
            if traced is None or not traced.may_be_sampled:
                continue
            parent = traced.parent()
            if parent is None or not parent.sampled:
                continue
            if len(self._pending) >= MAX_PENDING:
                self._count("dropped", 1 + len(traced.look_ups))
                continue
            self._pending.append(_checked(record, parent, tuple(traced.look_ups)))
            if len(self._pending) in (1, MAX_BATCH):
                self._wake.set()

    async def run(self) -> None:
        """Send batches until the task is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if len(self._pending) < MAX_BATCH:
                try:
                    async with asyncio.timeout(BATCH_SECONDS):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            while self._pending:
                await self._send(self._batch(), ATTEMPTS)

    async def close(self) -> None:
        """Send what is left, in one attempt."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                while self._pending:
                    await self._send(self._batch(), 1)
        except TimeoutError:
            pass

    def _batch(self) -> list[Checked]:
        return [self._pending.popleft() for _ in range(min(MAX_BATCH, len(self._pending)))]

    async def _send(self, batch: Sequence[Checked], attempts: int) -> None:
        failed = spans = sum(1 + len(each.look_ups) for each in batch)
        try:
            # In a thread: making the messages of a full batch takes some 10 ms.
            content = await asyncio.to_thread(self._encoded, batch)
            failed = await self._deliver(content, spans, attempts)
        finally:
            self._count("sent", spans - failed)
            self._count("failed", failed)

    async def _deliver(self, content: bytes, spans: int, attempts: int) -> int:
        """Send a batch; return how many of its spans the collector does not have."""
        problem = ""
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS * attempt)
            status, rejected, problem = await self._post(content)
            if status == OK:
                if rejected:
                    _log.warning("tracing: the collector rejected some spans")
                return min(rejected, spans)
            if status not in _RETRIED:
                break
        _log.warning("tracing: spans are lost: %s", problem)
        return spans

    async def _post(self, content: bytes) -> tuple[int, int, str]:
        """Send a batch once; return the status, rejected spans, and the problem."""
        headers = {"Content-Type": "application/x-protobuf"}
        try:
            async with (
                asyncio.timeout(SEND_SECONDS),
                self._client.send("POST", self._url, headers=headers, content=content) as response,
            ):
                body = await read_body(response, MAX_ANSWER_BYTES)
                return response.status, _rejected(body), f"HTTP status {response.status}"
        except TimeoutError:
            return NONE, 0, f"no answer within {SEND_SECONDS:g} s"
        except (HttpError, TrustError) as error:
            return NONE, 0, str(error)

    def _encoded(self, batch: Sequence[Checked]) -> bytes:
        scope = ScopeSpans(spans=[span for each in batch for span in _spans(each)])
        scope.scope.name, scope.scope.version = "zervi-sidecar", self._version
        resource = ResourceSpans(resource=self._resource, scope_spans=[scope])
        return bytes(ExportTraceServiceRequest(resource_spans=[resource]).SerializeToString())


def _checked(record: DecisionRecord, parent: Parent, look_ups: Sequence[TracedLookUp]) -> Checked:
    decision = record.decision
    attributes = {
        "zervi.decision": outcome(decision),
        "zervi.reason": decision.reason.value,
        "zervi.route": "" if decision.route is None else decision.route.name,
        "zervi.token_cache": {None: "", True: "hit", False: "miss"}[record.cached],
        "zervi.decision_id": record.decision_id,
        "zervi.policy_digest": record.policy_digest,
    }
    present = {name: value for name, value in attributes.items() if value}
    start, failed = record.time - record.seconds, decision.reason.is_failure
    return Checked(parent, start, record.seconds, present, failed, look_ups)


def _spans(checked: Checked) -> list[Span]:
    parent, own = checked.parent, secrets.token_bytes(8)
    span = _span(parent, bytes.fromhex(parent.span_id), own, checked.start, checked.seconds)
    span.name, span.kind = NAME, Span.SPAN_KIND_SERVER
    span.attributes.extend(_attributes(checked.attributes))
    if checked.failed:
        span.status.code = Status.STATUS_CODE_ERROR
    found = [span]
    for each in checked.look_ups:
        child = _span(parent, own, secrets.token_bytes(8), each.start, each.seconds)
        child.name, child.kind = f"look up {each.name}", Span.SPAN_KIND_INTERNAL
        answered = "answered" if each.answered else "failed"
        child.attributes.extend(
            _attributes({"zervi.look_up": each.name, "zervi.look_up_result": answered})
        )
        found.append(child)
    return found


def _span(parent: Parent, above: bytes, own: bytes, start: float, seconds: float) -> Span:
    begin = int(start * _NANO)
    return Span(
        trace_id=bytes.fromhex(parent.trace_id),
        span_id=own,
        parent_span_id=above,
        trace_state=parent.state,
        flags=1,
        start_time_unix_nano=begin,
        end_time_unix_nano=begin + int(seconds * _NANO),
    )


def _attributes(values: Mapping[str, str]) -> list[KeyValue]:
    return [
        KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in values.items()
    ]


def _rejected(body: bytes | None) -> int:
    """Return how many spans the collector did not take; an answer that is not OTLP's says none."""
    try:
        answer = ExportTraceServiceResponse.FromString(body or b"")
    except Exception:  # noqa: BLE001 -- DecodeError; some collectors answer in JSON
        return 0
    return max(int(answer.partial_success.rejected_spans), 0)
