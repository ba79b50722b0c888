"""The policy on the page: its routes, with what they require."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlencode

from sidecar.core.routes.conditions import Condition
from sidecar.core.routes.route import USERS, Route
from sidecar.core.routes.table import Policy
from sidecar.ops.page.facts import Facts, View
from sidecar.ops.page.markup import Html, escaped, raw, tag
from sidecar.ops.page.parts import address, form_field, section, table
from sidecar.ops.page.texts import Words, words_of

MAX_ROUTES: Final = 50
"""Routes on the page at a time; a table may have 10,000."""

MAX_NAMES: Final = 20
"""Permissions, hosts and other names of one route; more are counted."""


def policy(facts: Facts, view: View) -> Html:
    """Return the section: digest, filter, and the routes that contain its text."""
    words = words_of(view.language)
    table_of = facts.snapshot.policy
    settings = [
        tag("span", f"{len(table_of.routes)} {words('routes')}"),
        tag("span", words("digest"), " ", tag("code", table_of.digest)),
        tag("span", "upstream: ", tag("code", table_of.upstream)),
        tag("span", "cors_preflight: ", tag("code", table_of.cors_preflight)),
    ]
    if table_of.ignore_case:
        settings.append(tag("span", tag("code", "ignore_case")))
    if facts.shadow is not None and facts.shadow.promoted:
        settings.append(tag("strong", words("promoted"), class_="warning"))
    search = tag(
        "input", type="search", name="q", value=view.routes, autocomplete="off", maxlength=200
    )
    form = tag(
        "form",
        form_field(words("find_route"), search),
        _kept(view, "q"),
        tag("button", words("apply"), type="submit"),
        class_="filters",
        role="search",
    )
    summary = tag("p", *_spaced(settings), class_="facts", data_live="digest")
    found = tag("div", _routes(table_of, view, words), data_live="routes")
    return section("policy", words("policy"), summary, form, found)


def _kept(view: View, *without: str) -> Html:
    """Return hidden fields for the rest of what the viewer asked for."""
    fields = address(view)
    return raw(
        *(
            tag("input", type="hidden", name=name, value=value)
            for name, value in fields.items()
            if name not in without and name != "from" and value
        )
    )


def _spaced(parts: list[Html]) -> Iterator[object]:
    for part in parts:
        yield part
        yield " "


def _routes(policy: Policy, view: View, words: Words) -> Html:
    wanted = view.routes.casefold()
    found = [route for route in policy.routes if wanted in _searched(route)]
    if not found:
        return tag("p", words("no_routes"), class_="dim", role="status")
    first = min(view.first, len(found) - 1) // MAX_ROUTES * MAX_ROUTES
    some = found[first : first + MAX_ROUTES]
    columns = [words(key) for key in ("path", "methods", "requires", "target")]
    rows = [tag("tr", *_cells(route, words), data_key=f"r{route.index}") for route in some]
    shown = words("shown_routes").format(first + 1, first + len(some), len(found))
    pages = [tag("span", shown, role="status")]
    for key, start in (("previous", first - MAX_ROUTES), ("next", first + MAX_ROUTES)):
        if 0 <= start < len(found):
            where = view._replace(first=start)
            pages.append(
                tag("a", words(key), href=link(where, "policy"), class_="quiet", data_page=True)
            )
    return raw(table(words("policy"), columns, rows), tag("p", *_spaced(pages), class_="pages"))


def link(view: View, anchor: str = "") -> str:
    """Return the address of a view."""
    query = urlencode({name: value for name, value in address(view).items() if value})
    return f"/?{query}{'#' if anchor else ''}{anchor}"


def _searched(route: Route) -> str:
    """Return all texts of a route that a viewer may look for."""
    parts = (
        *(route.name, route.path, route.target),
        *(*route.methods, *route.hosts, *route.permissions, *route.any_permissions),
        *(*route.roles, *route.callers, *route.issuers, *route.owner_unless),
    )
    return "\n".join(parts).casefold()


def _cells(route: Route, words: Words) -> Iterator[Html]:
    name = () if route.name == route.path else (tag("br"), tag("small", route.name))
    hosts = tuple(_names(sorted(route.hosts)))
    where = (tag("br"), tag("small", words("hosts"), " ", *hosts)) if hosts else ()
    yield tag("th", tag("code", route.path), *name, *where, scope="row")
    methods = tuple(_names(sorted(route.methods)))
    yield tag("td", *(methods or (tag("small", words("any")),)))
    yield tag("td", tag("ul", *(tag("li", *each) for each in requirements(route, words))))
    yield tag("td", tag("code", route.target) if route.target else "")


def requirements(route: Route, words: Words) -> Iterator[tuple[object, ...]]:
    """Yield what a route requires, in its keys' words; each is the content of an item."""
    if route.public:
        yield (tag("span", words("public"), class_="state degraded"),)
        return
    if route.optional:
        yield (tag("span", words("optional"), class_="state degraded"),)
    lists = (
        ("permissions", "all_of", route.permissions),
        ("any_permissions", "any_of", route.any_permissions),
        ("roles", "any_of", route.roles),
        ("issuers", "any_of", sorted(route.issuers)),
        ("callers", "any_of", sorted(route.callers)),
        ("principals", "any_of", sorted(route.principals) if route.principals != USERS else ()),
    )
    bare = not route.optional
    for key, how, names in lists:
        if names:
            bare = False
            several = f"{words(how)} " if len(names) > 1 else ""
            yield (tag("code", key), ": ", several, *_names(list(names)))
    if route.owner is not None:
        bare = False
        unless: tuple[object, ...] = ()
        if route.owner_unless:
            unless = (f" {words('unless')} ", *_names(list(route.owner_unless)))
        yield (tag("code", "owner"), ": ", tag("code", _owner(route, route.owner)), *unless)
    for condition in route.claims:
        bare = False
        values = tuple(_names(_values(condition, route)))
        yield (tag("code", "claims"), ": ", tag("code", condition.name), " = ", *values)
    if bare:
        yield (words("token_only"),)


def _owner(route: Route, index: int) -> str:
    claim = f" = {'.'.join(route.owner_claim)}" if route.owner_claim else ""
    return _segment(route, index) + claim


def _segment(route: Route, index: int) -> str:
    segments = route.path.removeprefix("/").split("/")
    return segments[index] if index < len(segments) else f"#{index}"


def _values(condition: Condition, route: Route) -> list[str]:
    flags = [str(flag).lower() for flag in sorted(condition.flags)]
    return [
        *sorted(condition.texts),
        *flags,
        *(_segment(route, index) for index in condition.segments),
    ]


def _names(names: list[str]) -> Iterator[Html]:
    for number, name in enumerate(names[:MAX_NAMES]):
        yield raw(", " if number else "", tag("code", name))
    if (more := len(names) - MAX_NAMES) > 0:
        yield escaped(f" +{more}")
