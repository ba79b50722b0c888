"""The table of docs/upstreams.md, from the observed tables."""

from pathlib import Path

from tests.upstreams.scenario import ROUTES
from tests.upstreams.table import Observed, names, read

PAGE = Path(__file__).parents[2] / "docs" / "upstreams.md"
BEGIN, END = "<!-- observed: begin -->\n", "<!-- observed: end -->\n"

SHOWN = (
    *("/api/Admin", "/API/admin", "/api/admin/", "/docs/secret/", "/files/", "/users/", "/docs/"),
    *("/users", "/docs/a/b", "/api/admin.json", "/api/admin.foo", "/api/admin.json.xml"),
    *("/users/7.json/keys", "/docs/%73ecret", "/items/%40me", "/docs/secret;v=1", "/docs//secret"),
    *("/docs%2Fsecret", "/mixed/start/end", "/index.php/docs/secret"),
)
"""Requests in which servers differ most."""

_PATHS = {route.name: f"`{route.path}`" for route in ROUTES}


def _outcome(table: Observed, target: str) -> str | None:
    for row in table.rows:
        if row["target"] == target and not {"method", "headers", "body"} & row.keys():
            if "handler" in row:
                return _PATHS[row["handler"]]
            return "a redirect" if "location" in row else "nothing"
    return None  # the server was not sent this one


def rendered() -> str:
    """Return one row a request: what runs, and at which servers; the most common comes last."""
    tables = [read(name) for name in names()]
    lines = ["| `GET` | runs |", "|---|---|"]
    for target in SHOWN:
        found: dict[str, list[str]] = {}
        for table in tables:
            if outcome := _outcome(table, target):
                found.setdefault(outcome, []).append(table.server)
        *fewer, (most, _) = sorted(found.items(), key=lambda item: (len(item[1]), item[0]))
        cells = [f"{outcome}: {', '.join(servers)}" for outcome, servers in fewer]
        lines.append(f"| `{target}` | {'; '.join([*cells, f'{most}: the others'])} |")
    return "\n".join(lines) + "\n"


def write_page() -> None:
    """Put the table into the page, between its marks."""
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}{rendered()}{END}{after}")
