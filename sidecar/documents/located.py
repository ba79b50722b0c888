"""Turns problems at places in a document into findings at positions in a file."""

from collections.abc import Iterable
from pathlib import Path

from sidecar.documents.document import Document, Mark
from sidecar.documents.findings import Finding, Problem, Severity, one_line


def located(path: Path, document: Document, problems: Iterable[Problem]) -> list[Finding]:
    """Return the reader's faults and the problems found afterwards as findings of one file.

    Problems at a place that the reader refused are left out.
    """
    faults = {fault.mark for fault in document.faults}
    findings = [
        _finding(fault.code, Severity.ERROR, path, fault.mark, fault.message, fault.help)
        for fault in document.faults
    ]
    findings += [
        _finding(note.code, Severity.INFO, path, note.mark, note.message, note.help)
        for note in document.notes
    ]
    for problem in problems:
        mark = document.mark(problem.place)
        if mark in faults or problem.place in document.refused:
            continue
        hint = problem.help
        if problem.other is not None:
            where = f"see line {document.mark(problem.other).line}"
            hint = f"{hint}; {where}" if hint else where
        findings.append(_finding(problem.code, problem.severity, path, mark, problem.message, hint))
    return findings


def _finding(
    code: str, severity: Severity, path: Path, mark: Mark, message: str, hint: str
) -> Finding:
    return Finding(code, severity, str(path), *mark, one_line(message), one_line(hint))


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings in the order of files and lines, without duplicates."""
    unique = list(dict.fromkeys(findings))
    order = {file: number for number, file in enumerate(dict.fromkeys(f.file for f in unique))}
    return sorted(unique, key=lambda f: (order[f.file], f.line, f.column))
