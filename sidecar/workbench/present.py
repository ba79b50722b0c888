"""Renders an explanation as text and as JSON."""

import json

from rich.console import Console
from rich.text import Text

from sidecar.core.decision import Deny, outcome
from sidecar.documents.findings import one_line
from sidecar.workbench.explain import Explanation

_MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("·", "dim")}
_NAME_WIDTH = 16


def show(explanation: Explanation, asked: str, console: Console) -> None:
    """Print an explanation, in colour if the console supports it."""
    console.print(Text(asked, style="bold"), soft_wrap=True)
    for note in explanation.notes:
        console.print(Text(f"note: {one_line(note)}"), soft_wrap=True)
    for step in explanation.steps:
        mark, style = _MARKS[step.held]
        line = Text.assemble(
            (f"  {mark} ", style), (f"{step.name:<{_NAME_WIDTH}}", "bold"), step.text
        )
        console.print(line, soft_wrap=True)
    if not explanation.verdict:
        console.print(Text("\nno verdict", style="bold"))
        return
    decision, answer = explanation.judged.decision, explanation.judged.answer
    word = outcome(decision)
    style = "bold red" if word == "deny" else "bold green"
    status = "" if answer.allowed else f", HTTP {answer.status}"
    console.print()
    console.print(
        Text.assemble((word.upper(), style), f" {decision.reason}{status}"), soft_wrap=True
    )
    if isinstance(decision, Deny) and decision.detail:
        console.print(Text(f"  detail: {decision.detail}"), soft_wrap=True)
    verb = "sets on the request" if answer.allowed else "answers with"
    if answer.headers:
        console.print(Text(f"Envoy {verb}:"), soft_wrap=True)
    for name, value in answer.headers:
        console.print(Text(f"  {name}: {value}"), soft_wrap=True)
    if answer.body:
        body = answer.body.removesuffix("\n")  # the terminal has its own
        console.print(Text(f"\n  {body}"), soft_wrap=True)
    if answer.removed:
        console.print(Text("Envoy removes: " + ", ".join(answer.removed)), soft_wrap=True)
    if answer.removed_queries:
        queries = ", ".join(answer.removed_queries)
        console.print(Text(f"Envoy removes from the query: {queries}"), soft_wrap=True)


def as_json(explanation: Explanation, place: str | None) -> str:
    """Return an explanation as JSON; ``place`` is file and line of the route.

    Without a verdict, the members that depend on it are null.
    """
    decision, answer = explanation.judged.decision, explanation.judged.answer
    body: dict[str, object] = {
        "decision": outcome(decision),
        "reason": decision.reason,
        "status": answer.status,
        "route": None if decision.route is None else decision.route.name,
        "route_at": place,
        "detail": decision.detail if isinstance(decision, Deny) else "",
        "steps": [step._asdict() for step in explanation.steps],
        "answer": {
            "headers": dict(answer.headers),
            "removed": answer.removed,
            "removed_queries": answer.removed_queries,
            "body": answer.body,
            "metadata": dict(answer.metadata),
        },
        "notes": explanation.notes,
    }
    if not explanation.verdict:
        body |= dict.fromkeys(("decision", "reason", "status", "detail", "answer"))
    return json.dumps(body, ensure_ascii=False)
