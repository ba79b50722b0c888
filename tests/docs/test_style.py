"""The style check of ``make check`` finds what it is for."""

import pytest

from tests.style import found


@pytest.mark.parametrize(
    ("text", "line", "phrase"),
    [
        ("A typo is told at once.", 1, "is told"),
        ("x = 1\n# whoever is in between\n", 2, "whoever"),
        ("It is said\nfor gRPC\nalone.", 3, "alone"),
        ("# it fails because nobody asked, and it cannot\n# stand here", 1, "cannot stand"),
        ("This is no token", 1, "is no token"),
    ],
)
def test_a_phrase_is_found_at_its_line(text: str, line: int, phrase: str) -> None:
    assert (line, phrase) in [(each.line, each.text) for each in found(text, is_page=False)]


@pytest.mark.parametrize(
    "text",
    ["There is no token.", "It is no longer sent.", "Nor one, let alone two.", "stand-alone"],
)
def test_plain_english_is_not_found(text: str) -> None:
    assert list(found(text, is_page=False)) == []


def test_code_on_a_page_is_left_out_and_lines_stay() -> None:
    page = "`nobody`\n```yaml\nnobody\n```\nnobody\n"
    assert [each.line for each in found(page, is_page=True)] == [5]
