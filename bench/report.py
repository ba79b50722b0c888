"""A run's results, as tables and as JSON."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.figures import Figure, Results, figures
from bench.processes import MEBIBYTE
from bench.rounds import Row, Spread

WIDE = 136  # columns of the tables, also in a pipe


def show(results: Results, about: Mapping[str, object]) -> None:
    """Print everything."""
    console = Console(width=WIDE)
    console.print(", ".join(f"{key.replace('_', ' ')}: {value}" for key, value in about.items()))
    for section in dict.fromkeys(row.section for row in results.rows):
        console.print(_rows(section, [row for row in results.rows if row.section == section]))
    if results.footprints:
        console.print(_footprints(results))
    if results.imports:
        console.print(_imports(results))
    console.print(_figures(figures(results)))


def write(results: Results, about: Mapping[str, object], path: Path) -> None:
    """Write everything as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "about": about,
        "figures": [
            {**figure._asdict(), "goal": figure.goal, "met": figure.met}
            for figure in figures(results)
        ],
        "rows": [asdict(row) for row in results.rows],
        "footprints": [asdict(footprint) for footprint in results.footprints],
        "imports": [each._asdict() for each in results.imports],
        "look_ups": [each._asdict() for each in results.look_ups],
        "offline": [each._asdict() for each in results.offline],
        "bare_signature_microseconds": results.signature,
    }
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    return table


def _rows(section: str, rows: Iterable[Row]) -> Table:
    table = _table(
        f"{section}: median and range of the rounds",
        "",
        "in flight",
        "sidecar CPU µs",
        "Envoy CPU µs",
        "requests/s",
        "p50 µs",
        "p99 µs",
    )
    for row in rows:
        table.add_row(
            row.name,
            str(row.concurrency),
            _text(row.cpu.get("sidecar")),
            _text(row.cpu.get("envoy")),
            _text(row.rate),
            _text(row.p50),
            _text(row.p99),
        )
    return table


def _footprints(results: Results) -> Table:
    table = _table(
        "start and memory",
        "",
        "start to ready s",
        "its CPU time s",
        "RSS ready MiB",
        "RSS after load MiB",
    )
    for each in results.footprints:
        spreads = (each.ready, each.ready_cpu, each.idle, each.loaded)
        table.add_row(each.name, *map(_text, spreads))
    return table


def _imports(results: Results) -> Table:
    table = _table("imports, each in a fresh interpreter", "", "ms", "process MiB")
    for each in results.imports:
        table.add_row(each.name, f"{each.seconds * 1e3:.0f}", f"{each.rss / MEBIBYTE:.1f}")
    return table


def _figures(found: Sequence[Figure]) -> Table:
    table = _table("figures", "", "measured", "goal", "")
    for figure in found:
        mark = {None: "", True: "reached", False: "MISSED"}[figure.met]
        value = f"{_number(figure.value)} {figure.unit}".strip()
        table.add_row(figure.name, value, figure.goal, mark)
    return table


def _text(spread: Spread | None) -> str:
    if spread is None:
        return ""
    low, high = _number(spread.low), _number(spread.high)
    return f"{_number(spread.median)} ({low}-{high})"


def _number(value: float) -> str:
    """Format with three digits, or more for a large number."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
