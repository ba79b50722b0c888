"""Which tokens are a service's, by rules of the configuration."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sidecar.core.tokens.claims import Path, as_text, single


class ServiceRule(NamedTuple):
    """A claim of services' tokens. Exactly one of the others is given.

    ``equals`` and ``prefix`` are of its text, ``same_as`` is another claim with the same text, and
    ``present`` says whether the token has the claim.
    """

    claim: str | Path
    equals: str | None = None
    prefix: str | None = None
    same_as: str | Path | None = None
    present: bool | None = None

    def holds(self, claims: Mapping[str, Any]) -> bool:
        """Say whether a token with these claims is a service's by this rule."""
        value = single(claims, self.claim)
        if self.present is not None:
            return (value is not None) is self.present
        text = as_text(value)
        if not text:
            return False
        if self.prefix is not None:
            return text.startswith(self.prefix)
        if self.same_as is not None:
            return text == as_text(single(claims, self.same_as))
        return text == self.equals
