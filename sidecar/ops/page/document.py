"""Whole documents: the page, and the explanation of one decision."""

import json
from collections.abc import Sequence
from typing import Final

from sidecar.ops.page import sections
from sidecar.ops.page.explaining import Explanation
from sidecar.ops.page.facts import About, Facts, View
from sidecar.ops.page.live import live
from sidecar.ops.page.markup import Html, raw, tag
from sidecar.ops.page.parts import moment
from sidecar.ops.page.policy import link, policy
from sidecar.ops.page.recent import Entry
from sidecar.ops.page.texts import NAMES, Language, words_of

_DOCTYPE: Final = Html("<!DOCTYPE html>\n")
_MARKS: Final = {True: "✓", False: "✗", None: "·"}
_SECTIONS: Final = {
    "health": "health",
    "charts": "charts",
    "decisions": "decisions",
    "policy": "policy",
    "keys": "keys",
    "zervi": "zervi",
    "shadow": "shadow_short",
}


def page(facts: Facts, view: View) -> bytes:
    """Return the page."""
    words = words_of(view.language)
    about = facts.about
    drawn = [
        sections.health(facts, view),
        sections.charts(facts, view),
        sections.decisions(facts, view),
        policy(facts, view),
        sections.keys(facts, view),
        live(facts, view),
        sections.shadow(facts, view),
    ]
    titles = [
        tag("li", tag("a", words(word), href=f"#{name}"))
        for (name, word), section in zip(_SECTIONS.items(), drawn, strict=True)
        if section
    ]
    head = tag(
        "header",
        tag("span", "zervi-sidecar", class_="brand"),
        tag("span", sections.state(facts.overall.state, words), data_live="state"),
        tag("span", words("live"), id="live", hidden=True, data_lost=words("lost"), role="status"),
        tag("nav", tag("ul", *titles), aria_label=words("sections")),
        _languages(view),
        class_="top",
    )
    title = tag("h1", about.node, " ", tag("small", words(about.mode)))
    hint = tag("noscript", tag("p", words("no_script"), class_="dim"))
    shown = (title, _about(about, view.language), hint, sections.figures(facts, view), *drawn)
    dialog = tag(
        "dialog",
        tag("div", id="answer", data_wait=words("explaining")),
        tag("form", tag("button", words("close"), type="submit"), method="dialog"),
        id="why",
        aria_labelledby="why-title",
    )
    return _document(about.node, view.language, head, shown, dialog)


def explanation(
    entry: Entry, found: Explanation | Sequence[str], about: About, language: Language
) -> bytes:
    """Return the explanation of a decision; texts in place of one say why there is none."""
    words = words_of(language)
    parts: list[object] = [tag("h1", words("explanation"), id="why-title")]
    line = json.loads(entry.line)
    asked = f"{line.get('method') or '–'} {line.get('path') or '–'}"
    parts.append(tag("p", tag("code", asked), " ", tag("small", str(line.get("host") or ""))))
    if isinstance(found, Explanation):
        verdict: object = words("no_verdict")
        if found.decision is not None:
            verdict = raw(words(found.decision), " ", tag("code", found.reason))
        badge = {"allow": "ready", "deny": "failed"}.get(found.decision or "", "waiting")
        place = () if found.route_at is None else (" · ", tag("code", found.route_at))
        parts.append(
            tag("p", words("verdict"), ": ", tag("span", verdict, class_=f"state {badge}"), *place)
        )
        if found.notes:
            parts.append(tag("ul", *(tag("li", note) for note in found.notes)))
        steps = [
            tag(
                "li",
                tag("span", _MARKS[step.held], class_="mark", aria_hidden="true"),
                tag("span", words(f"step_{str(step.held).lower()}"), class_="unseen"),
                tag("strong", step.name),
                tag("span", (language == "zh" and step.chinese) or step.text),
                class_=f"step {str(step.held).lower()}",
            )
            for step in found.steps
        ]
        parts.append(tag("ol", *steps, class_="steps", aria_label=words("steps")))
        if found.body:
            parts += [tag("h2", words("client_reads")), tag("pre", _lines(found.body))]
        parts.append(tag("p", tag("small", words("recomputed"))))
    else:
        parts += [tag("p", each, role="alert") for each in found]
    parts += [tag("h2", words("record")), tag("dl", *_record(line), class_="record")]
    head = tag(
        "header",
        tag("a", "zervi-sidecar", href=link(View(language)), class_="brand"),
        tag("a", words("back"), href=link(View(language), "decisions")),
        class_="top",
    )
    return _document(about.node, language, head, (tag("article", *parts, class_="card"),), raw())


def missing(about: About, language: Language) -> bytes:
    """Return the page for a decision that is not kept."""
    words = words_of(language)
    head = tag(
        "header",
        tag("a", "zervi-sidecar", href=link(View(language)), class_="brand"),
        class_="top",
    )
    text = tag("p", words("explain_gone"), role="alert")
    title = tag("h1", words("explanation"), id="why-title")
    return _document(about.node, language, head, (tag("article", title, text),), raw())


def _document(
    title: str, language: Language, head: Html, shown: Sequence[object], after: Html
) -> bytes:
    words = words_of(language)
    links = (
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title} · zervi-sidecar"),
        tag("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href="/static/base.css"),
        tag("link", rel="stylesheet", href="/static/page.css"),
        tag("script", src="/static/page.js", type="module"),
    )
    skip = tag("a", words("skip"), href="#main", class_="skip")
    main = tag("main", *shown, id="main", tabindex=-1)
    code = "zh-CN" if language == "zh" else "en"
    body = tag("body", skip, head, main, after)
    return raw(_DOCTYPE, tag("html", tag("head", *links), body, lang=code)).encode()


def _languages(view: View) -> Html:
    links = []
    for language, name in NAMES.items():
        here = "true" if language == view.language else None
        where = link(view._replace(language=language))
        links.append(
            tag("a", name, href=where, lang=language, hreflang=language, aria_current=here)
        )
    return tag("nav", *links, class_="tools", aria_label=words_of(view.language)("language"))


def _about(about: About, language: Language) -> Html:
    words = words_of(language)
    parts: list[object] = [words("version"), " ", tag("code", about.version)]
    parts += [" · ", words("since"), " ", moment(about.started)]
    for key, address in about.addresses:
        parts += [" · ", key, " ", tag("code", address)]
    return tag("p", *parts, class_="facts")


def _record(line: dict[str, object]) -> list[Html]:
    shown = []
    for key, value in line.items():
        if value not in (None, ""):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            shown += [tag("dt", key), tag("dd", text)]
    return shown


def _lines(text: str) -> Html:
    return raw(*(part for line in text.splitlines() for part in (line, Html("\n"))))
