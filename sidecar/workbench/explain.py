"""Traces one request, step by step, in the order in which ``core.decide`` judges it.

Each step calls the function of ``core`` that ``decide`` calls; the answer comes from the engine. A
test compares both with the running service.
"""

from collections.abc import Generator, Iterator
from typing import NamedTuple

from sidecar.core.methods import is_method, named_methods
from sidecar.core.paths.canonical import Path, PathError, canonicalise
from sidecar.core.paths.upstreams import UPSTREAMS, Upstream
from sidecar.core.preflight import may_be_forwarded, preflight_method
from sidecar.core.query import QueryError
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.route import NotAllowed, Route, normalise_host
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import one_line
from sidecar.extauthz.messages import MALFORMED
from sidecar.review.readings import READERS
from sidecar.workbench.caller_steps import Presented, Step, route_steps
from sidecar.workbench.candidates import candidates, near_misses
from sidecar.workbench.engine import Judged, PolicyEngine
from sidecar.workbench.logs import CallerField
from sidecar.workbench.principals import Caller

_ANSWERED = Step(
    "preflight", False, f"{Reason.PREFLIGHT_ANSWERED}: no request reaches the upstream"
)


class Explanation(NamedTuple):
    """The decision on a request, and the steps to it.

    ``verdict`` is false if the request is from a log that does not contain enough for a decision.
    """

    judged: Judged
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    verdict: bool = True


