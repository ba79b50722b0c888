"""Who signs tokens."""

from collections.abc import Mapping
from typing import NamedTuple

from sidecar.core.keys import KeySet
from sidecar.core.principal import ClaimNames


class Issuer(NamedTuple):
    """Who signs tokens, with the keys or the secrets known at this moment.

    Either ``secrets`` is filled and ``algorithms`` is HS256 alone, or it is empty and ``keys`` counts: None until
    a first good key set came. ``audiences`` empty means that a token's audience is not checked.
    ``role_permissions`` says what a role grants beside the token's own permissions.
    """

    name: str
    algorithms: frozenset[str]
    audiences: frozenset[str] = frozenset()
    allow_missing_issuer: bool = False
    secrets: tuple[bytes, ...] = ()
    keys: KeySet | None = None
    claims: ClaimNames = ClaimNames()
    role_permissions: Mapping[str, tuple[str, ...]] = {}
