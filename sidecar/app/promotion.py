"""The candidate of ``policy.shadow``, from being watched to being in force."""

from collections.abc import Callable
from typing import NamedTuple

from sidecar.config import Config
from sidecar.core.routes.table import Policy
from sidecar.extauthz.shadow import Shadow


class Promoted(NamedTuple):
    """A candidate that is to be in force, and the differences that its shadow had shown."""

    policy: Policy
    compared: int
    different: int


class Candidate:
    """Which policy is in force, and which is only watched.

    A promotion holds while the content of both files is what it was, whatever else is reloaded: a
    new secret must not bring an old policy back. It is not written down: a restart reads
    ``policy.file``. Whether there is a candidate, and whether it may be promoted, is as it was at
    the start.
    """

    def __init__(self, config: Config, count: Callable[[str, str, str], None]) -> None:
        section = config.settings.policy.shadow
        self.promotable = section is not None and section.promotable
        self.shadow = None if section is None else Shadow(section.percent, count)
        self._promoted: tuple[str, str] | None = None  # the digests of both files at that time
        self.take(config)

    def take(self, config: Config) -> Policy:
        """Return which policy a configuration puts in force; the other one is watched."""
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
        """Give up watching the candidate, for it to decide; None where there is none (any more)."""
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
