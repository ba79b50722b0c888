"""What ``callers`` in routes need of Envoy: that it validates a certificate of each client."""

from collections.abc import Iterator

from sidecar.documents.findings import Problem
from sidecar.workbench.doctor.context import Wanted, error
from sidecar.workbench.doctor.document import Part, type_name

_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"


def unverified_callers(listener: Part, wanted: Wanted) -> Iterator[Problem]:
    """Yield each filter chain where a client needs no certificate, or none is validated."""
    if not wanted.names_callers:
        return
    for chain in (*listener.each("filter_chains"), listener.below("default_filter_chain")):
        if chain.has("filters") and not _is_verified(chain):
            yield error(
                chain.place,
                "callers",
                "routes name `callers`, but clients of this listener need no validated "
                "certificate, so source.principal is empty or unproven",
                "a DownstreamTlsContext with require_client_certificate: true and a trusted_ca",
            )


def _is_verified(chain: Part) -> bool:
    tls = chain.below("transport_socket", "typed_config")
    common = tls.below("common_tls_context")
    validation = common.below("validation_context")
    combined = common.below("combined_validation_context")
    own = validation if validation.value else combined.below("default_validation_context")
    by_sds = common.has("validation_context_sds_secret_config") or combined.has(
        "validation_context_sds_secret_config"
    )
    return (
        type_name(tls) == _TLS
        and tls.get("require_client_certificate") is True
        and (own.has("trusted_ca") or by_sds)
        and own.get("trust_chain_verification") in (None, "VERIFY_TRUST_CHAIN")
    )
