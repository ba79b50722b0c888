"""The sidecar's spans in a real OpenTelemetry Collector."""

import json
from pathlib import Path

from demo.ports import Ports
from demo.process import Process
from demo.stack import Setup, running
from tests.core.test_traced import SAMPLED, TRACE
from tests.deploy.programs import need
from tests.support.http1 import send
from tests.support.ports import free_port, free_ports_in_a_row
from tests.support.waiting import eventually


async def test_a_real_collector_takes_the_spans(tmp_path: Path) -> None:
    """With reason and route, below the client's trace, and without its token or query."""
    port = free_port()
    pipeline = {"receivers": ["otlp"], "exporters": ["debug"]}
    config = {
        "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
        "exporters": {"debug": {"verbosity": "detailed"}},
        "service": {
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {"traces": pipeline},
        },
    }
    (tmp_path / "collector.json").write_text(json.dumps(config))
    command = [need("otelcol"), "--config", str(tmp_path / "collector.json")]
    collector = await Process.start("collector", command, tmp_path)
    try:
        await eventually(lambda: "Everything is ready" in collector.output(), "ready", within=30)
        ports = Ports.from_base(free_ports_in_a_row(len(Ports._fields)))
        setup = Setup(configure=lambda it: it.update(tracing={"otlp": f"http://127.0.0.1:{port}"}))
        async with running(ports, tmp_path, setup) as stack:
            token = stack.zervi.token("alice")
            alice = ("Authorization", f"Bearer {token}")
            parent = ("traceparent", SAMPLED.decode())
            answer = await send(ports.envoy, "/api/services/list?secret=x", alice, parent)
            assert answer.status == 200
            await eventually(lambda: TRACE in collector.output(), "a span", within=30)
    finally:
        await collector.stop()
    said = collector.output()
    for wanted in ("service.name: Str(zervi-sidecar)", "Str(ok)", "Str(api-services-all)"):
        assert wanted in said
    assert "secret=x" not in said
    assert token not in said
