"""Traces through a real Envoy, with the bootstrap that `generate envoy` makes."""

from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from demo.envoy import Envoy, bootstrap, connection_manager
from sidecar.config import load
from sidecar.workbench.generate.envoy import Choices
from sidecar.workbench.generate.envoy import bootstrap as generated
from tests.core.test_traced import SAMPLED, SPAN, TRACE
from tests.edge.sidecar_rig import running
from tests.edge.trace_collector import Collector
from tests.support.ports import free_port
from tests.support.waiting import eventually


async def test_the_sidecars_span_is_below_envoys_and_neither_has_a_query(tmp_path: Path) -> None:
    """Without a trace of the client Envoy starts one; with one, its flag counts."""
    spans, server = Collector(), Collector()
    async with (
        spans.serving() as url,
        server.serving() as upstream,
        running(tmp_path, lambda it: it.configure(tracing={"otlp": url})) as sidecar,
    ):
        written = tmp_path / "sidecar.yaml"
        actual = tmp_path / "with-ports.yaml"
        actual.write_text(written.read_text().replace("127.0.0.1:0", sidecar.address("authz"), 1))
        config = load(actual, {})
        file = tmp_path / "envoy.yaml"
        file.write_text(generated(config, Choices("a test", admin=f"{tmp_path}/admin.sock")))
        port, basic = free_port(), urlsplit(upstream).port or 0
        loaded = bootstrap(
            file,
            listener_port=port,
            stats_port=free_port(),
            authz=sidecar.address("authz"),
            upstream=basic,
            upstream_grpc=basic,
        )
        connection_manager(loaded)["tracing"]["random_sampling"] = {"value": 100}
        envoy = await Envoy.start(loaded, tmp_path)
        try:
            async with aiohttp.ClientSession() as session:
                for parent in (None, SAMPLED[:-1] + b"0", SAMPLED):
                    headers = {} if parent is None else {"traceparent": parent.decode()}
                    target = f"http://127.0.0.1:{port}/open/1?access_token=a-secret"
                    async with session.get(target, headers=headers) as answer:
                        assert answer.status == 200
            await eventually(lambda: len(spans.of("zervi-sidecar")) == 2, "our spans")
            await eventually(lambda: len(spans.of("envoy")) >= 4, "Envoy's", within=20)
        finally:
            await envoy.stop()
    started, followed = spans.of("zervi-sidecar")
    envoys = {span.span_id: span for span in spans.of("envoy")}
    for span in (started, followed):
        above = envoys[span.parent_span_id]
        assert above.trace_id == span.trace_id
        assert envoys[above.parent_span_id].trace_id == span.trace_id  # that of the request
    assert started.trace_id != followed.trace_id
    assert followed.trace_id.hex() == TRACE
    request = envoys[envoys[followed.parent_span_id].parent_span_id]
    assert request.parent_span_id.hex() == SPAN
    assert b"a-secret" not in spans.raw
    # The Basic Server's spans can join too.
    assert all("traceparent" in each.headers for each in server.requests)
