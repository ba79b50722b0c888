"""A narrower route table: the operator's own file, without what no request used."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final
from urllib.parse import quote

import yaml

from sidecar.core.paths.canonical import canonicalise
from sidecar.core.routes.patterns import Pattern, meeting, parse_pattern
from sidecar.core.routes.route import Route, closeness, hosts_of, shared_hosts
from sidecar.core.routes.table import Policy
from sidecar.documents.findings import one_line
from sidecar.documents.yaml_source import LOADER
from sidecar.workbench.advise.findings import Advice, Kind

_ANYTHING: Final = "a-segment-that-no-table-names"
PLAIN: Final = re.compile(r"[A-Za-z0-9/._~-]+")  # a scalar that means the same without quotes


@dataclass(slots=True)
class Proposal:
    """The text of a narrower table; ``kept`` says why some advice is not followed in it.

    ``denied`` are requests that the log allowed and this table denies, ``unproven`` those that
    cannot be judged, since the log has their path cut.
    """

    text: str
    removed: list[str] = field(default_factory=list)
    narrowed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    denied: int = 0
    unproven: int = 0

    @property
    def changes(self) -> bool:
        """Whether the table differs from the operator's."""
        return bool(self.removed or self.narrowed)


class NotEditableError(Exception):
    """The table is written in a way that this cannot edit."""


def propose(text: str, policy: Policy, advice: Sequence[Advice]) -> Proposal:
    """Return a table without unused routes, and with narrower paths where a ``*`` took a few.

    A route stays as it is where another one would take the requests that it no longer takes, since
    that could allow what is denied now. Everything else in the file stays as the operator wrote it.

    Raises NotEditableError.
    """
    items = _items(text)
    proposal = Proposal(text)
    by_name = {route.name: route for route in policy.routes}
    edits: list[tuple[int, int, list[str]]] = []
    lines = text.splitlines()
    for each in advice:
        if each.kind not in (Kind.UNUSED_ROUTE, Kind.NARROWER_ROUTE):
            continue
        route = by_name[each.subject]
        rival = next(_rivals(route, each.items, policy), None)
        if rival is not None:
            proposal.kept.append(f"{route.name} stays: {rival.path} would take its requests")
            continue
        other = next(_read_otherwise(route, each.items, policy), None)
        if other is not None:
            proposal.kept.append(f"{route.name} stays: some upstreams match {other.path} instead")
            continue
        first, last, item = items[route.index]
        if each.kind is Kind.UNUSED_ROUTE:
            proposal.removed.append(route.name)
            edits.append((first, last, []))
        else:
            proposal.narrowed[route.name] = each.items
            edits.append((first, last, _narrower(lines[first : last + 1], item, first, each.items)))
    if len(proposal.removed) == len(policy.routes):
        raise NotEditableError("no request used any route; a table has at least one")
    for first, last, new in sorted(edits, reverse=True):
        lines[first : last + 1] = new
    proposal.text = "\n".join([*lines, ""])
    return proposal


def _rivals(route: Route, paths: Sequence[str], policy: Policy) -> Iterator[Route]:
    """Yield other routes that match what a route matches, or what its narrower paths would.

    One with the same path takes nothing more where the route is removed; where the route is
    narrowed, the narrower path would take requests from it. One that is more specific takes its
    requests already, and goes on doing so.
    """
    fold = policy.ignore_case
    own = _pattern(route.path, fold=fold)
    for other in policy.routes:
        if other is route or shared_hosts(route, other) is None:
            continue
        pattern = _pattern(other.path, fold=fold)
        if pattern[:2] == own[:2]:
            if paths:
                yield other
            continue
        if meeting(own, pattern) is None:
            continue
        met = [each for each in map(parse_pattern, paths) if meeting(each, pattern) is not None]
        if met or not _within(pattern, own):
            yield other


def _read_otherwise(route: Route, paths: Sequence[str], policy: Policy) -> Iterator[Route]:
    """Yield other routes that some upstream matches a narrower path to.

    A wildcard's request must meet their requirements too. A path that the table names letter by
    letter need not, so the narrower table would allow more.
    """
    named = {host.replace("*", "any") for each in policy.routes for host in hosts_of(each)}
    hosts = [host for host in {"", *named} if closeness(route, host) is not None]
    for path in paths:
        segments = parse_pattern(path).example(_ANYTHING)
        target = "/" + "/".join(quote(segment, safe="") for segment in segments)
        read = canonicalise(target.encode(), raw_headers=True, allow=policy.accepted)
        for host in hosts:
            for _, found in policy.reached(read, host, ""):
                other = found if isinstance(found, Route) else found.route
                if other.index != route.index:
                    yield other


def _within(narrow: Pattern, wide: Pattern) -> bool:
    """Say whether a pattern takes only paths that the other one takes too."""
    if narrow.tail and not wide.tail:
        return False
    size = len(wide.segments)
    if len(narrow.segments) < size or (not wide.tail and len(narrow.segments) > size):
        return False
    if wide.tail and len(narrow.segments) == size and not narrow.tail:
        return False
    pairs = zip(narrow.segments, wide.segments, strict=False)
    return all(outer is None or outer == inner for inner, outer in pairs)


def _pattern(path: str, *, fold: bool) -> Pattern:
    pattern = parse_pattern(path)
    return pattern.folded() if fold else pattern


def _items(text: str) -> list[tuple[int, int, Any]]:
    """Return the first and last line of each route, counted from 0, and its node."""
    root = yaml.compose(text, Loader=LOADER)
    routes = _value(_value(root, "api_gateway"), "routes")
    if routes is None or routes.flow_style:
        raise NotEditableError("`routes` is not a list with one route after each `-`")
    found = [(item.start_mark.line, _last_line(item), item) for item in routes.value]
    for before, after in pairwise(found):
        if before[1] >= after[0]:
            raise NotEditableError(f"line {after[0] + 1} has two routes")
    return found


def _value(node: Any, key: str) -> Any:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _last_line(node: Any) -> int:
    """Return the last line of a node; the parser ends a block where the next token begins."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        first: int = node.start_mark.line
        last: int = node.end_mark.line
        return last - 1 if node.end_mark.column == 0 and last > first else last
    child = node.value[-1]
    return _last_line(child[1] if isinstance(child, tuple) else child)


def _narrower(lines: list[str], item: Any, first: int, paths: Sequence[str]) -> list[str]:
    """Return a route's lines once for each narrower path, without its name after the first."""
    path = _value(item, "path")
    name = next((pair for pair in item.value if pair[0].value == "name"), None)
    written: list[str] = []
    for number, narrow in enumerate(paths):
        edits = [(path, one_line(narrow))]
        if name is not None and number:
            edits.append((name[1], f"{name[1].value}-{number + 1}"))
        copy = list(lines)
        for node, value in sorted(edits, key=lambda edit: edit[0].start_mark.index, reverse=True):
            start, end = node.start_mark, node.end_mark
            if start.line != end.line:
                raise NotEditableError(f"line {start.line + 1}: a value of several lines")
            line = copy[start.line - first]
            copy[start.line - first] = line[: start.column] + _scalar(value) + line[end.column :]
        written += copy
    return written


def _scalar(text: str) -> str:
    """Return a scalar in YAML; what JSON quotes is YAML too."""
    return text if PLAIN.fullmatch(text) else "'" + text.replace("'", "''") + "'"
