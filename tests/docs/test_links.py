"""Links between the pages lead somewhere."""

import re
from pathlib import PurePosixPath
from posixpath import normpath

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.docs.pages import PAGES, ROOT, read


def tokens(page: str) -> list[Token]:
    return [
        each
        for block in MarkdownIt().enable("table").parse(read(page))
        for each in (block, *(block.children or ()))
    ]


def anchors(page: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_within_the_repository_leads_somewhere(page: str) -> None:
    for token in tokens(page):
        target = token.attrs.get("href") or token.attrs.get("src")
        if target is None or re.match(r"\w+:", str(target)):
            continue
        path, _, anchor = str(target).partition("#")
        linked = normpath(PurePosixPath(page).parent / path) if path else page
        assert (ROOT / linked).exists(), target
        assert not anchor or anchor in anchors(linked), target
