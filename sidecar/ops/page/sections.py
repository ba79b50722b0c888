"""The page's sections, apart from the policy."""

import json
from collections.abc import Iterator
from heapq import nlargest
from typing import Any, Final

from sidecar.core.reasons import Reason
from sidecar.ops import redact
from sidecar.ops.metrics import quantile
from sidecar.ops.page.charts import Line, chart
from sidecar.ops.page.facts import Facts, View
from sidecar.ops.page.markup import Html, raw, tag
from sidecar.ops.page.parts import address, choice, form_field, since, table
from sidecar.ops.page.parts import section as section_of
from sidecar.ops.page.recent import Entry
from sidecar.ops.page.texts import Words, duration, small, words_of
from sidecar.ops.readiness import State
from sidecar.ops.routes import MAX_DETAIL

MAX_DECISIONS: Final = 100
MAX_KEYS: Final = 20  # key ids of an issuer; a set has at most some dozen
MAX_DIFFERENCES: Final = 50
_OUTCOMES: Final = ("allow", "deny", "answer")


def state(word: State, words: Words) -> Html:
    """Return a component's state as a badge."""
    return tag("span", words(word), class_=f"state {word}")


def figures(facts: Facts, view: View) -> Html:
    """Return the numbers that a viewer looks at first."""
    words, values = words_of(view.language), facts.values
    checks = sum(values.check_buckets)
    denials = sum(count for key, count in values.checks.items() if key[0] == "deny")
    last = facts.intervals[-1] if facts.intervals else None
    share = f"{denials / checks:.1%}" if checks else ""
    looked_up = values.token_cache_hits + values.token_cache_misses
    hits = f"{values.token_cache_hits / looked_up:.1%}" if looked_up else "–"
    rate = "–" if last is None else f"{last.checks:,.1f}"
    since_start = words("since_start")
    shown: tuple[tuple[str, str, str], ...] = (
        (words("checks_rate"), rate, ""),
        (words("checks"), f"{checks:,}", since_start),
        (words("denials"), f"{denials:,}", f"{share} {since_start}".strip()),
        (
            f"{words('latency')}, {words('p99')}",
            small(quantile(0.99, values.check_buckets)),
            since_start,
        ),
        (words("tokens"), f"{values.token_cache_entries:,}", f"{words('hits')} {hits}"),
        (words("uptime"), duration(facts.now - facts.about.started, view.language), ""),
    )
    cards = [
        tag("div", tag("dt", name), tag("dd", value, " ", tag("small", more)), class_="figure")
        for name, value, more in shown
    ]
    return tag("dl", *cards, class_="figures", data_live="figures")


def health(facts: Facts, view: View) -> Html:
    """Return each component with its state."""
    words = words_of(view.language)
    whole = {words(facts.about.mode): facts.overall}
    rows = [
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", state(each.state, words)),
            tag("td", since(each.since, facts.now, view.language)),
            tag("td", redact.text(each.detail, MAX_DETAIL), class_="wrap"),
            data_key=f"c:{name}",
        )
        for name, each in {**whole, **facts.components}.items()
    ]
    columns = [words(key) for key in ("component", "state", "since", "detail")]
    found = table(words("health"), columns, rows)
    return section_of("health", words("health"), tag("div", found, data_live="components"))


def charts(facts: Facts, view: View) -> Html:
    """Return the rates and durations of the last minutes."""
    words, intervals = words_of(view.language), facts.intervals
    times = [each.at for each in intervals]
    rates = [
        Line(words("checks"), [each.checks for each in intervals]),
        Line(words("denied"), [each.denials for each in intervals]),
    ]
    durations = [
        Line(words("median"), [each.median for each in intervals]),
        Line(words("p99"), [each.p99 for each in intervals]),
    ]

    def rate(value: float | None) -> str:
        return "–" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"

    nothing = words("no_data")
    drawn = tag(
        "div",
        chart(words("checks_rate"), times, rates, rate, nothing),
        chart(words("latency"), times, durations, small, nothing),
        class_="charts",
        data_live="charts",
    )
    return section_of("charts", words("charts"), drawn)


def decisions(facts: Facts, view: View) -> Html:
    """Return the latest decisions, and the form that chooses among them."""
    words = words_of(view.language)
    outcome, reason, route = view.decisions
    outcomes = [("", words("all")), *((each, words(each)) for each in _OUTCOMES)]
    reasons = [("", words("all")), *((each.value, each.value) for each in Reason)]
    hidden = [
        tag("input", type="hidden", name=name, value=value)
        for name, value in address(view).items()
        if name in ("lang", "q") and value
    ]
    form = tag(
        "form",
        form_field(words("decision"), choice("decision", outcomes, outcome)),
        form_field(words("reason"), choice("reason", reasons, reason)),
        form_field(
            words("route"),
            tag("input", type="search", name="route", value=route, maxlength=200),
        ),
        *hidden,
        tag("button", words("apply"), type="submit"),
        tag(
            "button",
            words("pause"),
            type="button",
            id="pause",
            class_="quiet",
            hidden=True,
            aria_pressed="false",
            data_resume=words("resume"),
        ),
        class_="filters",
    )
    columns = [words(key) for key in ("time", "decision", "request", "caller")]
    rows = [_decision(entry, view, words) for entry in facts.entries]
    parts: list[object] = [table(words("decisions"), columns, rows)]
    if not rows:
        parts = [tag("p", words("no_decisions"), class_="dim")]
    if facts.skipped:
        parts.append(tag("p", words("skipped").format(f"{facts.skipped:,}"), class_="dim"))
    found = tag("div", *parts, data_live="decisions")
    return section_of("decisions", words("decisions"), form, found)


