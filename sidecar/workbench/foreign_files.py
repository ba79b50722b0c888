"""Reads files that other programs wrote, from disk or from standard input."""

import sys
from collections.abc import Callable
from pathlib import Path

from sidecar.config.files import read_file
from sidecar.documents.document import Document
from sidecar.documents.findings import BadValueError, ConfigError, Finding, Severity
from sidecar.documents.foreign import MAX_BYTES, read_foreign
from sidecar.documents.foreign_yaml import plain_value
from sidecar.documents.located import in_order, located

STDIN = Path("-")


def load_foreign(path: Path, scalar: Callable[[str], object] = plain_value) -> Document:
    """Read a YAML or JSON document; ``-`` is standard input.

    Raises ConfigError if it cannot be read.
    """
    try:
        data = sys.stdin.buffer.read(MAX_BYTES + 1) if path == STDIN else read_file(path, MAX_BYTES)
    except BadValueError as wrong:
        finding = Finding("file", Severity.ERROR, str(path), 0, 0, f"the file {wrong}")
        raise ConfigError([finding]) from None
    document = read_foreign(data, scalar)
    if not document.complete:
        raise ConfigError(in_order(located(path, document, ())))
    return document
