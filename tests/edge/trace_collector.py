"""A collector of OTLP over HTTP, in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.ports import free_port


class Collector:
    """A collector of OTLP over HTTP; ``statuses`` are those of the next answers, then 200."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.resources: list[dict[str, str]] = []
        self.requests: list[web.Request] = []
        self.statuses: list[int] = []
        self.rejected = 0
        self.raw = b""

    def of(self, service: str) -> list[Span]:
        """Return the spans of a service."""
        found = zip(self.resources, self.spans, strict=True)
        return [span for resource, span in found if resource["service.name"] == service]

    async def handle(self, request: web.Request) -> web.Response:
        """Take spans, or answer with a status."""
        self.requests.append(request)
        body = await request.read()
        if self.statuses:
            return web.Response(status=self.statuses.pop(0))
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
                self.resources += [attributes(resource.resource)] * len(scope.spans)
        answer = ExportTraceServiceResponse()
        if self.rejected:
            answer.partial_success.rejected_spans = self.rejected
        return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve within the block; yield the URL."""
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", self.handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            await runner.cleanup()


def attributes(of: Any) -> dict[str, str]:
    """Return the attributes of a span or a resource."""
    return {each.key: each.value.string_value for each in of.attributes}
