"""What ``policy.encoded: {slash: segment}`` needs of Envoy: that ``%2F`` passes unchanged."""

from collections.abc import Iterable, Iterator

from sidecar.documents.findings import Problem
from sidecar.workbench.doctor.context import Wanted, error
from sidecar.workbench.doctor.document import Part

ESCAPED_SLASHES = "escaped-slashes"
"""The code of the profile's finding about the setting where no encoded slash is kept."""

_ACTION = "path_with_escaped_slashes_action"


def kept_slashes(
    problems: Iterable[Problem], managers: Iterable[Part], wanted: Wanted
) -> Iterator[Problem]:
    """Yield the problems, with another verdict on encoded slashes where the policy keeps them."""
    if not wanted.keeps_slashes:
        yield from problems
        return
    for problem in problems:
        if problem.code != ESCAPED_SLASHES:
            yield problem
    for manager in managers:
        if manager.get(_ACTION) != "KEEP_UNCHANGED":
            place = (*manager.place, _ACTION) if manager.has(_ACTION) else manager.place
            yield error(
                place,
                ESCAPED_SLASHES,
                "`policy.encoded: {slash: segment}` needs paths with %2f to arrive unchanged",
                f"{_ACTION}: KEEP_UNCHANGED, or remove `encoded.slash`",
            )
