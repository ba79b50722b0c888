"""The candidate policy (``policy.shadow``): shadowed, then promoted."""

import logging
from collections.abc import Callable
from typing import NamedTuple

from sidecar.config import Config
from sidecar.core.routes.table import Policy
from sidecar.extauthz.shadow import Shadow

_log = logging.getLogger(__name__)


class Promoted(NamedTuple):
    """A promoted candidate, and how many decisions were compared and differed before."""

    policy: Policy
    compared: int
    different: int


class Candidate:
    """Which policy is in force, and which one is only evaluated in its shadow.

    A promotion lasts until the content of one of both files changes: another reload, such as of a
    secret, keeps it. It is not persisted: a restart reads ``policy.file``.
    """

    def __init__(self, config: Config, count: Callable[[str, str, str], None]) -> None:
        self._count = count
        self.shadow: Shadow | None = None
        self._promoted: tuple[str, str] | None = None  # the digests of both files at that time
        self.take(config)

    @property
    def promoted(self) -> bool:
        """Whether the candidate decides."""
        return self._promoted is not None

    @property
    def digest(self) -> str | None:
        """The digest of the candidate that is compared, None where there is none."""
        return None if self._candidate is None else self._candidate.digest

    def take(self, config: Config) -> Policy:
        """Return the policy to put in force; the other one becomes the candidate."""
        section = config.settings.policy.shadow
        self._file, self._candidate = config.policy, config.shadow
        self.promotable = section is not None and section.promotable
        if section is None:
            self.shadow = None
        elif self.shadow is None:
            self.shadow = Shadow(section.percent, self._count)
        else:
            self.shadow.change(section.percent)
        if config.shadow is not None and self._promoted == _digests(config.policy, config.shadow):
            self._candidate = None
            return config.shadow
        if self._promoted is not None:
            policy = config.settings.policy
            changed = "policy.shadow"
            if self._promoted[0] != config.policy.digest:
                changed = policy.file.name
            text = "the promotion of %s has ended, because %s changed; %s decides again"
            _log.warning(text, self._promoted[1], changed, policy.file.name)
            self._promoted = None
        if self.shadow is not None:
            self.shadow.take(config.shadow)
        return config.policy

    def promote(self) -> Promoted | None:
        """Return the candidate to put it in force; None where there is none."""
        candidate, shadow = self._candidate, self.shadow
        if candidate is None or shadow is None or not self.promotable:
            return None
        promoted = Promoted(candidate, shadow.compared, shadow.different)
        self._promoted = _digests(self._file, candidate)
        _log.warning(
            "promoted: the candidate %s decides instead of %s, until one of both files changes or"
            " the sidecar restarts; copy it to policy.file",
            candidate.digest,
            self._file.digest,
        )
        self._candidate = None
        shadow.take(None)
        return promoted


def _digests(policy: Policy, candidate: Policy) -> tuple[str, str]:
    return policy.digest, candidate.digest
