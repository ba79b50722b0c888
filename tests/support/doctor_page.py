"""docs/doctor.md's lists, made from the data that `doctor` works by."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from sidecar.documents.findings import Severity
from sidecar.workbench.doctor.logs import words
from sidecar.workbench.doctor.profile import Message, load_profile

PAGE = Path(__file__).parents[2] / "docs" / "doctor.md"
MARK = "<!-- from here on made by `python -m tests.support.doctor_page` -->\n"


def page() -> str:
    """Return the whole page: what people wrote, and the lists of today's data."""
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    return head + MARK + "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "\n## Every field that is an error or a warning\n"
    yield "| part | values are compared | error if it is there | warning if it is there |"
    yield "|---|---|---|---|"
    for message in load_profile().values():
        if not message.opaque:
            compared = [
                name
                for name, rule in message.rules.items()
                if rule.shape not in {"extra", "forbidden", "scalar", "tree"}
            ]
            cells = [_names(compared), *(_forbidden(message, each) for each in _WEIGHTS)]
            yield f"| {message.name} | {' | '.join(cells)} |"
    yield "\n## What a log line, or an answer of Envoy's own, may show\n"
    lists = words()
    yield f"- commands: {_names(sorted(lists.commands))}"
    yield f"- request headers (`REQ`): {_names(sorted(lists.request_headers))}"
    yield f"- response headers (`RESP`): {_names(sorted(lists.response_headers))}"
    yield f"- errors: {_names(sorted(lists.secret_headers | set(lists.secret_commands)))}"


_WEIGHTS = (Severity.ERROR, Severity.WARNING)


def _forbidden(message: Message, severity: Severity) -> str:
    return _names(
        name
        for name, rule in message.rules.items()
        if rule.shape == "forbidden" and rule.severity is severity
    )


def _names(names: Iterable[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
