"""The page over HTTP: GET only, from this machine, and nothing of it in another site's page.

Loopback does not authenticate: web pages in a browser, and names that an attacker points to
127.0.0.1 (DNS rebinding), reach it. So the Host is compared, the answers carry a policy that no
other origin may embed or read them, and a request that another site's page causes is refused.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from importlib.resources import files
from ipaddress import ip_address
from typing import Final
from urllib.parse import parse_qsl

from sidecar.net.languages import prefers_chinese
from sidecar.ops.page import document
from sidecar.ops.page.explaining import Explaining, Explanation, NotExplainedError
from sidecar.ops.page.facts import About, Facts, View
from sidecar.ops.page.recent import Entry, Filter
from sidecar.ops.page.texts import Language, words_of
from sidecar.ops.routes import OpsAnswer
from sidecar.ops.server import GET, Asked, error, not_allowed

_CONTENT: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types page"
)
HEADERS: Final = (
    ("Content-Security-Policy", _CONTENT),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Frame-Options", "DENY"),
)

HTML: Final = "text/html; charset=utf-8"
MAX_QUERY: Final = 2048  # characters; the fields of the page's forms have at most 200 each
MAX_FIELDS: Final = 16
MAX_NUMBER: Final = 15  # digits of a decision's number, or of a place in the table

_STATIC: Final = {
    "/static/base.css": "text/css; charset=utf-8",
    "/static/page.css": "text/css; charset=utf-8",
    "/static/page.js": "text/javascript; charset=utf-8",
    "/static/icon.svg": "image/svg+xml",
}
_PORT = re.compile(r":[0-9]{1,5}\Z")


class Site:
    """Answers the page's requests.

    ``collect`` returns the facts for a view; ``find`` a decision by its number.
    """

    def __init__(
        self,
        about: About,
        collect: Callable[[View], Facts],
        find: Callable[[int], Entry | None],
        explaining: Explaining,
    ) -> None:
        self._about = about
        self._collect = collect
        self._find = find
        self._explaining = explaining
        self._rendering = asyncio.Lock()
        self._static = {path: _static(path, kind) for path, kind in _STATIC.items()}

    async def answer(self, asked: Asked) -> OpsAnswer:
        """Answer a request."""
        if not is_local(asked.headers.get("host", "")):
            return error(421, "the Host must be localhost or a loopback address")
        if asked.method not in ("GET", "HEAD"):
            return not_allowed(GET)
        if _is_foreign(asked.headers):
            return error(403, "another site caused this request")
        if asked.path in self._static:
            return self._static[asked.path]
        if asked.path not in ("/", "/explain"):
            return error(404, "not found")
        fields = _fields(asked.query)
        if fields is None:
            return error(400, "the query is not valid")
        language = _language(fields, asked.headers)
        if asked.path == "/explain":
            return await self._explain(fields, language)
        view = View(
            language,
            Filter(fields.get("decision", ""), fields.get("reason", ""), fields.get("route", "")),
            fields.get("q", ""),
            _number(fields.get("from", "")),
        )
        async with self._rendering:  # one thread: more would take time from the Checks
            found = await asyncio.to_thread(document.page, self._collect(view), view)
        return OpsAnswer(200, found, HTML)

    async def _explain(self, fields: Mapping[str, str], language: Language) -> OpsAnswer:
        entry = self._find(_number(fields.get("n", "")))
        if entry is None:
            return OpsAnswer(404, document.missing(self._about, language), HTML)
        status = 200
        found: Explanation | list[str]
        try:
            found = await self._explaining.explain(entry.line)
        except NotExplainedError as why:
            found = [words_of(language)(why.word), *filter(None, (str(why),))]
            status = 503 if why.word == "explain_busy" else 200
        page = document.explanation(entry, found, self._about, language)
        return OpsAnswer(status, page, HTML)


def is_local(host: str) -> bool:
    """Say whether a Host header is ``localhost`` or a loopback literal, with any port."""
    name = _PORT.sub("", host).lower()
    if name == "localhost":
        return True
    if name.startswith("[") != name.endswith("]") or (":" in name and name[:1] != "["):
        return False
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_foreign(headers: Mapping[str, str]) -> bool:
    """Say whether another site's page caused a request (Fetch Metadata); following a link may."""
    if headers.get("sec-fetch-site", "none") in ("none", "same-origin"):
        return False
    navigates = headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest")
    return navigates != ("navigate", "document")


def _fields(query: str) -> dict[str, str] | None:
    """Return the query's fields, None for one that is not the page's."""
    if len(query) > MAX_QUERY:
        return None
    try:
        return dict(parse_qsl(query, encoding="utf-8", max_num_fields=MAX_FIELDS))
    except ValueError:
        return None


def _language(fields: Mapping[str, str], headers: Mapping[str, str]) -> Language:
    chosen = fields.get("lang")
    if chosen in ("en", "zh"):
        return "zh" if chosen == "zh" else "en"
    return "zh" if prefers_chinese(headers.get("accept-language", "")) else "en"


def _number(text: str) -> int:
    """Return a number of the page's own, 0 for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_NUMBER else 0


def _static(path: str, kind: str) -> OpsAnswer:
    content = files("sidecar.ops.page") / path.removeprefix("/")
    return OpsAnswer(200, content.read_bytes(), kind)
