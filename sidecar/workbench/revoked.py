"""The entries of a feed of revocations that offline tools know: from a file, or from a case."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.config.files import read_file
from sidecar.core.tokens.revocations import (
    Entries,
    EntryError,
    FeedTooLargeError,
    Marks,
    Revocations,
)
from sidecar.documents.findings import BadValueError
from sidecar.zervi.revocation.interface import FeedSettings, FeedSource
from sidecar.zervi.revocation.kept import MAX_KEPT_BYTES, KeptFile
from sidecar.zervi.revocation.pages import MAX_PAGE_BYTES, Page, PageError
from sidecar.zervi.snapshot_file import SnapshotFileError

MAX_SHOWN: Final = 200  # characters of an entry

_FOREVER: Final = float("inf")
_SNAPSHOT: Final = b'{"feed_sha256"'  # how the sidecar's own file begins


class FeedFileError(Exception):
    """The file has no usable feed; the message says why."""


class WrongEntryError(FeedFileError):
    """An entry is not as the contract says; ``index`` is its place from 0."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(f"entry {index + 1}: {message}")
        self.index = index
        self.problem = message


class KnownFeed(NamedTuple):
    """The entries; ``shown`` has the text of each by its mark, which a snapshot file lacks.

    ``given`` says that somebody gave entries: otherwise there are none, and a token's revocation
    is not known.
    """

    revocations: Revocations
    shown: Mapping[int, str]
    given: bool = True

    def entry_against(self, marks: Marks) -> str:
        """Return the text of the entry that revokes a token, empty where it is not known."""
        found = self.revocations.entry_against(marks)
        return "" if found is None else self.shown.get(found[0], "")


def not_given(settings: FeedSettings) -> KnownFeed:
    """Return a feed of which no entry is known; it still limits how long tokens live."""
    return KnownFeed(_revocations(Entries(), settings), {}, given=False)


def feed_of(entries: Iterable[object], settings: FeedSettings, now: float) -> KnownFeed:
    """Return a feed with these entries, as its JSON has them. Raises FeedFileError."""
    table, shown = Entries(), dict[int, str]()
    for index, entry in enumerate(entries):
        try:
            if table.add(entry, now):
                text = json.dumps(entry, ensure_ascii=False)[:MAX_SHOWN]
                shown[table.mark_of(entry)] = f"entry {index + 1}, {text}"
        except EntryError as error:
            raise WrongEntryError(index, str(error)) from None
        except FeedTooLargeError as error:
            raise FeedFileError(str(error)) from None
    return KnownFeed(_revocations(table, settings), shown)


def read_feed(path: Path, settings: FeedSettings, now: float) -> KnownFeed:
    """Read a page of the feed, or the sidecar's snapshot file. Raises FeedFileError."""
    try:
        content = read_file(path, max(MAX_PAGE_BYTES, MAX_KEPT_BYTES))
        if not content.startswith(_SNAPSHOT):
            return feed_of(Page(content), settings, now)
        kept = asyncio.run(KeptFile(path, settings.source, 0.0).decoded(content))
    except BadValueError as error:
        raise FeedFileError(f"{path} {error}") from None
    except (PageError, SnapshotFileError) as error:
        raise FeedFileError(f"{path} is neither a feed nor a snapshot file: {error}") from None
    except FeedFileError as error:
        raise FeedFileError(f"{path}: {error}") from None
    return KnownFeed(_revocations(kept.entries, settings), {})


def usual(issuers: Iterable[str]) -> FeedSettings:
    """Return the settings of a feed for these issuers where none is configured."""
    return FeedSettings(FeedSource(""), frozenset(issuers))


def _revocations(entries: Entries, settings: FeedSettings) -> Revocations:
    return Revocations(entries, settings.issuers, settings.retain, _FOREVER)
