"""What the sidecar asks Zervi: look-ups with their remembered answers, and the revocation feed."""

from sidecar.ops.metrics import RevocationValues
from sidecar.ops.page.facts import Facts, View
from sidecar.ops.page.markup import Html, raw, tag
from sidecar.ops.page.parts import section, since, table
from sidecar.ops.page.texts import Words, words_of

_RESULTS = ("answered", "none", "failed", "overloaded")


def live(facts: Facts, view: View) -> Html:
    """Return the look-ups and the feed; nothing where none is configured."""
    words, values = words_of(view.language), facts.values
    tables: list[Html] = []
    if values.look_up_sizes:
        tables.append(_look_ups(facts, words))
    if values.revocation is not None:
        tables.append(_feed(values.revocation, facts, view))
    if not tables:
        return raw()
    return section("zervi", words("zervi"), tag("div", *tables, data_live="zervi"))


def _look_ups(facts: Facts, words: Words) -> Html:
    rows = [
        tag(
            "tr",
            tag("th", source, scope="row", class_="wrap"),
            tag("td", f"{answers:,}"),
            tag("td", f"{stale:,}"),
            tag("td", _size(size)),
            *(
                tag("td", f"{facts.values.look_ups.get((source, result), 0):,}")
                for result in _RESULTS
            ),
            data_key=f"z:{source}",
        )
        for source, (answers, size, stale) in facts.values.look_up_sizes.items()
    ]
    names = ("look_up", "answers", "stale", "memory", *(f"result_{each}" for each in _RESULTS))
    return table(words("look_ups"), [words(name) for name in names], rows)


def _feed(feed: RevocationValues, facts: Facts, view: View) -> Html:
    words = words_of(view.language)
    read: object = words("never")
    if feed.age is not None:
        read = since(facts.now - feed.age, facts.now, view.language)
    row = tag(
        "tr",
        tag("th", words("feed"), scope="row"),
        tag("td", f"{feed.entries:,}"),
        tag("td", _size(feed.bytes)),
        tag("td", read),
        tag("td", f"{feed.readings.get('success', 0):,}"),
        tag("td", f"{feed.readings.get('failure', 0):,}"),
        data_key="z:feed",
    )
    names = ("revocation", "entries", "memory", "last_read", "readings", "result_failed")
    return table(words("feed"), [words(name) for name in names], [row])


def _size(size: int) -> str:
    return f"{size / 1024:,.0f} KiB"
