"""Explains the decision on one request: puts the steps that ``decide`` reports into words.

Only the engine decides. What is added is what it does not look at: the routes that are not
selected, the requirements after the first that fails, and similar paths.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from posixpath import normpath
from typing import Any, Final, NamedTuple

from sidecar.core.decision import Allow
from sidecar.core.paths.canonical import Path
from sidecar.core.paths.problems import PathProblem
from sidecar.core.paths.upstreams import UPSTREAMS, Upstream
from sidecar.core.reasons import Reason
from sidecar.core.request import Request, RequestProblem
from sidecar.core.routes.route import NotAllowed, Route, normalise_host
from sidecar.core.routes.table import Policy
from sidecar.core.tokens.errors import TokenError
from sidecar.core.tokens.lookups import Answer, LookUp, NeedsKey
from sidecar.core.tokens.near_misses import missing_key
from sidecar.core.tokens.principal import Kind, Principal, Refusal
from sidecar.core.tokens.revocations import Marks
from sidecar.core.tokens.verify import CHECKS, Verified
from sidecar.documents.findings import one_line
from sidecar.extauthz.messages import MALFORMED
from sidecar.review.readings import READERS
from sidecar.workbench.caller_steps import describe, not_granted, requirements
from sidecar.workbench.claim_steps import claim_texts
from sidecar.workbench.engine import NO_KEY_SET, Judged, PolicyEngine
from sidecar.workbench.logs import CallerField
from sidecar.workbench.look_up_steps import LOOK_UP, confirmation, look_up
from sidecar.workbench.near import near_routes
from sidecar.workbench.principals import Caller, GivenClaims
from sidecar.workbench.steps import Bilingual, Step
from sidecar.workbench.unselected import not_selected

# Remarks and checks that core puts into words, where the name says enough.
_IN_CHINESE: Final = {
    ("public", True): "该路由不要求令牌",
    ("callers", False): "网格身份不在路由的 callers 中",
    ("method", None): "还按查询参数中的方法判定",
}

REVOCATION = "revocation"


class Explanation(NamedTuple):
    """The decision on a request, and the steps to it.

    ``verdict`` is false if the request is from a log that does not contain enough for a decision.
    """

    judged: Judged
    steps: tuple[Step, ...]
    notes: tuple[str, ...] = ()
    verdict: bool = True


class Explainer:
    """Explains requests; ``lines`` are the line numbers of the routes in the policy ``file``.

    ``in_gateway``: where ``gateway`` is configured, an allowed request needs an instance too.
    """

    def __init__(
        self,
        engine: PolicyEngine,
        file: str,
        lines: tuple[int, ...],
        *,
        in_gateway: bool = False,
    ) -> None:
        self._in_gateway = in_gateway
        self.engine = engine
        self._file = file
        self._lines = lines

    def place(self, route: Route) -> str:
        """Return file and line of a route."""
        return f"{self._file}:{self._lines[route.index]}"

    def named(self, route: Route) -> Bilingual:
        """Return a route's name, path and place."""
        place = self.place(route)
        return Bilingual(
            f"{route.name}, {route.path} at {place}", f"{route.name}，{route.path}（{place}）"
        )

    def explain(
        self,
        request: Request,
        caller: Caller,
        lacks: frozenset[CallerField] = frozenset(),
        service: Caller = None,
    ) -> Explanation:
        """Explain one request; ``lacks`` is what is not known about the caller.

        ``service`` is a service that calls for a user. Raises UnknownIssuerError.
        """
        trace = _Words(self, request, caller, lacks, service)
        judged = self.engine.judge(request, caller, trace, service)
        unplaced = self._in_gateway and self.engine.snapshot.placements is None
        if unplaced and isinstance(judged.decision, Allow):
            text = "no directory is given, so no instance is chosen: use --directory with a file"
            trace.check("placement", None, text)
        if isinstance(judged.decision, Allow) and not self._in_gateway:
            trace.check("remember", None, self._remembered(judged.decision, judged))
        return Explanation(judged, tuple(trace.steps))

    def _remembered(self, allow: Allow, judged: Judged) -> str:
        """Say whether an Envoy that remembers allows would remember this one."""
        milliseconds, why = self.engine.permit(allow, judged)
        if not milliseconds:
            return f"Envoy never remembers this allow: {why}"
        return f"an Envoy with `--remember` may remember this for {milliseconds} ms: {why}"


