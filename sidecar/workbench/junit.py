"""Renders test results as JUnit XML, which pipelines read."""

from collections.abc import Sequence
from itertools import groupby
from xml.etree.ElementTree import Element, SubElement, tostring

from sidecar.workbench.runner import Result


def render(results: Sequence[Result]) -> bytes:
    """Return one test suite per case file, with one test case per request and principal."""
    root = Element("testsuites", tests=str(len(results)), failures=str(_failures(results)))
    for path, group in groupby(results, key=lambda result: result.case.path):
        cells = list(group)
        suite = SubElement(
            root,
            "testsuite",
            name=str(path),
            tests=str(len(cells)),
            failures=str(_failures(cells)),
            errors="0",
        )
        for result in cells:
            name = f"{result.cell.request} by {result.cell.principal}"
            case = SubElement(
                suite,
                "testcase",
                classname=path.stem,
                name=name,
                file=str(path),
                line=str(result.cell.line),
            )
            if result.differences:
                text = "\n".join(
                    f"{d.what}: expected {d.wanted}, got {d.got}" for d in result.differences
                )
                failure = SubElement(case, "failure", message=text.partition("\n")[0])
                failure.text = text
    document: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _failures(results: Sequence[Result]) -> int:
    return sum(bool(result.differences) for result in results)
