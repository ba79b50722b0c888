"""How upstreams read a path: the values of ``policy.upstream``, as plain data.

Each row was observed at real servers in the versions that people run: ``docs/upstreams.md`` and
``tests/upstreams`` have the observations. Where versions or settings differ, a row has all
readings.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

LISTED_SUFFIXES: Final = frozenset({"json", "xml", "html", "txt", "csv", "js", "yaml", "api"})
"""Suffixes that ``generic`` drops as a format: ``/admin.json`` is ``/admin`` then."""

ANY_SUFFIX: Final = None


class Upstream(NamedTuple):
    """How an upstream differs from matching the decoded segments exactly.

    - ``ignores_case``: a literal matches in upper and lower case.
    - ``compares_encoded``: a literal is compared before percent-escapes are decoded, so ``%40me``
      is not ``@me``.
    - ``suffixes``: what may follow a literal and a dot at the path's end; ANY_SUFFIX for anything.
    - ``ignores_slash``: ``/x/`` is ``/x``.
    - ``keeps_slash``: ``/x/`` is not ``/x``; ``/x/*`` takes it, or a route that is less specific.
    - ``empty_captures``: ``/x/{name}`` takes ``/x/``.
    - ``slashed_captures``: ``/x/{name}`` takes ``/x/y/`` where ``/x/y`` is a route of its own.
    - ``empty_tails``: ``/x/*`` takes ``/x`` where no route names that.
    - ``dots_end_captures``: a ``{name}`` that is not the last segment takes none with a dot.
    - ``empty_parts``: a ``{name}`` between literals takes nothing: ``/x/.json`` is
      ``/x/{name}.json``.
    - ``literals_end_captures``: a ``{name}`` before a literal takes none of its first character:
      ``/x/a.b.json`` is not ``/x/{name}.json``.
    - ``front_controller``: a first segment that is dropped, empty for none.
    """

    ignores_case: bool = False
    compares_encoded: bool = False
    suffixes: frozenset[str] | None = frozenset()
    ignores_slash: bool = False
    keeps_slash: bool = False
    empty_captures: bool = False
    slashed_captures: bool = False
    empty_tails: bool = False
    dots_end_captures: bool = False
    empty_parts: bool = False
    literals_end_captures: bool = False
    front_controller: str = ""


GENERIC: Final = "generic"

_PHP = "index.php"

UPSTREAMS: Final[Mapping[str, Upstream]] = {
    # All but `dots_end_captures`, which would take ids such as a@b.com from their owners.
    GENERIC: Upstream(
        ignores_case=True,
        compares_encoded=True,
        suffixes=LISTED_SUFFIXES,
        ignores_slash=True,
        keeps_slash=True,
        empty_captures=True,
        slashed_captures=True,
        empty_tails=True,
        empty_parts=True,
        literals_end_captures=True,
        front_controller=_PHP,
    ),
    # net/http, chi, gorilla, gin, Echo. Fiber is like Express.
    "go": Upstream(
        compares_encoded=True,
        keeps_slash=True,
        slashed_captures=True,
        empty_tails=True,
        empty_parts=True,
        literals_end_captures=True,
    ),
    # Express, Koa, Fiber
    "express": Upstream(
        ignores_case=True, compares_encoded=True, ignores_slash=True, empty_tails=True
    ),
    # with Django REST framework, which takes `/x.json/` for `/x`
    "django": Upstream(
        suffixes=ANY_SUFFIX, ignores_slash=True, keeps_slash=True, slashed_captures=True
    ),
    "rails": Upstream(
        compares_encoded=True,
        suffixes=ANY_SUFFIX,
        ignores_slash=True,
        empty_tails=True,
        dots_end_captures=True,
    ),
    "laravel": Upstream(
        ignores_slash=True, empty_tails=True, literals_end_captures=True, front_controller=_PHP
    ),
    "symfony": Upstream(
        suffixes=ANY_SUFFIX,
        keeps_slash=True,
        empty_tails=True,
        literals_end_captures=True,
        front_controller=_PHP,
    ),
    # Spring 5 and later: up to 5.2 it takes `/x.json` for `/x`, up to 5.3 `/x/` too
    "spring": Upstream(
        suffixes=ANY_SUFFIX,
        ignores_slash=True,
        keeps_slash=True,
        empty_tails=True,
        empty_parts=True,
    ),
    "aspnet": Upstream(ignores_case=True, ignores_slash=True, empty_tails=True),
    "fastapi": Upstream(keeps_slash=True),
    # with locations that ignore case (`~*`)
    "nginx": Upstream(ignores_case=True, keeps_slash=True),
}
