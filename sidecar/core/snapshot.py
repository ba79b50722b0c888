"""All that a decision depends on, apart from the request and the time."""

from typing import TYPE_CHECKING, NamedTuple

from sidecar.core.routes.conditions import Steps
from sidecar.core.routes.table import Policy
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.issuers import Issuer
from sidecar.core.tokens.jws import MAX_TOKEN_BYTES
from sidecar.core.tokens.lookups import PermissionRule
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.core.tokens.revocations import Revocations

if TYPE_CHECKING:
    from sidecar.core.placement.place import Placements


class Snapshot(NamedTuple):
    """Policy and issuers at one moment; immutable, replaced as a whole.

    ``placements`` is None beside one upstream: only a gateway chooses who serves.
    ``service_token_sources`` are the places of a service's token beside a user's. ``candidate`` is
    a policy that only the shadow applies: what it reads of tokens and peers is read too.
    ``leeway``, ``max_stale`` and ``cache_ttl`` are seconds. A longer token than ``token_max_bytes``
    is refused unread. ``permissions`` is None where no permissions are looked up. ``opaque_issuer``
    is the index of the issuer that is asked about tokens which are not JWTs. ``revocations`` is
    None where no feed of them is configured.
    """

    policy: Policy
    issuers: tuple[Issuer, ...]
    token_sources: tuple[TokenSource, ...]
    identity_headers: IdentityHeaders = IdentityHeaders()
    leeway: float = 30.0
    max_stale: float = 86400.0
    cache_ttl: float = 300.0
    placements: "Placements | None" = None
    service_token_sources: tuple[TokenSource, ...] = ()
    candidate: Policy | None = None
    token_max_bytes: int = MAX_TOKEN_BYTES
    permissions: PermissionRule | None = None
    opaque_issuer: int | None = None
    revocations: Revocations | None = None

    @property
    def names_callers(self) -> bool:
        """Whether a decision may depend on the peer's certificate."""
        other = self.candidate
        return self.policy.names_callers or (other is not None and other.names_callers)

    @property
    def claims(self) -> frozenset[Steps]:
        """The claims that a decision may depend on: those kept with a remembered token."""
        other = self.candidate
        return frozenset(self.policy.claims + (() if other is None else other.claims))
