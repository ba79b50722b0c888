"""The candidate policy (``policy.shadow``): shadowed, then promoted."""

from collections.abc import Callable
from typing import NamedTuple

from sidecar.config import Config
from sidecar.core.routes.table import Policy
from sidecar.extauthz.shadow import Shadow


class Promoted(NamedTuple):
    """A promoted candidate, and how many decisions were compared and differed before."""

    policy: Policy
    compared: int
    different: int


class Candidate:
    """Which policy is in force, and which one is only evaluated in its shadow.

    A promotion lasts until the content of one of both files changes: another reload, such as of a
    secret, keeps it. It is not persisted: a restart reads ``policy.file``. Whether there is a
    candidate, and whether it is promotable, is fixed at the start.
    """

    def __init__(self, config: Config, count: Callable[[str, str, str], None]) -> None:
        section = config.settings.policy.shadow
        self.promotable = section is not None and section.promotable
        self.shadow = None if section is None else Shadow(section.percent, count)
        self._promoted: tuple[str, str] | None = None  # the digests of both files at that time
        self.take(config)

    def take(self, config: Config) -> Policy:
        """Return the policy to put in force; the other one becomes the candidate."""
        self._file, self._candidate = config.policy, config.shadow
        if self.shadow is None:
            return config.policy
        if config.shadow is not None and self._promoted == _digests(config.policy, config.shadow):
            self._candidate = None
            return config.shadow
        self._promoted = None
        self.shadow.take(config.shadow)
        return config.policy

    def promote(self) -> Promoted | None:
        """Return the candidate to put it in force; None where there is none."""
        candidate, shadow = self._candidate, self.shadow
        if candidate is None or shadow is None or not self.promotable:
            return None
        promoted = Promoted(candidate, shadow.compared, shadow.different)
        self._promoted = _digests(self._file, candidate)
        self._candidate = None
        shadow.take(None)
        return promoted


def _digests(policy: Policy, candidate: Policy) -> tuple[str, str]:
    return policy.digest, candidate.digest
