"""Everything that a decision depends on beside the request, at one instant."""

from typing import NamedTuple

from sidecar.core.credentials import TokenSource
from sidecar.core.issuers import Issuer
from sidecar.core.principal import IdentityHeaders
from sidecar.core.routes import Policy


class Snapshot(NamedTuple):
    """Policy and issuers at one instant; never changed, swapped whole.

    ``leeway``, ``max_stale`` and ``cache_ttl`` are seconds.
    """

    policy: Policy
    issuers: tuple[Issuer, ...]
    token_sources: tuple[TokenSource, ...]
    identity_headers: IdentityHeaders = IdentityHeaders()
    leeway: float = 30.0
    max_stale: float = 86400.0
    cache_ttl: float = 300.0
