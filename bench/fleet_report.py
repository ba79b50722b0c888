"""The fleet's requests over time, as tables and as a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from PIL import ImageDraw

LIMIT = 3  # times the steady rate: the limit for every phase
WINDOW = 10  # seconds: long enough that a peak is not chance

WIDE = 110  # columns of the tables, also in a pipe

WIDTH, PANEL_HEIGHT = 1600, 520
LEFT, RIGHT, TOP, BOTTOM = 110, 40, 90, 70
FONT_SIZE, SMALL_FONT_SIZE = 22, 17
INK, FAINT, LINE = "#1f2933", "#d2d6dc", "#2563eb"
BAND, STEADY_INK, LIMIT_INK = "#fdecea", "#15803d", "#b91c1c"


class Phase(NamedTuple):
    """A part of a story, in seconds."""

    name: str
    begin: int
    end: int


class Story(NamedTuple):
    """One server's requests by kind and second; ``steady`` is the computed steady rate."""

    server: str
    phases: Sequence[Phase]
    steady: float
    by_kind: Mapping[str, Sequence[int]]

    def total(self) -> list[int]:
        """Return the sum of all kinds, by second."""
        return [sum(kinds) for kinds in zip(*self.by_kind.values(), strict=True)]

    def busiest(self, phase: Phase, seconds: int) -> float:
        """Return the highest mean rate over ``seconds`` consecutive seconds of the phase."""
        total = self.total()
        starts = range(phase.begin, phase.end - seconds + 1)
        return max(_mean(total[start : start + seconds]) for start in starts)


def show(story: Story) -> None:
    """Print the rates by phase and over time."""
    console, total = Console(width=WIDE), story.total()
    table = Table(title=f"{story.server}: requests per second; steady is {story.steady:.0f}")
    table.add_column("phase")
    for heading in (
        "seconds",
        "mean",
        f"busiest {WINDOW} s",
        "÷ steady",
        "busiest second",
        *story.by_kind,
    ):
        table.add_column(heading, justify="right")
    for phase in story.phases:
        window = story.busiest(phase, WINDOW)
        part = total[phase.begin : phase.end]
        table.add_row(
            phase.name,
            f"{phase.begin}-{phase.end}",
            f"{_mean(part):.0f}",
            f"{window:.0f}",
            f"{window / story.steady:.2f}",
            f"{max(part)}",
            *(f"{_mean(kind[phase.begin : phase.end]):.0f}" for kind in story.by_kind.values()),
        )
    console.print(table)
    over_time = Table(title=f"{story.server}: requests per second, minute by minute")
    over_time.add_column("minute", justify="right")
    for kind in story.by_kind:
        over_time.add_column(kind, justify="right")
    for begin in range(0, len(total), 60):
        over_time.add_row(
            str(begin // 60),
            *(f"{_mean(kind[begin : begin + 60]):.0f}" for kind in story.by_kind.values()),
        )
    console.print(over_time)


def draw(stories: Sequence[Story], path: Path) -> None:
    """Draw one panel per server, below each other."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH, PANEL_HEIGHT * len(stories)), "white")
    for number, story in enumerate(stories):
        _panel(ImageDraw.Draw(image), story, number * PANEL_HEIGHT)
    image.quantize(64).save(path, optimize=True)


def _panel(canvas: "ImageDraw.ImageDraw", story: Story, top: int) -> None:
    from PIL import ImageFont

    font, small = ImageFont.load_default(FONT_SIZE), ImageFont.load_default(SMALL_FONT_SIZE)
    rates = _rates(story.total())
    seconds, ceiling = len(rates), story.steady * (LIMIT + 0.5)
    left, right = LEFT, WIDTH - RIGHT
    upper, lower = top + TOP, top + PANEL_HEIGHT - BOTTOM

    def x(second: float) -> float:
        return left + (right - left) * second / seconds

    def y(rate: float) -> float:
        return lower - (lower - upper) * min(rate / ceiling, 1.0)

    canvas.text((left, top + 16), f"{story.server}: requests per second", INK, font)
    for number, phase in enumerate(story.phases):
        box = (x(phase.begin), upper, x(phase.end), lower)
        canvas.rectangle(box, fill=BAND if "dead" in phase.name else "white", outline=FAINT)
        label = top + (46 if number % 2 else 66)
        canvas.text((x(phase.begin) + 4, label), phase.name, INK, small)
    for times, words, ink in (
        (1, "steady", STEADY_INK),
        (LIMIT, f"{LIMIT} times steady", LIMIT_INK),
    ):
        height = y(times * story.steady)
        canvas.line((left, height, right, height), ink, 2)
        rate = f"{times * story.steady:.0f}"
        canvas.text((left - 12, height), rate, ink, font, anchor="rm")
        canvas.text((right - 6, height - 6), words, ink, small, anchor="rd")
    canvas.text((left - 12, lower), "0", INK, font, anchor="rm")
    for minute in range(0, seconds // 60 + 1, 2):
        words = f"{minute} min" if minute == 0 else str(minute)
        canvas.text((x(minute * 60), lower + 10), words, INK, font, anchor="ma")
    points = [(x(second), y(rate)) for second, rate in enumerate(rates)]
    canvas.line(points, LINE, 3, joint="curve")


def _rates(total: Sequence[int]) -> list[float]:
    """Return each second's rate as the mean of the window around it."""
    half = WINDOW // 2
    return [_mean(total[max(second - half, 0) : second + half]) for second in range(len(total))]


def _mean(values: Sequence[int]) -> float:
    return sum(values) / len(values)
