"""Renders advice, for people and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from sidecar.documents.findings import one_line
from sidecar.workbench.advise.findings import Advice, Kind
from sidecar.workbench.advise.proposal import Proposal
from sidecar.workbench.advise.usage import Usage
from sidecar.workbench.formats import counted

_HEADINGS: Final = {
    Kind.UNUSED_ROUTE: "unused routes",
    Kind.NEVER_NEEDED: "roles and permissions that callers held and no request needed",
    Kind.NARROWER_ROUTE: "wildcards that matched only a few paths",
    Kind.COULD_NEED_TOKEN: "public routes whose callers all send a credential",
    Kind.DENIALS: "routes that deny many requests",
    Kind.ALWAYS_TOGETHER: "permissions that callers always hold together",
}
_PROVEN: Final = "replay proves that it denies no request that the log allowed"


@dataclass(slots=True)
class AdviceReport:
    """What a log shows. ``found`` is all advice; ``advice`` is what a log of its length supports.

    ``min_days`` is how long a log must be for advice that takes something away, ``with_table``
    whether a policy was given.
    """

    usage: Usage
    found: tuple[Advice, ...]
    min_days: float
    with_table: bool
    proposal: Proposal | None = None
    advice: tuple[Advice, ...] = field(init=False)

    def __post_init__(self) -> None:
        covered = self.usage.covered()
        enough = not self.min_days or (covered is not None and covered.suffices(self.min_days))
        strong = enough and self.usage.allowed > 0
        self.advice = tuple(each for each in self.found if strong or not each.kind.is_strong)


def as_text(report: AdviceReport) -> str:
    """Return the report for a terminal."""
    lines = [_covers(report)]
    for kind, heading in _HEADINGS.items():
        advice = [each for each in report.advice if each.kind is kind]
        lines += [f"{heading}:"] if advice else []
        for each in advice:
            lines.append(one_line(f"  {each.subject}: {each.text}"))
            if kind in (Kind.NARROWER_ROUTE, Kind.DENIALS):
                lines += [one_line(f"    {item}") for item in each.items]
    if not report.advice:
        lines.append("no advice")
    lines += [one_line(f"note: {note}") for note in _notes(report)]
    return "\n".join([*lines, *_proposed(report.proposal)])


def as_json(report: AdviceReport) -> str:
    """Return the report as one JSON object."""
    usage, proposal = report.usage, report.proposal
    covered = usage.covered()
    body = {
        "requests": usage.requests,
        "allowed": usage.allowed,
        "unusable": dict(usage.unusable),
        "covers": covered
        and {
            "from": _date(covered.first),
            "to": _date(covered.last),
            "days": round(covered.length, 2),
            "days_with_decisions": covered.days,
        },
        "min_days": report.min_days,
        "advice": [each._asdict() for each in report.advice],
        "withheld": len(report.found) - len(report.advice),
        "notes": list(_notes(report)),
        "proposal": proposal
        and {
            "removed": proposal.removed,
            "narrowed": {name: list(paths) for name, paths in proposal.narrowed.items()},
            "kept": proposal.kept,
            "denied": proposal.denied,
            "unproven": proposal.unproven,
        },
    }
    return json.dumps(body)


def _covers(report: AdviceReport) -> str:
    usage, covered = report.usage, report.usage.covered()
    requests = counted(usage.requests, "request")
    if covered is None:
        return f"{requests}; the log has no times"
    period = f"from {_date(covered.first)} to {_date(covered.last)}"
    days = counted(covered.days, "day")
    return f"{requests} {period}: {covered.length:.1f} days, with decisions on {days}"


def _date(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M")


def _notes(report: AdviceReport) -> Iterator[str]:
    usage = report.usage
    for why, count in usage.unusable.items():
        yield f"{counted(count, 'line')} skipped: {why}"
    if not report.with_table:
        yield (
            "without --policy there is no advice on unused routes, wildcards, public routes, and "
            "roles and permissions that no request needed"
        )
    if usage.requests and not usage.allowed:
        yield (
            "the log contains only denials (log.decisions: denied), so it does not show what is "
            "used; log.decisions: all logs the rest"
        )
    elif withheld := len(report.found) - len(report.advice):
        yield (
            f"advice on {counted(withheld, 'matter')} is withheld: the log must cover "
            f"{report.min_days:g} days (--min-days), with decisions on half of them"
        )
    if usage.too_many_held:
        yield "the callers have too many different lists of permissions to say what is not needed"
    elif usage.allowed and not usage.held:
        yield (
            "the log does not contain roles and permissions (log.replayable: true adds them), so "
            "there is no advice on those"
        )
    if any(each.kind is Kind.NEVER_NEEDED for each in report.advice):
        yield "a Basic Server may read roles and permissions from its request headers"


def _proposed(proposal: Proposal | None) -> Iterator[str]:
    if proposal is None:
        return
    yield from (one_line(f"note: {reason}") for reason in proposal.kept)
    if not proposal.changes:
        yield "proposal: the table does not change"
    elif proposal.denied:
        denied = counted(proposal.denied, "request")
        yield f"proposal: not written, since it would deny {denied} that the log allowed"
    else:
        changes = (
            f"{counted(len(proposal.removed), 'route')} removed, {len(proposal.narrowed)} narrowed"
        )
        yield f"proposal: {changes}; {_PROVEN}"
        if proposal.unproven:
            cut = counted(proposal.unproven, "request")
            yield f"note: {cut} cannot be judged: the log contains only the beginning of their path"
