"""Line charts as SVG. Their looks are in the style sheet: the page allows no inline styles."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from sidecar.net.clock import rfc3339
from sidecar.ops.page.markup import Html, tag

WIDTH: Final = 360
HEIGHT: Final = 130
_LEFT: Final = 52
_RIGHT: Final = 8
_TOP: Final = 10
_BOTTOM: Final = 18


class Line(NamedTuple):
    """One line of a chart; a value is None where there is none."""

    name: str
    values: Sequence[float | None]


def chart(
    title: str,
    times: Sequence[float],
    lines: Sequence[Line],
    shown: Callable[[float | None], str],
    nothing: str,
) -> Html:
    """Return a figure; ``times`` are seconds since the epoch, ``shown`` puts a value into words.

    What a screen reader says are the last values and the highest.
    """
    known = [value for line in lines for value in line.values if value is not None]
    if len(times) < 2 or not known:
        return tag("figure", tag("figcaption", title), tag("p", nothing, class_="dim"))
    top = max(known) or 1.0
    first, last = times[0], times[-1]

    def x(at: float) -> float:
        return _LEFT + (at - first) / ((last - first) or 1) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - value / top * (HEIGHT - _BOTTOM - _TOP)

    parts = []
    for share in (0.0, 0.5, 1.0):
        height = f"{y(top * share):.1f}"
        parts += [
            tag("line", class_="grid", x1=_LEFT, x2=WIDTH - _RIGHT, y1=height, y2=height),
            tag(
                "text", shown(top * share), class_="axis", x=_LEFT - 5, y=height, text_anchor="end"
            ),
        ]
    for at, anchor in ((first, "start"), (last, "end")):
        clock = rfc3339(at, "seconds")[11:16]
        parts.append(
            tag("text", clock, class_="axis", x=f"{x(at):.1f}", y=HEIGHT - 4, text_anchor=anchor)
        )
    for index, line in enumerate(lines):
        path = _path(times, line.values, x, y)
        parts.append(tag("path", class_=f"s{index}", d=path))
    newest = [f"{line.name} {shown(line.values[-1])}" for line in lines]
    label = f"{title}: {', '.join(newest)}; ≤ {shown(top)}"
    drawing = tag("svg", *parts, viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=label)
    legend = [tag("li", text, class_=f"k{index}") for index, text in enumerate(newest)]
    return tag(
        "figure", tag("figcaption", title), drawing, tag("ul", *legend, class_="key"), class_="plot"
    )


def _path(
    times: Sequence[float],
    values: Sequence[float | None],
    x: Callable[[float], float],
    y: Callable[[float], float],
) -> Html:
    path, pen = [], "M"
    for at, value in zip(times, values, strict=True):
        if value is None:
            pen = "M"
            continue
        path.append(f"{pen}{x(at):.1f} {y(value):.1f}")
        pen = "L"
    return Html("".join(path))
