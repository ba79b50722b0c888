"""Envoy's configuration, and what doctor finds in a document."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents import own_yaml
from sidecar.workbench.doctor import Wanted, examine

ROOT = Path(__file__).parents[2]
ENVOY = own_yaml.read(ROOT / "envoy" / "envoy.yaml")
ENVOYS = ROOT / "tests" / "envoys"
ANYTHING = Wanted("127.0.0.1:9001", IdentityHeaders().never_from_clients())
INGRESS, STATS = ENVOY["static_resources"]["listeners"]
CLUSTERS = ENVOY["static_resources"]["clusters"]
TYPES = "type.googleapis.com/"


def codes(document: Any, *only: str, profile: str = "default") -> dict[str, str]:
    """Return the codes of the findings, each with its severity."""
    found = examine(deepcopy(document), ANYTHING, profile, only=only)
    return {problem.code: str(problem.severity) for problem in found}


def answering(action: dict[str, Any], *filters: str) -> dict[str, Any]:
    """Return a listener with one route, and filters of these types."""
    manager_type = (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
    )
    named = [{"name": "f", "typed_config": {"@type": TYPES + each}} for each in filters]
    router = {"@type": TYPES + "envoy.extensions.filters.http.router.v3.Router"}
    return {
        "name": "answers",
        "address": {"socket_address": {"address": "0.0.0.0", "port_value": 8080}},
        "filter_chains": [{"filters": [{"name": "m", "typed_config": {
            "@type": TYPES + manager_type,
            "http_filters": [*named, {"name": "router", "typed_config": router}],
            "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, **action}]}]},
        }}]}],
    }  # fmt: skip