class _Words:
    """The ``Trace`` that puts each step into words."""

    def __init__(
        self,
        explainer: Explainer,
        request: Request,
        caller: Caller,
        lacks: frozenset[CallerField],
        service: Caller,
    ) -> None:
        self.steps: list[Step] = []
        self._explainer = explainer
        self._snapshot = explainer.engine.snapshot
        self._request = request
        self._caller = caller
        self._lacks = lacks
        self._service = service
        self._passed: set[str] = set()  # checks of the token
        self._looked_up = False  # something was, for the token that is judged now
        self._revoked_by: Marks | None = None
        self._neighbour: Step | None = None  # precedes the first step that only it needs

    def _add(self, *steps: Step) -> None:
        for step in steps:
            if self._neighbour is not None:
                if step in self.steps:
                    continue
                if self._neighbour not in self.steps:
                    self.steps.append(self._neighbour)
            self.steps.append(step)

    def check(self, name: str, held: bool | None, text: str) -> None:
        feed = self._explainer.engine.feed
        if name == REVOCATION and isinstance(self._caller, Principal):
            return  # of a log: there is no token to compare with the entries
        if name == REVOCATION and feed is not None and not feed.given:
            held, text = None, "no entries are given, so it counts as not revoked: --revocations"
        self._passed.add(name)
        self._add(Step(name, held, one_line(text), _IN_CHINESE.get((name, held), "")))

    def malformed(self, problem: PathProblem | RequestProblem) -> None:
        english, chinese = MALFORMED[problem]
        if problem is RequestProblem.INVALID_METHOD:
            method = repr(self._request.method)
            self._add(Step("method", False, f"{english} {method}", f"{chinese}：{method}"))
            return
        self._add(Step("path", False, english, chinese))
        if problem in (PathProblem.DOUBLE_SLASH, PathProblem.DOT_SEGMENT):
            path = self._request.target.partition(b"?")[0].decode("ascii", "replace")
            normal = "/" + normpath(path).lstrip("/")
            text = f"with normalize_path and merge_slashes, Envoy asks about {normal} instead"
            chinese = f"启用 normalize_path 和 merge_slashes 时，Envoy 询问的路径是 {normal}"
            self._add(Step("envoy", None, one_line(text), one_line(chinese)))

    def reading(self, path: Path, segments: Sequence[str]) -> None:
        self._neighbour = None
        english = chinese = _path_text(segments)
        if len(path.readings) > 1:
            english += f", one of {len(path.readings)} readings"
            chinese += f"（{len(path.readings)} 种解读之一）"
        self._add(Step("path", True, english, chinese))

    def neighbour(self, path: Path, method: str, found: Route | NotAllowed) -> None:
        route = found.route if isinstance(found, NotAllowed) else found
        reader = _reader(self._snapshot.policy, path, self._request.host, method, found)
        text = f"for {reader}, this path is {self._explainer.named(route).english}"
        self._neighbour = Step("neighbour", None, text)

    def matched(
        self, method: str, segments: tuple[str, ...], found: Route | NotAllowed | None
    ) -> None:
        self._passed.clear()
        self._looked_up = False
        policy, named = self._snapshot.policy, self._explainer.named
        if found is None:
            text = "no route matches, so the request is denied"
            self._add(Step("route", False, text, "没有匹配的路由，因此拒绝该请求"))
        elif isinstance(found, NotAllowed):
            own, methods = named(found.route), found.methods
            text = f"{own.english}: this path accepts {', '.join(methods)}, not {method}"
            chinese = f"{own.chinese}：该路径只接受 {'、'.join(methods)}，不接受 {method}"
            self._add(Step("route", False, text, chinese))
        elif self._neighbour is None:
            self._add(Step("route", True, *named(found)))
        if self._neighbour is not None:
            return
        others = not_selected(policy, self._request.host, method, segments)
        for route, lost in others:
            self._add(_about("not selected", named(route), lost))
        if isinstance(found, NotAllowed) or (found is None and not others):
            besides = None if found is None else found.route
            for route, difference in near_routes(policy, method, segments, besides):
                self._add(_about("similar", named(route), difference))

    def authenticated(self, verified: Verified, claims: Mapping[str, Any] | None) -> None:
        if claims is None:  # it counts as verified
            given = self._caller
            claims = given.claims if isinstance(given, GivenClaims) else None
            issuer = signed = ""
            if CallerField.ISSUER not in self._lacks:
                issuer = f", issued by {verified.principal.issuer}"
                signed = f"，由 {verified.principal.issuer} 签发"
            text = f"the claims count as verified{issuer}"
            self._add(Step("token", True, text, f"声明视为已验证{signed}"))
        self._passed.update(CHECKS)
        self._add(Step("claims", True, *describe(verified.principal, self._lacks)))
        self._add(*confirmation(verified, self._explainer.engine))
        if claims is not None:
            issuer_of = self._snapshot.issuers[verified.issuer]
            for text in claim_texts(claims, issuer_of, verified.principal.kind):
                self._add(Step("claim", None, one_line(text)))
            if not verified.asks:
                self._add(*not_granted(claims, verified, issuer_of))

    def revoked(self, marks: Marks) -> None:
        self._revoked_by = marks

    def refused(self, error: TokenError) -> None:
        unpassed = (name for name in ("credential", *CHECKS) if name not in self._passed)
        failed = LOOK_UP if self._looked_up else next(unpassed, REVOCATION)
        feed, by = self._explainer.engine.feed, ""
        if self._revoked_by is not None and feed is not None:
            failed, by = REVOCATION, feed.entry_against(self._revoked_by)
        if failed == "form" and isinstance(self._caller, GivenClaims | Principal):
            failed = "claims"  # these count as verified
        text = f"{error.reason}: {error.detail}" + (by and f" ({by})")
        claimed = None if error.facts is None else error.facts.claimed()
        if claimed and failed != REVOCATION:
            text += f"; the token has {json.dumps(claimed)}"
        self._add(Step(failed, False, one_line(text)))

    def unknown_key(self, key: NeedsKey) -> None:
        failed = next(name for name in CHECKS if name not in self._passed)
        why = missing_key(key.issuer, key.kid, self._snapshot.issuers)
        text = f"{Reason.TOKEN_KEY_UNKNOWN}: the key set has no key {key.kid!r}{why}"
        if key.kid is None:
            text = f"{Reason.TOKEN_KEY_UNKNOWN}{why}"
        if key.first:
            text = f"{Reason.NOT_READY}: {NO_KEY_SET}"
        self._add(Step(failed, False, one_line(text)))

    def looked_up(self, question: LookUp, answer: Answer | None) -> None:
        self._looked_up = True
        self._add(look_up(question, answer, self._explainer.engine))

    def service(self) -> None:
        self._passed.clear()
        self._looked_up = False
        self._caller = self._service
        text = "the route requires a service's token beside the user's"
        self._add(Step("service", None, text, "该路由还要求服务的令牌"))

    def allowed_api(self, service: Principal, refusal: Refusal | None) -> None:
        allowed = "allowed_apis" if service.apis is not None else "a service for any path"
        reason = "" if refusal is None else f"{refusal.reason}: "
        kind = "" if service.kind is Kind.SERVICE else "a user, not a service; "
        text = one_line(f"{reason}{kind}{service.subject}, {allowed}")
        self._add(Step("service", refusal is None, text))

    def required(self, principal: Principal, route: Route, segments: tuple[str, ...]) -> None:
        self._add(*requirements(principal, route, segments, self._lacks))


