"""What a gateway with a configuration writes for Envoy, for doctor to compare."""

from itertools import chain

from sidecar.app import gateway_wiring
from sidecar.config import Config
from sidecar.core.placement.place import RESERVED
from sidecar.workbench.doctor.context import GatewayFiles


def gateway_files(config: Config) -> GatewayFiles | None:
    """Return what the sidecar writes; None without ``gateway``."""
    section = config.settings.gateway
    if section is None:
        return None
    return GatewayFiles(
        gateway_wiring.files(config, section),
        frozenset(route.target for route in config.policy.routes if route.target) - RESERVED,
        tuple(chain(section.allow_networks, *section.target_networks.values())),
    )
