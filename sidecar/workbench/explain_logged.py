"""Explains a logged request, with a verdict only if the log contains enough for one."""

from sidecar.core.tokens.verify import CHECKS
from sidecar.workbench.explain import Explainer, Explanation
from sidecar.workbench.logs import CallerField, Logged
from sidecar.workbench.rejudge import New, rejudge
from sidecar.workbench.steps import Step


def explain_logged(explainer: Explainer, logged: Logged) -> Explanation:
    """Explain a logged request with the current policy."""
    engine = explainer.engine
    headers = {"x-request-id": (logged.decision_id.encode("utf-8", "replace"),)}
    request = logged.request._replace(headers=headers)
    explanation = explainer.explain(request, logged.principal, logged.lacks | {CallerField.CLAIMS})
    new = rejudge(logged, engine.snapshot, engine.now)
    verdict = new is not None and new.reason == explanation.judged.decision.reason
    steps = explanation.steps
    if logged.principal is not None:  # logs do not contain the place of the token
        steps = tuple(step for step in steps if step.name != "credential")
    elif not verdict:
        steps = tuple(map(_without_token, (s for s in steps if s.name not in CHECKS)))
    decided = logged_decision(logged)
    notes = [decided if verdict else f"{_why_not(logged, new)}; {decided}"]
    digest = engine.snapshot.policy.digest
    if logged.policy_digest not in ("", digest):
        notes.append(
            f"the policy has changed since: {logged.policy_digest} in the log, {digest} now"
        )
    return explanation._replace(steps=steps, notes=tuple(notes), verdict=verdict)


def logged_decision(logged: Logged) -> str:
    """Return the decision in the log, and its reason."""
    text = f"logged decision: {'allow' if logged.allowed else 'deny'}, {logged.reason}"
    if logged.needs:
        text += f", needs {', '.join(logged.needs)}"
    return text + (f" ({logged.detail})" if logged.detail else "")


def _why_not(logged: Logged, new: New | None) -> str:
    """Return why there is no verdict."""
    if new is not None:
        return "logs contain no token, so nothing shows whether the token is valid today"
    if logged.principal is None:
        return "this log is not enough to judge: the caller was not authenticated"
    lacks = logged.lacks or {CallerField.CLAIMS}
    missing = ", ".join(part for part in CallerField if part in lacks)
    hint = " (log.replayable)" if CallerField.HELD in logged.lacks else ""
    return f"this log is not enough to judge: it does not contain the caller's {missing}{hint}"


def _without_token(step: Step) -> Step:
    if step.name != "credential":
        return step
    return Step("credential", None, "logs contain no token")
