"""Prints the demo: the scenario as a table, the addresses, commands to copy."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.text import Text

from demo import minting
from demo.placement import USERS, Served
from demo.ports import NAMES
from demo.registry import Observed
from demo.scenario import Result
from demo.stack import Stack

_WIDTHS = (31, 15, 6, 8)  # in cells, of every column but the last: 80 with the longest reason

_ABOUT = {
    "envoy": "send requests here",
    "stats": "/stats/prometheus /ready",
    "authz": "gRPC: Check, and grpc.health.v1",
    "ops": "/livez /readyz /metrics",
    "basic_server": "no auth code; echoes requests",
    "zervi": "/.well-known/jwks.json",
    "looma": "/cluster/services",
}


def print_way(console: Console, stack: Stack) -> None:
    """Print the way of every request."""
    ports = stack.ports
    console.print(
        f"Every request goes  client → Envoy :{ports.envoy} → Basic Server :{ports.basic_server}\n"
        f"and Envoy asks the sidecar :{ports.authz} first.\n"
    )


def print_scenario(console: Console, results: Sequence[Result]) -> None:
    """Print one line per request, and below it what the client or the Basic Server received."""
    _print(console, _line("request", "who", "want", "got", "reason"), "bold underline")
    section = ""
    for result in results:
        row = result.row
        if row.section != section:
            section = row.section
            console.print(f"\n[bold cyan]{escape(section)}[/]")
        mark, style = ("✓", "green") if result.passed else ("✗", "bold red")
        got = Text(f"{mark} {_word(result.status)}", style=style)
        _print(console, _line(row.request, row.who, _word(row.status), got, result.reason))
        if result.shown:
            _print(console, Text(f"  → {result.shown}"), "dim")
        for problem in result.wrong:
            _print(console, Text(f"  ✗ {problem}"), "red")


def print_verdict(console: Console, results: Sequence[Result]) -> None:
    """Print a summary in one line."""
    failed = sum(not result.passed for result in results)
    if failed:
        line = f"{failed} of {len(results)} requests did not get the expected answer."
    else:
        line = f"All {len(results)} requests got the expected answer."
    _print(console, Text(f"\n{line}"), "bold red" if failed else "bold green")


def print_observed(console: Console, observed: Observed) -> None:
    """Print what Looma knows after an event."""
    mark, style = ("✓", "green") if observed.passed else ("✗", "bold red")
    line = Text(f"{observed.event:<{sum(_WIDTHS[:3])}}").append(f"{mark} {observed.known}", style)
    if not observed.passed:
        line.append(f" instead of {observed.wanted}", style)
    if observed.seconds >= 0.1:
        line.append(f" ({observed.seconds:.1f} s)", style="dim")
    _print(console, line)


def print_served(console: Console, served: Served) -> None:
    """Print which Basic Server each user gets after an event."""
    mark, style = ("✓", "green") if served.passed and not served.failed else ("✗", "bold red")
    who = ", ".join(
        f"{user} → {name.removeprefix('basic-')}"
        for user, name in zip(USERS, served.servers, strict=True)
    )
    line = Text(f"{served.event:<{sum(_WIDTHS[:2]) - 9}}").append(f"{mark} {who}", style)
    _print(console, line)
    if served.requests:
        _print(console, Text(f"  → {served.failed} of {served.requests} requests failed"), "dim")


def print_listening(console: Console, stack: Stack) -> None:
    """Print the address of each part, and where its files are."""
    console.print("\nIt stays up:", style="bold")
    for name, port in stack.ports._asdict().items():
        scheme = "" if name == "authz" else "http://"
        line = Text(f"  {NAMES[name]:<22}{f'{scheme}127.0.0.1:{port}':<24}")
        _print(console, line.append(_ABOUT[name], style="dim"))
    _print(console, Text(f"  {'files and logs':<22}{stack.directory}"))


def print_console(console: Console, url: str) -> None:
    """Print the console's address, and who may see it."""
    users = ", ".join(f"{name} ({minting.USERS[name].password})" for name in ("bob", "alice"))
    line = Text(f"  {'console':<22}{url:<24}")
    _print(console, line.append(f"sign in as {users}: alice is denied", style="dim"))


def print_lines_to_copy(console: Console, stack: Stack) -> None:
    """Print tokens and curl lines."""
    zervi, url = stack.zervi, stack.envoy.url
    bearer = '-H "Authorization: Bearer ${}"'
    console.print("\nTry it in another terminal:", style="bold")
    for token in (f"alice={zervi.token('alice')}", f"bob={zervi.token('bob', 'unified-auth')}"):
        _print(console, Text(token), "dim")
    commands = {
        f"curl -i {url}/api/cluster/nodes": "401",
        f"curl -i {url}/api/cluster/nodes {bearer.format('alice')}": "403",
        f"curl -i {url}/api/cluster/nodes {bearer.format('bob')}": "200",
        f"curl -s {stack.ops_url}/readyz": "why ready",
        f"curl -s -X POST {zervi.url}/demo/rotate": "new key",
    }
    width = max(map(len, commands)) + 2
    for command, comment in commands.items():
        _print(console, Text(f"{command:<{width}}").append(f"# {comment}", style="dim"))


def _print(console: Console, line: Text, style: str = "") -> None:
    """Print a line without a break even in a narrow terminal, so that it can be copied."""
    console.print(line, style=style or None, soft_wrap=True)


def _word(status: int) -> str:
    return "allow" if status < 400 else str(status)


def _line(request: str, who: str, want: str, got: str | Text, reason: str) -> Text:
    """Set the cells in columns; a Chinese character is two cells wide."""
    line = Text()
    for cell, width in zip((request, who, want, got), _WIDTHS, strict=True):
        text = cell if isinstance(cell, Text) else Text(cell)
        line.append_text(text)
        line.append(" " * max(1, width - text.cell_len))
    return line.append(reason)
