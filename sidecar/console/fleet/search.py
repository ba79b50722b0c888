"""Searches, filters, sorts and pages the nodes of a fleet."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from sidecar.console.fleet.fleet import Fleet
from sidecar.console.fleet.nodes import HEALTH, Node

PAGE_SIZE: Final = 50
MAX_PAGE_SIZE: Final = 200
MAX_QUERY: Final = 200  # characters
MAX_WORDS: Final = 8  # each is looked for in every node

_NEVER = -1.0  # what has no value comes first when ascending

SORTS: Final[Mapping[str, Callable[[Node], Any]]] = {
    "id": lambda node: node.id,
    "service": lambda node: (node.service, node.id),
    "health": lambda node: (HEALTH.index(node.report.health), node.id),
    "ready": lambda node: (node.report.ready is True, node.id),
    "heartbeat": lambda node: (_or_never(node.heard_at), node.id),
    "checks": lambda node: (_or_never(node.report.checks), node.id),
    "denials": lambda node: (_or_never(node.report.denials), node.id),
    "p99": lambda node: (_or_never(node.report.p99), node.id),
    "keys": lambda node: (_or_never(node.report.key_set_age), node.id),
    "policy": lambda node: (node.report.digest, node.id),
    "version": lambda node: (node.report.version, node.id),
}


class Search(NamedTuple):
    """What is wanted. ``words`` must all occur; an empty filter admits every node."""

    words: tuple[str, ...] = ()
    health: str = ""
    ready: bool | None = None
    service: str = ""
    digest: str = ""
    version: str = ""
    sort: str = "id"
    descending: bool = False
    page: int = 1
    size: int = PAGE_SIZE


class Found(NamedTuple):
    """One page. ``matched`` is how many nodes match, on all pages."""

    nodes: list[Node]
    matched: int
    page: int
    pages: int


class SearchError(Exception):
    """A query that is not valid; the message names the parameter."""


def read(query: Mapping[str, str]) -> Search:
    """Return the search of a URL's query. Raises SearchError."""
    text = query.get("q", "")
    words = text.lower().split()
    if len(text) > MAX_QUERY or len(words) > MAX_WORDS:
        raise SearchError(f"q has at most {MAX_QUERY} characters and {MAX_WORDS} words")
    filters = {name: query.get(name, "") for name in ("service", "digest", "version")}
    for name, value in filters.items():
        if len(value) > MAX_QUERY:
            raise SearchError(f"{name} has at most {MAX_QUERY} characters")
    return Search(
        tuple(words),
        health=_one_of("health", query.get("health", ""), ("", *HEALTH)),
        ready={"": None, "true": True, "false": False}[
            _one_of("ready", query.get("ready", ""), ("", "true", "false"))
        ],
        **filters,
        sort=_one_of("sort", query.get("sort", "") or "id", tuple(SORTS)),
        descending=_one_of("order", query.get("order", "") or "asc", ("asc", "desc")) == "desc",
        page=_integer("page", query.get("page", "") or "1", 1_000_000),
        size=_integer("size", query.get("size", "") or str(PAGE_SIZE), MAX_PAGE_SIZE),
    )


def search(fleet: Fleet, wanted: Search) -> Found:
    """Return one page of the nodes that match; a page after the last one is the last one."""
    nodes = [node for node in fleet.nodes.values() if _matches(node, wanted)]
    nodes.sort(key=SORTS[wanted.sort], reverse=wanted.descending)
    pages = max(-(-len(nodes) // wanted.size), 1)
    page = min(wanted.page, pages)
    first = (page - 1) * wanted.size
    return Found(nodes[first : first + wanted.size], len(nodes), page, pages)


def _matches(node: Node, wanted: Search) -> bool:
    report = node.report
    return (
        (not wanted.health or report.health == wanted.health)
        and (wanted.ready is None or (report.ready is True) is wanted.ready)
        and (not wanted.service or node.service == wanted.service)
        and (not wanted.digest or report.digest == wanted.digest)
        and (not wanted.version or report.version == wanted.version)
        and all(word in node.words for word in wanted.words)
    )


def _or_never(value: float | None) -> float:
    return _NEVER if value is None else value


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value not in known:
        raise SearchError(f"{name} is one of {', '.join(filter(None, known))}")
    return value


def _integer(name: str, value: str, most: int) -> int:
    if not (value.isascii() and value.isdecimal() and len(value) <= 7 and 1 <= int(value) <= most):
        raise SearchError(f"{name} is a number from 1 to {most}")
    return int(value)