def _decision(entry: Entry, view: View, words: Words) -> Html:
    line: dict[str, Any] = json.loads(entry.line)
    needs = line.get("needs") or ()
    why = [tag("code", entry.reason)]
    if needs:
        why.append(tag("small", f"{words('needs')} {', '.join(map(str, needs))}", class_="block"))
    where = f"/explain?n={entry.number}&lang={view.language}"
    asked = [tag("code", line.get("method") or "–", " ", line.get("path") or "–")]
    if line.get("host"):
        asked.append(tag("small", str(line["host"]), class_="block"))
    if entry.route:
        asked.append(tag("small", f"{words('route')}: {entry.route}", class_="block"))
    badge = {"allow": "ready", "deny": "failed"}.get(entry.outcome, "waiting")
    time = str(line["time"])
    label = f"{words('explain')}: {entry.reason}, {line.get('path') or ''}"
    return tag(
        "tr",
        tag("td", tag("time", time[11:23], datetime=time, title=time)),
        tag(
            "td",
            tag("span", words(entry.outcome), class_=f"state {badge}"),
            " ",
            *why,
            tag("a", words("explain"), href=where, data_explain=True, aria_label=label),
        ),
        tag("td", *asked, class_="wrap"),
        tag("td", *_caller(line, words), class_="wrap"),
        data_key=f"d{entry.number}",
        class_=entry.outcome,
    )


def _caller(line: dict[str, Any], words: Words) -> Iterator[object]:
    subject = line.get("subject")
    if not subject:
        yield tag("span", words("nobody"), class_="dim")
        return
    yield tag("span", str(subject))
    kind = line.get("principal_kind") or ""
    yield tag("small", f"{kind} · {line.get('issuer') or ''}", class_="block")


def keys(facts: Facts, view: View) -> Html:
    """Return each issuer's key set; of a shared secret only that there is one."""
    words = words_of(view.language)
    rows = []
    for index, issuer in enumerate(facts.snapshot.issuers):
        kids: list[object] = []
        age: object = "–"
        held: object = words("no_keys")
        if issuer.secrets:
            held = words("secret")
        elif issuer.keys is not None:
            held = words("key_count").format(len(issuer.keys.keys))
            fetched = facts.now - (facts.steady - issuer.keys.fetched_at)
            age = since(fetched, facts.now, view.language)
            names = [key.kid for key in issuer.keys.keys]
            for number, kid in enumerate(names[:MAX_KEYS]):
                shown = words("without_kid") if kid is None else tag("code", kid)
                kids += [", " if number else "", shown]
            if (more := len(names) - MAX_KEYS) > 0:
                kids.append(f" +{more}")
            if issuer.keys.dropped:
                kids.append(tag("small", issuer.keys.dropped, class_="block"))
        rows.append(
            tag(
                "tr",
                tag("th", issuer.name, scope="row", class_="wrap"),
                tag("td", held),
                tag("td", age),
                tag("td", ", ".join(sorted(issuer.algorithms)), class_="wrap"),
                tag("td", *kids, class_="wrap"),
                data_key=f"i{index}",
            )
        )
    columns = [words(key) for key in ("issuer", "source", "age", "algorithms", "kids")]
    found = tag("div", table(words("keys"), columns, rows), data_live="keys")
    return section_of("keys", words("keys"), found)


def shadow(facts: Facts, view: View) -> Html:
    """Return what the candidate decides differently; nothing where there is none."""
    words, found = words_of(view.language), facts.shadow
    if found is None:
        return raw()
    digest = tag("code", found.digest or "–")
    compared = words("compared").format(f"{found.compared:,}", f"{found.different:,}")
    summary = tag("p", words("candidate"), " ", digest, " · ", compared, class_="facts")
    counts = facts.values.shadow_decisions
    rows = [
        tag(
            "tr",
            tag("th", route or "–", scope="row", class_="wrap"),
            tag("td", tag("code", active)),
            tag("td", tag("code", would)),
            tag("td", f"{count:,}"),
            data_key=f"s:{route}:{active}:{would}",
        )
        for (route, active, would), count in nlargest(
            MAX_DIFFERENCES, counts.items(), key=lambda item: item[1]
        )
    ]
    columns = [words(key) for key in ("route", "active", "would", "count")]
    listed = tag("p", words("no_differences"), class_="dim")
    if rows:
        listed = table(words("shadow"), columns, rows)
    if (more := len(counts) - len(rows)) > 0:
        listed = raw(listed, tag("p", words("more").format(f"{more:,}"), class_="dim"))
    parts = tag("div", summary, listed, data_live="shadow")
    return section_of("shadow", words("shadow"), parts)