class Explainer:
    """Explains requests; ``lines`` are the line numbers of the routes in the policy ``file``."""

    def __init__(self, engine: PolicyEngine, file: str, lines: tuple[int, ...]) -> None:
        self.engine = engine
        self._snapshot = engine.snapshot
        self._file = file
        self._lines = lines

    def place(self, route: Route) -> str:
        """Return file and line of a route."""
        return f"{self._file}:{self._lines[route.index]}"

    def explain(
        self, request: Request, caller: Caller, lacks: frozenset[CallerField] = frozenset()
    ) -> Explanation:
        """Explain one request; ``lacks`` is what is not known about the caller.

        Raises UnknownIssuerError.
        """
        carrying, verified = self.engine.carry(request, caller)
        presented = Presented(carrying, verified, caller, lacks)
        return Explanation(self.engine.judge(request, caller), tuple(self._steps(presented)))

    def _steps(self, presented: Presented) -> Iterator[Step]:
        request = presented.request
        try:
            path = canonicalise(
                request.target, raw_headers=True, allow=self._snapshot.policy.allow_paths
            )
            named = named_methods(request.target)
        except (PathError, QueryError) as error:
            yield Step("path", False, MALFORMED[error.problem][False])
            return
        if not is_method(request.method):
            yield Step("method", False, f"invalid HTTP method {request.method!r}")
            return
        yield from self._readings(request.method, path, presented)
        for method in named:
            text = f"also judged as {method!r}, which _method in the query names"
            yield Step("method", None, one_line(text))
            yield from self._readings(method, path, presented)

    def _readings(self, method: str, path: Path, presented: Presented) -> Iterator[Step]:
        seen: set[Step] = set()
        for segments in path.readings:
            several = f", one of {len(path.readings)} readings" if len(path.readings) > 1 else ""
            yield Step("path", True, one_line("/" + "/".join(segments)) + several)
            for step in self._reading(method, segments, presented):
                seen.add(step)
                yield step
        if all(step.held is not False for step in seen):
            for step in self._neighbours(method, path, presented):
                if step not in seen:  # the token is the same
                    yield step

    def _neighbours(self, method: str, path: Path, presented: Presented) -> Iterator[Step]:
        """Yield what other readings of the path require, if the path itself is allowed."""
        policy, request = self._snapshot.policy, presented.request
        routes = [policy.match(request.host, method, segments) for segments in path.readings]
        own = [route for route in routes if isinstance(route, Route)]
        if len(own) < len(routes):
            return  # a preflight, for which another method's routes count
        if not policy.is_read_otherwise(path, request.host, own):
            return
        try:
            reached = list(policy.reached(path, request.host, method))
        except PathError as error:
            yield Step("path", False, MALFORMED[error.problem][False])
            return
        for segments, found in reached:
            if found in own:
                continue
            route = found.route if isinstance(found, NotAllowed) else found
            reader = _reader(policy, path, request.host, method, found)
            yield Step("neighbour", None, f"for {reader}, this path is {self._named(route)}")
            if (yield from self._preflight(method, request, found)):
                if policy.cors_preflight == "answer":
                    yield _ANSWERED
            elif isinstance(found, NotAllowed):
                yield self._other_method(found, method)
            else:
                yield from route_steps(self.engine, presented, found, segments)

    def _reading(
        self, method: str, segments: tuple[str, ...], presented: Presented
    ) -> Iterator[Step]:
        policy, request = self._snapshot.policy, presented.request
        found = policy.match(request.host, method, segments)
        asked = yield from self._preflight(method, request, found)
        if asked:
            method = asked
            found = policy.match(request.host, method, segments)
        yield from self._candidates(request.host, method, segments, found)
        if not isinstance(found, Route):
            return
        if not asked:
            yield from route_steps(self.engine, presented, found, segments)
        elif policy.cors_preflight == "answer":
            yield _ANSWERED

    def _preflight(
        self, method: str, request: Request, found: Route | NotAllowed | None
    ) -> Generator[Step, None, str | None]:
        """Yield the steps of a CORS preflight; return the method that it announces."""
        mode = self._snapshot.policy.cors_preflight
        public = isinstance(found, Route) and found.public
        if mode == "off" or method != request.method or public:
            return None
        asked = preflight_method(request)
        if not asked:
            return None
        yield Step("preflight", None, f"CORS preflight for {asked}")
        if mode == "forward" and not may_be_forwarded(request, self._snapshot.token_sources):
            text = "not a preflight: it carries a credential or a body, which browsers do not send"
            yield Step("preflight", None, text)
            return None
        return asked

    def _candidates(
        self,
        host: str,
        method: str,
        segments: tuple[str, ...],
        found: Route | NotAllowed | None,
    ) -> Iterator[Step]:
        policy = self._snapshot.policy
        listed = candidates(policy, host, method, segments)
        if found is None:
            yield Step("route", False, "no route matches, so the request is denied")
            for near in () if listed else near_misses(policy, segments):
                yield Step("similar", None, f"{self._named(near.route)}: {near.lost}")
        for route, lost in listed:
            if isinstance(found, Route) and route is found:
                yield Step("route", True, self._named(route))
            elif isinstance(found, NotAllowed) and route is found.route:
                yield self._other_method(found, method)
            else:
                yield Step("not selected", None, f"{self._named(route)}: {lost}")

    def _other_method(self, found: NotAllowed, method: str) -> Step:
        accepted = f"{self._named(found.route)}: this path accepts {', '.join(found.methods)}"
        return Step("route", False, f"{accepted}, not {method}")

    def _named(self, route: Route) -> str:
        return f"{route.name}, {route.path} at {self.place(route)}"


def _reader(policy: Policy, path: Path, host: str, method: str, found: Route | NotAllowed) -> str:
    """Describe the upstreams that read a path as one of ``found``."""
    own = policy.reached(path, normalise_host(host) or "", method)
    if not any(found is other for _, other in own):
        return "an upstream that compares hosts without normalising them"
    for name, upstream in _single_readings(UPSTREAMS[policy.upstream]).items():
        reached = policy.seen_by(upstream).reached(path, host, method)
        if any(found is other for _, other in reached):
            return f"an upstream {READERS[name]}"
    return "an upstream that combines several readings"


def _single_readings(upstream: Upstream) -> dict[str, Upstream]:
    """Return for each reading of an upstream one that has only this reading."""
    none = Upstream()
    return {
        name: none._replace(**{name: value})
        for name, value in upstream._asdict().items()
        if value != getattr(none, name)
    }
