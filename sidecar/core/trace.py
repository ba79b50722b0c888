"""Reports the steps of a decision to a tool that explains it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from sidecar.core.paths.canonical import Path
    from sidecar.core.paths.problems import PathProblem
    from sidecar.core.request import RequestProblem
    from sidecar.core.routes.route import NotAllowed, Route
    from sidecar.core.tokens.errors import TokenError
    from sidecar.core.tokens.lookups import Answer, LookUp
    from sidecar.core.tokens.principal import Principal, Refusal
    from sidecar.core.tokens.revocations import Marks
    from sidecar.core.tokens.verified import NeedsKey, Verified


class Trace(Protocol):
    """``decide`` calls these methods in the order of its work, up to the first denial.

    Without a trace nothing is computed for one: write ``if trace: trace.check(...)``.
    """

    def check(self, name: str, held: bool | None, text: str) -> None:
        """Note a check that passed or failed, or (None) a remark; ``text`` is for operators."""

    def malformed(self, problem: "PathProblem | RequestProblem") -> None:
        """Note why the request is malformed."""

    def reading(self, path: "Path", segments: Sequence[str]) -> None:
        """Note that one of the path's own readings is judged now."""

    def neighbour(self, path: "Path", method: str, found: "Route | NotAllowed") -> None:
        """Note that the route that some upstream matches the path to is judged now."""

    def matched(
        self, method: str, segments: tuple[str, ...], found: "Route | NotAllowed | None"
    ) -> None:
        """Note what the table has for a method and one reading of the path."""

    def authenticated(self, verified: "Verified", claims: Mapping[str, Any] | None) -> None:
        """Note a verified token; ``claims`` is None if it was verified before."""

    def revoked(self, marks: "Marks") -> None:
        """Note that the feed of revocations refuses the token with these marks."""

    def refused(self, error: "TokenError") -> None:
        """Note why no token was found, or why the one that was found is not accepted."""

    def unknown_key(self, key: "NeedsKey") -> None:
        """Note that the issuer's key set lacks the token's key."""

    def looked_up(self, question: "LookUp", answer: "Answer | None") -> None:
        """Note a look-up and the answer that counts; None: none counts yet, so it is asked for."""

    def service(self) -> None:
        """Note that the service's token beside the user's is judged now."""

    def allowed_api(self, service: "Principal", refusal: "Refusal | None") -> None:
        """Note whether the service may call the path."""

    def required(self, principal: "Principal", route: "Route", segments: tuple[str, ...]) -> None:
        """Note that the route's requirements are compared with the principal now."""
