"""The language of a page: the viewer's choice in a cookie, else that of the browser."""

from typing import Final, Literal

from aiohttp import web

from sidecar.net.languages import prefers_chinese

Language = Literal["en", "zh"]

LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")
COOKIE: Final = "console-language"
THEME_COOKIE: Final = "console-theme"


def language_of(request: web.Request) -> Language:
    """Return the language to answer in."""
    chosen = request.cookies.get(COOKIE)
    for language in LANGUAGES:
        if chosen == language:
            return language
    return "zh" if prefers_chinese(request.headers.get("Accept-Language", "")) else "en"


def theme_of(request: web.Request) -> str:
    """Return ``dark``, ``light``, or "" for what the system has."""
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in ("dark", "light") else ""
