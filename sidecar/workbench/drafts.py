"""A route table from what another program says of its routes: drafts, put together and written.

The table always passes ``check``, and never opens what the other program protects. A path that no
route has becomes a wider one if it is protected, and a comment if it is public. Two drafts for the
same requests become one that requires what both do.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from sidecar.config.policy_file import ROUTES, PolicySettings, compile_document
from sidecar.core.methods import is_method
from sidecar.core.routes.patterns import parse_pattern
from sidecar.documents.findings import BadValueError, Place, Problem, Severity, one_line
from sidecar.documents.values import MAX_TEXT
from sidecar.documents.yaml_source import read_yaml
from sidecar.workbench.draft_paths import covers, fitted

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # for any other; GET includes HEAD
PLACEHOLDER = ["  # There is nothing to route; a table has at least one route.", '    - path: "/"']


class Need(NamedTuple):
    """What a route requires of its caller."""

    public: bool = False
    permissions: tuple[str, ...] = ()
    any_permissions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Draft:
    """One route to be. ``path`` is the other program's; without ``methods`` it takes every one.

    ``place`` is where the other program's document has it. ``notes`` become comments. ``lost``
    says why its reader cannot import it.
    """

    path: str
    methods: tuple[str, ...]
    need: Need
    place: Place
    name: str = ""
    target: str = ""
    notes: tuple[str, ...] = ()
    lost: str = ""

    def __str__(self) -> str:
        return f"{', '.join(self.methods) or 'any method'} {self.path}"


class Table(NamedTuple):
    """The text of ``routes.yaml``, and what it does not say as the other program does."""

    text: str
    remarks: tuple[Problem, ...]


@dataclass(slots=True)
class _Cell:
    """What one method of one path requires. ``numbers`` are those of its drafts."""

    path: str
    need: Need
    draft: Draft
    numbers: list[int]
    notes: list[str]


# By what a path matches, then by method; an empty method is every other one.
_Cells = dict[object, dict[str, _Cell]]


def table(
    heading: Sequence[str], drafts: Sequence[Draft], remarks: Iterable[Problem] = ()
) -> Table:
    """Return a table of drafts; ``remarks`` are what else their reader has to say.

    Raises BadValueError if they are too many for a table.
    """
    noted = tuple(remarks)
    refused: dict[int, str] = {}
    plain: set[int] = set()
    while True:
        draw = _Drawing(drafts, plain, refused)
        groups = draw.groups()
        text = _text([*heading, *(each.message for each in noted)], groups, draw.lost)
        wrong = _wrong(text)
        if not wrong:
            return Table(text, (*noted, *draw.remarks))
        for index, (message, ambiguous) in wrong.items():
            for number in groups[index].numbers:
                if ambiguous and number not in plain:
                    plain.add(number)
                else:
                    refused[number] = message


class _Drawing:
    """Puts drafts together; ``remarks`` and ``lost`` describe what a draft loses."""

    def __init__(self, drafts: Sequence[Draft], plain: set[int], refused: dict[int, str]) -> None:
        self.cells: _Cells = {}
        self.remarks: list[Problem] = []
        self.lost: list[str] = []
        lost = [
            draft
            for number, draft in enumerate(drafts)
            if not self._take(number, draft, number in plain, refused.get(number, draft.lost))
        ]
        for by_method in self.cells.values():
            self._spread(by_method)
        self._protect([draft for draft in lost if not draft.need.public])

    def groups(self) -> list["_Group"]:
        """Return the routes: each has the methods of a path that require the same."""
        groups: dict[object, _Group] = {}
        for key, by_method in self.cells.items():
            for method, cell in by_method.items():
                same = (key, cell.need, cell.draft.target)
                group = groups.setdefault(same, _Group(cell, [], [], []))
                group.methods += [method] if method else []
                group.notes += [note for note in cell.notes if note not in group.notes]
                group.numbers += cell.numbers
        return list(groups.values())

    def _take(self, number: int, draft: Draft, plain: bool, lost: str) -> bool:
        """Add a draft; say whether there is a route for it."""
        fit = fitted(draft.path, plain=plain)
        methods = [each for each in draft.methods if is_method(each) and each == each.upper()]
        if not lost and fit is None:
            lost = "no route has such a path"
        elif not lost and draft.methods and not methods:
            lost = "no route has this method"
        elif not lost and fit and fit.wider and draft.need.public:
            lost = f"a public route would match more: {fit.wider}"
        if lost or fit is None:
            self.lost.append(self._remark(draft, f"{draft} is not imported: {lost}"))
            return False
        need, changed = _valid(draft.need)
        notes = [*draft.notes, *fit.notes, *changed]
        if fit.wider:
            notes.append(f"{fit.path} matches more than {draft.path}: {fit.wider}")
        if less := sorted(set(draft.methods) - set(methods)):
            notes.append(f"no route has the method {', '.join(less)}")
        notes = [self._remark(draft, each) for each in notes]
        by_method = self.cells.setdefault(parse_pattern(fit.path)[:2], {})
        for method in methods or [""]:
            cell = _Cell(fit.path, need, draft, [number], notes)
            if method in by_method:
                self._join(by_method[method], cell)
            else:
                by_method[method] = cell
        return True

    def _join(self, cell: _Cell, other: _Cell) -> None:
        """Let a cell require what both do."""
        both = _stricter(cell.need, other.need)
        notes = list(other.notes)
        if both != cell.need or both != other.need or cell.draft.target != other.draft.target:
            message = f"{other.draft} is one route with {cell.draft}, which requires what both do"
            notes.append(self._remark(other.draft, message))
        cell.need = both
        cell.notes = [*cell.notes, *notes]
        cell.numbers = [*cell.numbers, *other.numbers]

    def _spread(self, by_method: dict[str, _Cell]) -> None:
        """Write out `any other method`, and take GET and HEAD together, as a table does."""
        if "" in by_method and len(by_method) > 1:
            every = by_method.pop("")
            for method in METHODS:
                by_method.setdefault(method, replace(every))
            message = f"{every.draft} is imported with the methods {', '.join(METHODS)}"
            every.notes.append(self._remark(every.draft, message))
        if "GET" in by_method and "HEAD" in by_method:
            self._join(by_method["GET"], by_method.pop("HEAD"))

    def _protect(self, lost: Sequence[Draft]) -> None:
        """Require a token where a public route may take a protected request that has no route."""
        public = [
            cell
            for by_method in self.cells.values()
            for method, cell in by_method.items()
            if cell.need.public
        ]
        for draft in lost:
            for cell in public:
                if cell.need.public and covers(parse_pattern(cell.path), draft.path):
                    message = f"{cell.path} needs a token, because {draft.path} is not imported"
                    cell.notes = [*cell.notes, self._remark(cell.draft, message)]
                    cell.need = Need()

    def _remark(self, draft: Draft, message: str) -> str:
        message = one_line(message)
        self.remarks.append(Problem(draft.place, "import", message, severity=Severity.WARNING))
        return message


@dataclass(slots=True)
class _Group:
    """One route of the table."""

    cell: _Cell
    methods: list[str]
    notes: list[str]
    numbers: list[int]


def _stricter(one: Need, other: Need) -> Need:
    """Return what grants no more than either."""
    if one.public or other.public:
        return other if one.public else one
    permissions = dict.fromkeys((*one.permissions, *other.permissions))
    choices = [each for each in (one.any_permissions, other.any_permissions) if each]
    if len(choices) == 2 and set(choices[0]) != set(choices[1]):
        permissions |= dict.fromkeys((*choices[0], *choices[1]))
        choices = []
    return Need(False, tuple(permissions), choices[0] if choices else ())


def _valid(need: Need) -> tuple[Need, list[str]]:
    """Return requirements as a table holds them; a text that cannot be one is held by no token."""
    notes = []

    def valid(text: str) -> str:
        kept = (
            "".join(c if c.isprintable() else "?" for c in text).strip()[:MAX_TEXT].strip() or "?"
        )
        if kept != text:
            notes.append(f"the permission {text} is written as {kept}")
        return kept

    permissions = tuple(dict.fromkeys(map(valid, need.permissions)))
    choices = tuple(dict.fromkeys(map(valid, need.any_permissions)))
    return Need(need.public, permissions, choices), notes


def _text(heading: Iterable[str], groups: Sequence[_Group], lost: Iterable[str]) -> str:
    lines = [*(f"# {one_line(each)}" for each in heading), "api_gateway:", "  routes:"]
    names: set[str] = set()
    for group in groups:
        lines += [f"    # {note}" for note in group.notes]
        lines.append(f"    - path: {_quoted(group.cell.path)}")
        draft = group.cell.draft
        if draft.name and draft.name not in names:
            names.add(draft.name)
            lines.append(f"      name: {_quoted(draft.name)}")
        if group.methods:
            lines.append(f"      methods: [{', '.join(map(_word, group.methods))}]")
        if draft.target:
            lines.append(f"      target: {_quoted(draft.target)}")
        need = group.cell.need
        if need.public:
            lines.append("      auth_required: false")
        for key in ("permissions", "any_permissions"):
            if items := getattr(need, key):
                lines.append(f"      {key}: [{', '.join(map(_quoted, items))}]")
    lines += [] if groups else PLACEHOLDER
    lines += [f"  # {each}" for each in lost]
    return "\n".join(lines) + "\n"


def _wrong(text: str) -> dict[int, tuple[str, bool]]:
    """Return why `check` refuses routes, and whether it cannot tell one from another."""
    settings = PolicySettings(frozenset())
    document = read_yaml(text.encode())
    if not document.complete:
        raise BadValueError(f"has too much for one table: {document.faults[0].message}")
    _, problems = compile_document(document, settings, "")
    return {
        int(problem.place[len(ROUTES)]): (problem.message, problem.other is not None)
        for problem in problems
        if len(problem.place) > len(ROUTES)
    }


def _word(method: str) -> str:
    return method if method.isalpha() else _quoted(method)


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # which is YAML too
