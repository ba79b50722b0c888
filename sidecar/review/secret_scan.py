"""Finds secrets in configuration files, in comments too; such files need none."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sidecar.config.files import read_file
from sidecar.documents.document import Mark
from sidecar.documents.findings import BadValueError, Finding, Severity
from sidecar.documents.yaml_source import MAX_BYTES

_SECRETS = (
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY"), "a private key"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"), "a token"),
    (re.compile(r"\bhttps?://[^/\s:@\"']+:[^/\s@\"']+@", re.IGNORECASE), "a URL with a password"),
    (
        re.compile(
            r"(?:password|passwd|secret|api[_-]?key)[\"']?\s*[:=]\s*[\"']?[^\s\"',}\]{\[$]{8,}",
            re.IGNORECASE,
        ),
        "a password or a secret",
    ),
)


def findings(*paths: Path) -> Iterator[Finding]:
    """Yield a warning for each secret in these files; unreadable files are reported elsewhere."""
    for path in paths:
        text = ""
        with suppress(BadValueError):
            text = read_file(path, MAX_BYTES).decode("utf-8", "replace")
        for mark, what in secrets(text):
            message = f"this looks like {what}; secrets do not belong in a configuration file"
            hint = "move it to a file or an environment variable, and replace it: it is exposed"
            yield Finding("secret-in-file", Severity.WARNING, str(path), *mark, message, hint)


def secrets(text: str) -> Iterator[tuple[Mark, str]]:
    """Yield the position of each probable secret, and what it looks like."""
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, what in _SECRETS:
            if found := pattern.search(line):
                yield Mark(number, found.start() + 1), what
                break
