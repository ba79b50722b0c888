"""Renders templates: escaping is on for all of them, and an unknown name is an error."""

from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined

from sidecar.console.pages import words
from sidecar.console.pages.language import Language, language_of, theme_of


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("sidecar.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=_number, percent=_percent, seconds=_seconds, duration=_duration, moment=_moment
    )
    return environment


def page(request: web.Request, template: str, **values: Any) -> web.Response:
    """Return a rendered template in the viewer's language."""
    return html(render(template, language_of(request), theme=theme_of(request), **values))


def html(text: str, status: int = 200) -> web.Response:
    """Return an answer in HTML."""
    return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")


def render(template: str, language: Language, **values: Any) -> str:
    """Return a template's text; it has ``t`` for words in its language."""
    known = {"t": partial(words.text, language), "known_word": words.has, "language": language}
    return _environment().get_template(template).render(**known, **values)


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _seconds(value: float | None) -> str:
    """Return a short time: µs, ms or s."""
    if value is None:
        return "–"
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1.0, 1e3, "ms")):
        if value < limit:
            return f"{value * factor:.0f} {unit}"
    return f"{value:.2f} s"


def _duration(value: float | None) -> str:
    """Return a long time: s, min, h or d."""
    if value is None:
        return "–"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if value < limit:
            return f"{value / unit:.0f} {name}"
    return f"{value / 86400:.0f} d"


def _moment(value: float | None) -> str:
    if value is None:
        return "–"
    return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
