"""Envoy's resources for the targets of a policy, as plain values.

Sources: Envoy's API v3, config.cluster.v3.Cluster, config.endpoint.v3.ClusterLoadAssignment,
config.route.v3.RouteConfiguration, extensions.load_balancing_policies.override_host.v3.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from sidecar.config.answers import CorsSection
from sidecar.core.placement.directory import Health, Instance
from sidecar.net.addresses import TcpAddress, parse_tcp

TYPE: Final = "type.googleapis.com/envoy."

# The name of the route table that envoy.yaml asks for.
ROUTE_TABLE: Final = "gateway"

# A cluster of the bootstrap, without endpoints: what has no target goes nowhere.
NOWHERE: Final = "nowhere"

# Where Envoy's images, Debian, Ubuntu and Alpine have the authorities that they trust.
SYSTEM_AUTHORITIES: Final = "/etc/ssl/certs/ca-certificates.crt"

# Of a stream where tokens can be revoked (docs/revocation.md): clients connect again, which Envoy
# asks about.
STREAM_DURATION: Final = "3600s"

_METADATA: Final = "envoy.filters.http.ext_authz"
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
_BALANCING: Final = "extensions.load_balancing_policies"

_HEALTH: Final = {
    Health.HEALTHY: "HEALTHY",
    Health.WARNING: "DEGRADED",
    Health.UNKNOWN: "DEGRADED",
    Health.CRITICAL: "UNHEALTHY",
}

Resource = dict[str, Any]


class TargetTls(NamedTuple):
    """Mutual TLS to the instances of the registry; paths are as Envoy sees them.

    ``san`` is the name in an instance's certificate; ``{service}`` is its service's name.
    """

    san: str
    ca_file: str
    cert_file: str
    key_file: str


def endpoints(target: str, instances: Iterable[Instance]) -> Resource:
    """Return a target's endpoints with the registry's health.

    Envoy gives a degraded endpoint requests even while there is a healthy one, so one that vanished
    is unhealthy as long as another can serve. The sidecar's answer may name it all the same.
    """
    known = tuple(instances)
    last = not any(each.usable and not each.vanished for each in known)
    found = [_endpoint(each.address, _health(each, last)) for each in known]
    return {"cluster_name": target, "endpoints": [{"lb_endpoints": found}]}


def registry_cluster(
    target: str, config_source: Resource, several: bool, tls: TargetTls | None
) -> Resource:
    """Return the cluster of a target whose endpoints come from ``config_source``.

    An instance is an Envoy, so it is reached by the client's protocol. ``several`` says whether it
    has two addresses or more: ejecting the only instance helps no client.
    """
    cluster = {
        **_cluster(target, several),
        "type": "EDS",
        "eds_cluster_config": {"eds_config": config_source},
        # Never a critical instance, even if all are.
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "load_balancing_policy": {"policies": [_policy("override_host", _override())]},
        "typed_extension_protocol_options": _protocol(
            use_downstream_protocol_config={
                "http_protocol_options": {},
                "http2_protocol_options": {},
            }
        ),
    }
    if tls is not None:
        cluster["transport_socket"] = _transport_socket(_mutual_tls(target, tls))
    return cluster


def fixed_cluster(
    target: str, urls: Sequence[str], down: AbstractSet[str] = frozenset()
) -> Resource:
    """Return the cluster of a service that the configuration names, by URLs without a path.

    Host names are looked up by Envoy. https is verified against the system's authorities. ``down``
    are the URLs whose probes fail.
    """
    parts = [urlsplit(url) for url in urls]
    https = parts[0].scheme == "https"
    found = [
        _endpoint(
            str(TcpAddress(str(part.hostname), part.port or (443 if https else 80))),
            "UNHEALTHY" if url in down else "UNKNOWN",
        )
        for url, part in zip(urls, parts, strict=True)
    ]
    assignment = {"lb_endpoints": found}
    cluster = {
        **_cluster(target, several=len(urls) > 1),
        "type": "STRICT_DNS",
        "dns_lookup_family": "V4_PREFERRED",
        "load_assignment": {"cluster_name": target, "endpoints": [assignment]},
        "typed_extension_protocol_options": _protocol(
            explicit_http_config={"http_protocol_options": {}}
        ),
    }
    if https:
        name = str(parts[0].hostname)
        names = [{"san_type": "DNS", "matcher": {"exact": name}}]
        cluster["transport_socket"] = _transport_socket(
            {
                "sni": name,
                "common_tls_context": {
                    "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
                    "validation_context": {
                        "trusted_ca": {"filename": SYSTEM_AUTHORITIES},
                        "match_typed_subject_alt_names": names,
                    },
                },
            }
        )
    return cluster


def grpc_timeout_max(*, revocable: bool) -> str:
    """Return the most that a client's grpc-timeout may extend a stream to; 0s: no limit.

    It counts in place of the connection manager's max_stream_duration.
    """
    return STREAM_DURATION if revocable else "0s"


def routes(
    targets: Iterable[str],
    removed: Sequence[str],
    cors: Resource | None,
    *,
    revocable: bool = False,
) -> Resource:
    """Return the route table: a route per target that matches the sidecar's answer.

    ``removed`` are request headers, ``cors`` is a CorsPolicy or None. ``revocable`` says that
    tokens can be revoked.
    """
    longest = grpc_timeout_max(revocable=revocable)
    found = [route for target in targets for route in _target_routes(target, longest)]
    # A preflight that the CORS filter answers, and a request without a target, go nowhere.
    found.append({"match": {"prefix": "/"}, "route": {"cluster": NOWHERE}})
    host: Resource = {"name": ROUTE_TABLE, "domains": ["*"], "routes": found}
    if cors is not None:
        host["typed_per_filter_config"] = {"envoy.filters.http.cors": cors}
    return {
        "name": ROUTE_TABLE,
        "request_headers_to_remove": list(removed),
        "virtual_hosts": [host],
    }


def cors_policy(cors: CorsSection | None) -> Resource | None:
    """Return the settings of the CORS filter for ``policy.cors``."""
    if cors is None:
        return None
    return {
        "@type": f"{TYPE}extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in cors.origins],
        "allow_methods": ", ".join(cors.methods),
        "allow_headers": ", ".join(cors.headers),
        **({"allow_credentials": True} if cors.credentials else {}),
        "max_age": str(int(cors.max_age)),
    }


def _cluster(target: str, several: bool) -> Resource:
    cluster: Resource = {
        "name": target,
        "connect_timeout": "1s",
        "per_connection_buffer_limit_bytes": 65536,
        "circuit_breakers": {
            "thresholds": [{"max_connections": 10000, "max_requests": 10000, "max_retries": 100}]
        },
    }
    if several:
        cluster["outlier_detection"] = {"max_ejection_percent": 50}
    return cluster


def _endpoint(address: str, health: str) -> Resource:
    host, port = parse_tcp(address)
    socket = {"address": host, "port_value": port}
    return {"endpoint": {"address": {"socket_address": socket}}, "health_status": health}


def _health(instance: Instance, last: bool) -> str:
    if instance.draining or not instance.ready:
        return "DRAINING"
    if instance.vanished and instance.usable:
        return "DEGRADED" if last else "UNHEALTHY"
    return _HEALTH[instance.health]


def _override() -> Resource:
    """Return the policy that picks the address in the sidecar's answer.

    Nothing that a client sends takes part. Without an answer's address, or with one that is not an
    endpoint of the cluster, the fallback picks.
    """
    key = {"key": _METADATA, "path": [{"key": "server"}]}
    fallback = _policy(
        "least_request", {"@type": f"{TYPE}{_BALANCING}.least_request.v3.LeastRequest"}
    )
    return {
        "@type": f"{TYPE}{_BALANCING}.override_host.v3.OverrideHost",
        "override_host_sources": [{"metadata": key}],
        "fallback_policy": {"policies": [fallback]},
    }


def _policy(name: str, config: Resource) -> Resource:
    return {
        "typed_extension_config": {
            "name": f"envoy.load_balancing_policies.{name}",
            "typed_config": config,
        }
    }


def _protocol(**config: Resource) -> Resource:
    options = {
        "@type": f"{TYPE}extensions.upstreams.http.v3.HttpProtocolOptions",
        "common_http_protocol_options": {"idle_timeout": "4s"},  # shorter than servers' keep-alive
        **config,
    }
    return {_HTTP_OPTIONS: options}


def _mutual_tls(target: str, tls: TargetTls) -> Resource:
    """Return TLS to a target; one that is a prefix of names accepts each name with the prefix."""
    matcher: Resource = {"exact": tls.san.replace("{service}", target)}
    if target.endswith("*"):
        before, _, after = tls.san.partition("{service}")
        pattern = f"{_escaped(before + target[:-1])}[A-Za-z0-9._-]*{_escaped(after)}"
        matcher = {"safe_regex": {"regex": pattern}}
    kind = "URI" if "://" in tls.san else "DNS"
    certificate = {
        "certificate_chain": {"filename": tls.cert_file},
        "private_key": {"filename": tls.key_file},
    }
    return {
        "common_tls_context": {
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "tls_certificates": [certificate],
            "validation_context": {
                "trusted_ca": {"filename": tls.ca_file},
                "match_typed_subject_alt_names": [{"san_type": kind, "matcher": matcher}],
            },
        }
    }


def _transport_socket(context: Mapping[str, Any]) -> Resource:
    kind = f"{TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext"
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": kind, **context},
    }


def _escaped(text: str) -> str:
    return "".join(each if each.isalnum() else f"\\{each}" for each in text)


def _target_routes(target: str, longest: str) -> list[Resource]:
    value = {"string_match": {"exact": target}}
    metadata = [{"filter": _METADATA, "path": [{"key": "target"}], "value": value}]
    previous = {
        "name": "envoy.retry_host_predicates.previous_hosts",
        "typed_config": {
            "@type": f"{TYPE}extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
        },
    }
    action = {
        "cluster": target,
        # Only where the instance cannot have answered; the next address of the answer follows.
        "retry_policy": {
            "retry_on": "connect-failure,refused-stream,reset-before-request",
            "num_retries": 2,
            "retry_host_predicate": [previous],
            "host_selection_retry_max_attempts": 3,
        },
    }
    streams = {"timeout": "0s", "max_stream_duration": {"grpc_timeout_header_max": longest}}
    return [
        {
            "match": {"prefix": "/", "grpc": {}, "dynamic_metadata": metadata},
            "route": {**action, **streams},
        },
        {
            "match": {"prefix": "/", "dynamic_metadata": metadata},
            "route": {**action, "timeout": "30s"},
        },
    ]
