"""Other programs' documents, YAML or JSON, read by their rules rather than by those of our own.

Any text is a value: line breaks, tabs, control characters, surrogate pairs, long keys. A duplicate
key is a note, and its last value counts, as in Envoy, PyYAML and every JSON reader. In YAML, tags
are ignored, except ``!ignore`` before a key (Envoy: the entry is left out), merge keys ``<<`` are
applied (YAML 1.1 "merge"), an alias is the same object as the value of its anchor, and only the
first of several documents is read.
"""

import re
from collections.abc import Callable

from sidecar.documents import foreign_json, foreign_yaml
from sidecar.documents.document import Document, Fault, Mark

MAX_BYTES = 64 * 1024 * 1024  # the config_dump of a large mesh, as JSON
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # what PowerShell's `>` writes

# Half a surrogate pair as an escape, which no text can hold; and what must not be mistaken for it.
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    r"\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
)


def read_foreign(
    data: bytes, scalar: Callable[[str], object] = foreign_yaml.plain_value
) -> Document:
    """Read the first document in ``data``, at most MAX_BYTES.

    ``faults`` says why it cannot be used, ``notes`` what is odd in it. ``scalar`` gives the value
    of YAML text without quotes.
    """
    document = foreign_json.JsonDocument()
    text = _decode(data, document)
    if text is None:
        return document
    if _HALF.search(text):
        text = _ESCAPE.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    if text.lstrip()[:1] in ("{", "["):
        document.read(text)
        if document.complete or document.faults:
            return document
    # Also what looks like JSON, and has comments or a comma too many.
    return foreign_yaml.read(text, scalar)


def _decode(data: bytes, document: Document) -> str | None:
    if len(data) > MAX_BYTES:
        limit = f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB"
        document.faults.append(Fault(Mark(1, 1), "yaml-size", limit))
        return None
    try:
        return data.decode("utf-16" if data.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        mark = Mark(before.count(b"\n") + 1, column)
        help_ = "save the file as UTF-8"
        document.faults.append(Fault(mark, "yaml-encoding", "the file is not valid UTF-8", help_))
        return None
