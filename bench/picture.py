"""Draw a run: one panel per comparison, one bar per contestant, its range as a line."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.figures import Results
from bench.rounds import Spread

if TYPE_CHECKING:
    from PIL import ImageDraw

WIDTH, BAR, GAP, HEAD = 1400, 34, 12, 64
LABELS, RIGHT = 430, 170
FONT_SIZE, SMALL_FONT_SIZE = 24, 19
INK, BAR_INK, OURS_INK, RANGE_INK = "#1f2933", "#a8b3c2", "#2563eb", "#111827"
COLOURS = 64


class Panel(NamedTuple):
    """A comparison, with its bars from top to bottom."""

    title: str
    bars: Sequence[tuple[str, Spread]]


def panels(results: Results) -> list[Panel]:
    """Return the comparisons that have measurements."""

    def bars(section: str, concurrency: int, figure: str) -> list[tuple[str, Spread]]:
        rows = [
            row for row in results.rows if (row.section, row.concurrency) == (section, concurrency)
        ]
        found = [
            (row.name, row.cpu.get("sidecar") if figure == "cpu" else getattr(row, figure))
            for row in rows
        ]
        return [(name, spread) for name, spread in found if spread is not None]

    every = (
        Panel(
            "Sidecar's CPU per check through Envoy, microseconds", bars("through Envoy", 16, "cpu")
        ),
        Panel(
            "Requests per second through Envoy, 16 connections", bars("through Envoy", 16, "rate")
        ),
        Panel("p50 through Envoy, one connection, microseconds", bars("through Envoy", 1, "p50")),
        Panel(
            "Sidecar's CPU per check by kind of request, h2, microseconds",
            bars("tokens", 16, "cpu"),
        ),
        Panel("Sidecar's CPU per check by routes, h2, microseconds", bars("routes", 16, "cpu")),
    )
    return [panel for panel in every if panel.bars]


def draw(results: Results, path: Path) -> bool:
    """Draw the panels below each other; return False if there is none."""
    from PIL import Image, ImageDraw

    wanted = panels(results)
    if not wanted:
        return False
    height = sum(_height(panel) for panel in wanted)
    image = Image.new("RGB", (WIDTH, height), "white")
    top = 0
    for panel in wanted:
        _draw_panel(ImageDraw.Draw(image), panel, top)
        top += _height(panel)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(COLOURS).save(path, optimize=True)
    return True


def _height(panel: Panel) -> int:
    return HEAD + len(panel.bars) * (BAR + GAP) + GAP


def _draw_panel(canvas: "ImageDraw.ImageDraw", panel: Panel, top: int) -> None:
    from PIL import ImageFont

    font, small = ImageFont.load_default(FONT_SIZE), ImageFont.load_default(SMALL_FONT_SIZE)
    most = max(spread.high for _, spread in panel.bars)
    scale = (WIDTH - LABELS - RIGHT) / most
    canvas.text((24, top + 20), panel.title, INK, font)
    for number, (name, spread) in enumerate(panel.bars):
        upper = top + HEAD + number * (BAR + GAP)
        middle = upper + BAR / 2
        colour = OURS_INK if name == "h2" else BAR_INK
        canvas.text((LABELS - 14, middle), name, INK, small, anchor="rm")
        canvas.rectangle((LABELS, upper, LABELS + spread.median * scale, upper + BAR), fill=colour)
        low, high = LABELS + spread.low * scale, LABELS + spread.high * scale
        canvas.line((low, middle, high, middle), RANGE_INK, 2)
        canvas.text((high + 12, middle), f"{spread.median:,.1f}", INK, small, anchor="lm")
