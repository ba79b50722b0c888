"""The table of readings in docs/policy-guide.md says what ``core.upstreams`` has."""

import re
from pathlib import Path

from sidecar.core.paths.upstreams import GENERIC, LISTED_SUFFIXES, UPSTREAMS, Upstream

PAGE = (Path(__file__).parents[2] / "docs" / "policy-guide.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| .* \| .* \| (.*) \|$", re.MULTILINE)
(_, _TABLE) = PAGE.split("| reading | example: also judged as | `generic` and |\n|---|---|---|\n")
ROWS = _ROW.findall(_TABLE.partition("\n\n")[0])


def test_each_reading_names_the_upstreams_that_have_it() -> None:
    """One row per field, in their order, apart from the words around them."""
    assert len(ROWS) == len(Upstream._fields)
    none = Upstream()
    for field, row in zip(Upstream._fields, ROWS, strict=True):
        having = {
            name
            for name, upstream in UPSTREAMS.items()
            if getattr(upstream, field) != getattr(none, field)
        }
        assert set(re.findall(r"[a-z]+", row)) & (UPSTREAMS.keys() - {GENERIC}) == having - {
            GENERIC
        }, field
        assert ("not `generic`" in row) is (GENERIC not in having), field


def test_the_formats_that_generic_knows_are_listed() -> None:
    """In the row of formats, after the last colon."""
    (row,) = (row for row in ROWS if "any format" in row)
    assert set(re.findall(r"[a-z]+", row.rpartition(":")[2])) == LISTED_SUFFIXES
