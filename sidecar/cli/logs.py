"""Reads the logs that a command names, with progress on a terminal; and their arguments."""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

PROGRESS_LINES = 50_000

STANDARD_INPUT = "-"

Take = Callable[[Iterable[bytes]], Iterator[int]]
"""Reads lines, and after each yields the number of lines so far."""


def log_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the logs, what their fields are called, and the configuration behind them."""
    parser.add_argument(
        "logs", nargs="+", metavar="LOG", help="decision logs or Envoy's; - is standard input"
    )
    fields_argument(parser)
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="sidecar.yaml with issuers and policy settings"
    )


def fields_argument(parser: argparse.ArgumentParser) -> None:
    """Add what the fields of a log are called."""
    parser.add_argument(
        "--fields",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="the names of our fields in the log, such as path=request.uri,status=code",
    )


class UnreadableLogError(Exception):
    """A log that cannot be read."""


def read_logs(names: Sequence[str], take: Take) -> None:
    """Read each log; ``-`` is standard input. Raises UnreadableLogError."""
    for name in names:
        try:
            if name == STANDARD_INPUT:
                _read(take, sys.stdin.buffer, "standard input")
            else:
                with Path(name).open("rb") as log:
                    _read(take, log, name)
        except OSError as error:
            raise UnreadableLogError(f"{name} cannot be read: {error.strerror}") from None


def _read(take: Take, log: IO[bytes], name: str) -> None:
    from sidecar.workbench.log_lines import lines_of  # --help needs none of it

    watched = sys.stderr.isatty()
    for done in take(lines_of(log)):
        if watched and done % PROGRESS_LINES == 0:
            print(f"\r{name}: {done:,} lines", end="", file=sys.stderr, flush=True)
    if watched:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)
