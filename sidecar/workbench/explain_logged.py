"""A logged decision explained afresh, with a verdict only where the log holds what that takes."""

from sidecar.core.tokens.verify import CHECKS
from sidecar.workbench.caller_steps import Step
from sidecar.workbench.explain import Explainer, Explanation
from sidecar.workbench.logs import CallerField, Logged
from sidecar.workbench.rejudge import New, rejudge


def explain_logged(explainer: Explainer, logged: Logged) -> Explanation:
    """Explain a request that was logged, by the policy of today."""
    engine = explainer.engine
    headers = {"x-request-id": (logged.decision_id.encode("utf-8", "replace"),)}
    request = logged.request._replace(headers=headers)
    explanation = explainer.explain(request, logged.principal, logged.lacks)
    new = rejudge(logged, engine.snapshot, engine.now)
    verdict = new is not None and new.reason == explanation.judged.decision.reason
    steps = explanation.steps
    if logged.principal is not None:  # where the token stood is in no log
        steps = tuple(step for step in steps if step.name != "credential")
    elif not verdict:
        steps = tuple(map(_without_token, (s for s in steps if s.name not in CHECKS)))
    said = said_by_log(logged)
    notes = [said if verdict else f"{_why_not(logged, new)}; {said}"]
    digest = engine.snapshot.policy.digest
    if logged.policy_digest not in ("", digest):
        notes.append(
            f"the policy has changed since: {logged.policy_digest} in the log, {digest} now"
        )
    return explanation._replace(steps=steps, notes=tuple(notes), verdict=verdict)


def said_by_log(logged: Logged) -> str:
    """Return what was decided then, and why."""
    said = f"logged decision: {'allow' if logged.allowed else 'deny'}, {logged.reason}"
    if logged.needs:
        said += f", needs {', '.join(logged.needs)}"
    return said + (f" ({logged.detail})" if logged.detail else "")


def _why_not(logged: Logged, new: New | None) -> str:
    """Say why there is no verdict."""
    if new is not None:
        return "logs contain no token, so nothing shows whether the token is valid today"
    if logged.principal is None:
        return "this log is not enough to judge: the caller was not authenticated"
    missing = ", ".join(part for part in CallerField if part in logged.lacks)
    hint = " (log.replayable)" if CallerField.HELD in logged.lacks else ""
    return f"this log is not enough to judge: it does not contain the caller's {missing}{hint}"


def _without_token(step: Step) -> Step:
    if step.name != "credential":
        return step
    return Step("credential", None, "logs contain no token")