def _about(name: str, route: Bilingual, words: Bilingual) -> Step:
    english, chinese = route
    return Step(name, None, f"{english}: {words.english}", f"{chinese}：{words.chinese}")


def _path_text(segments: Sequence[str]) -> str:
    """Return the path of these segments; a slash inside one is encoded."""
    kept = (segment.replace("/", "%2F").replace("#", "%23") for segment in segments)
    return one_line("/" + "/".join(kept))


def _reader(policy: Policy, path: Path, host: str, method: str, found: Route | NotAllowed) -> str:
    """Describe the upstreams that read a path as one of ``found``."""
    own = policy.reached(path, normalise_host(host) or "", method)
    if not any(found is other for _, other in own):
        return "an upstream that compares hosts without normalising them"
    for readers, upstream in _few_readings(UPSTREAMS[policy.upstream]):
        reached = policy.seen_by(upstream).reached(path, host, method)
        if any(found is other for _, other in reached):
            return f"an upstream {' and '.join(readers)}"
    return "an upstream that combines several readings"


def _few_readings(upstream: Upstream) -> Iterator[tuple[list[str], Upstream]]:
    """Yield an upstream for each reading of this one, then for each two; first what it does."""
    none = Upstream()
    own = {
        name: value for name, value in upstream._asdict().items() if value != getattr(none, name)
    }
    for number in (1, 2):
        for names in combinations(own, number):
            values = {name: own[name] for name in names}
            yield [READERS[name] for name in names], none._replace(**values)
