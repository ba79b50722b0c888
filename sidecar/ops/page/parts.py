"""Parts that several sections of the page share."""

from collections.abc import Iterable, Sequence

from sidecar.net.clock import rfc3339
from sidecar.ops.page.facts import View
from sidecar.ops.page.markup import Html, tag
from sidecar.ops.page.texts import Language, duration

MAX_TIME = 253402300799.0  # 9999-12-31: an issuer's time may be anything


def section(name: str, title: str, *children: object) -> Html:
    """Return a section with its heading."""
    heading = tag("h2", title, id=f"{name}-title")
    return tag(
        "section", heading, *children, id=name, class_="card", aria_labelledby=f"{name}-title"
    )


def table(caption: str, columns: Sequence[str], rows: Iterable[Html]) -> Html:
    """Return a table that can be scrolled by keyboard where it is wider than the screen."""
    head = tag("thead", tag("tr", *(tag("th", each, scope="col") for each in columns)))
    body = tag("tbody", *rows)
    inner = tag("table", tag("caption", caption, class_="unseen"), head, body)
    return tag("div", inner, class_="scroll", role="region", aria_label=caption, tabindex=0)


def form_field(label: str, field: Html) -> Html:
    """Return a field with its label."""
    return tag("label", tag("span", label), field)


def choice(name: str, options: Iterable[tuple[str, str]], chosen: str) -> Html:
    """Return a list to choose from: values and their texts."""
    listed = [tag("option", text, value=value, selected=value == chosen) for value, text in options]
    return tag("select", *listed, name=name)


def address(view: View) -> dict[str, str]:
    """Return the query parameters of a view; empty ones are those of the page itself."""
    outcome, reason, route = view.decisions
    first = str(view.first) if view.first else ""
    chosen = {"decision": outcome, "reason": reason, "route": route, "q": view.routes}
    return {"lang": view.language, **chosen, "from": first}


def moment(seconds: float) -> Html:
    """Return a time as HTML."""
    text = rfc3339(min(max(seconds, 0.0), MAX_TIME), "seconds")
    return tag("time", text.replace("T", " "), datetime=text)


def since(seconds: float, now: float, language: Language) -> Html:
    """Return how long ago a moment was, with the moment."""
    text = rfc3339(min(max(seconds, 0.0), MAX_TIME), "seconds")
    return tag("time", duration(now - seconds, language), datetime=text, title=text)
