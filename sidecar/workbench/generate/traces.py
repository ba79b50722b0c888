"""Envoy's own tracer in the bootstrap, with the sidecar's collector: so its span is the parent."""

import json
from urllib.parse import urlsplit

from sidecar.config.model import TracingSection

_TRACER = "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig"
_TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_CAS = "/etc/ssl/certs/ca-certificates.crt"  # where Debian, Ubuntu and Alpine have them


def tracing(section: TracingSection | None) -> list[str]:
    """Return the tracer of the connection manager."""
    if section is None:
        return []
    url = section.otlp if section.otlp.endswith("/v1/traces") else f"{section.otlp}/v1/traces"
    return [
        "",
        "# --- traces: Envoy sends its span to the sidecar with each Check",
        "tracing:",
        "  random_sampling: {value: 1} # percent of the requests that arrive without a trace",
        "  max_path_tag_length: 0 # SAFETY: a query may carry a token",
        "  provider:",
        "    name: envoy.tracers.opentelemetry",
        "    typed_config:",
        f'      "@type": {_TRACER}',
        "      service_name: envoy",
        "      http_service:",
        f"        http_uri: {{uri: {json.dumps(url)}, cluster: otlp, timeout: 5s}}",
    ]


def trace_id(section: TracingSection | None) -> list[str]:
    """Return the field of the access log."""
    return [] if section is None else ['trace_id: "%TRACE_ID%"']


def collector(section: TracingSection | None) -> list[str]:
    """Return the cluster of the collector."""
    if section is None:
        return []
    url = urlsplit(section.otlp)
    host, port = str(url.hostname), url.port or (443 if url.scheme == "https" else 80)
    address = f"{{address: {json.dumps(host)}, port_value: {port}}}"
    tls = []
    if url.scheme == "https":
        tls = [
            "  transport_socket:",
            "    name: envoy.transport_sockets.tls",
            "    typed_config:",
            f'      "@type": {_TLS}',
            f"      sni: {json.dumps(host)}",
            "      common_tls_context:",
            "        validation_context:",
            f"          trusted_ca: {{filename: {_CAS}}}",
            "          match_typed_subject_alt_names:",
            f"            - {{san_type: DNS, matcher: {{exact: {json.dumps(host)}}}}}",
        ]
    return [
        "- name: otlp # tracing.otlp",
        "  type: STRICT_DNS",
        "  connect_timeout: 1s",
        *tls,
        "  load_assignment:",
        "    cluster_name: otlp",
        "    endpoints:",
        "      - lb_endpoints:",
        "          - endpoint:",
        "              address:",
        f"                socket_address: {address}",
        "",
    ]
