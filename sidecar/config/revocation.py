"""``zervi.revocation``: the feed of revoked tokens, and rules about its keys."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final, Literal

from sidecar.config.addresses import http_url, redis_url
from sidecar.documents.findings import Problem, one_of, quoted
from sidecar.documents.kinds import Choice, Duration, File, List, Optional, Text
from sidecar.documents.schema import Section
from sidecar.documents.untyped import at, duration, mapping, sequence, texts
from sidecar.documents.values import environment_name

PLACE: Final = ("zervi", "revocation")

_SOURCES = ("url", "redis")
_TLS_FILES = ("ca_file", "cert_file", "key_file")
_ON_OUTAGE = ("keep", "deny")


@dataclass(frozen=True, kw_only=True)
class FeedToken:
    """``token``: a file or an environment variable; read for each connection."""

    file: Annotated[Path | None, Optional(File(shown=False))] = None
    env: Annotated[str | None, Optional(Text(environment_name, shown=False))] = None


@dataclass(frozen=True, kw_only=True)
class RevocationSection:
    """``zervi.revocation``: exactly one of ``url`` and ``redis`` is given. Seconds."""

    url: Annotated[str | None, Optional(Text(http_url))] = None
    redis: Annotated[str | None, Optional(Text(redis_url))] = None
    username: Annotated[str | None, Optional(Text())] = None
    token: Annotated[FeedToken | None, Optional(Section(FeedToken))] = None
    ca_file: Annotated[Path | None, Optional(File())] = None
    cert_file: Annotated[Path | None, Optional(File())] = None
    key_file: Annotated[Path | None, Optional(File(shown=False))] = None
    issuers: Annotated[tuple[str, ...] | None, Optional(List(Text(), min_items=1, unique=True))] = (
        None
    )
    poll: Annotated[float, Duration("1s", "5m")] = 5.0
    retain: Annotated[float, Duration("1m", "365d")] = 8 * 86400.0
    max_stale: Annotated[float, Duration("1s", "24h")] = 600.0
    on_outage: Annotated[Literal["keep", "deny"], Choice(_ON_OUTAGE)] = "keep"
    snapshot_file: Annotated[Path | None, Optional(File())] = None


def problems(document: object) -> Iterator[Problem]:
    """Yield each conflict between the keys of ``zervi.revocation``, and with the issuers."""
    feed = mapping(at(document, *PLACE))
    if not feed:
        return
    given = [key for key in _SOURCES if feed.get(key) is not None]
    if not given:
        hint = "give `url` of an HTTP feed, or `redis` of a Redis or Valkey server"
        yield Problem(PLACE, "missing-key", "`revocation` has no feed", hint)
    for key in given[1:]:
        message = f"`{given[0]}` and `{key}` are mutually exclusive"
        yield Problem((*PLACE, key), "exclusive-keys", message)
    yield from _credentials(feed, given)
    yield from _times(feed)
    yield from _issuers(feed, document)


def missing_extra(document: object) -> Iterator[Problem]:
    """Yield an error where Redis is configured and its client is not installed."""
    if at(document, *PLACE, "redis") is not None and find_spec("redis") is None:
        yield Problem(
            (*PLACE, "redis"),
            "environment",
            "`redis` needs the Python package redis, which is not installed",
            "install the extra: pip install 'zervi-sidecar[redis]'",
        )


def _credentials(feed: Mapping[str, object], given: list[str]) -> Iterator[Problem]:
    if feed.get("username") is not None and given and "redis" not in given:
        message = "`username` has no effect without `redis`"
        yield Problem((*PLACE, "username"), "no-effect", message)
    if isinstance(token := feed.get("token"), dict):
        sources = [key for key in ("file", "env") if token.get(key) is not None]
        if not sources:
            message = "`token` has no source"
            yield Problem((*PLACE, "token"), "missing-key", message, "give `file` or `env`")
        for key in sources[1:]:
            message = f"`{sources[0]}` and `{key}` are mutually exclusive"
            yield Problem((*PLACE, "token", key), "exclusive-keys", message)
    elif feed.get("username") is not None:
        message = "`username` needs `token`, which has the password"
        yield Problem((*PLACE, "username"), "missing-key", message)
    for key, other in (("cert_file", "key_file"), ("key_file", "cert_file")):
        if feed.get(key) is not None and feed.get(other) is None:
            yield Problem((*PLACE, key), "missing-key", f"`{key}` needs `{other}`", "give both")
    address = str(feed.get("url") or feed.get("redis") or "").lower()
    if address and not address.startswith(("https:", "rediss:")):
        for key in _TLS_FILES:
            if feed.get(key) is not None:
                message = f"`{key}` has no effect without an https `url` or a rediss `redis`"
                yield Problem((*PLACE, key), "no-effect", message)


def _times(feed: Mapping[str, object]) -> Iterator[Problem]:
    poll = duration(feed.get("poll"), RevocationSection.poll)
    stale = duration(feed.get("max_stale"), RevocationSection.max_stale)
    if poll is not None and stale is not None and stale < 2 * poll:
        yield Problem(
            (*PLACE, "max_stale" if "max_stale" in feed else "poll"),
            "bad-value",
            "`max_stale` must be at least twice `poll`",
            "otherwise one failed poll would count as an outage",
        )


def _issuers(feed: Mapping[str, object], document: object) -> Iterator[Problem]:
    entries = map(mapping, sequence(at(document, "zervi", "issuers")))
    known = list(dict.fromkeys(name for each in entries for name in texts(each.get("issuer"))))
    if feed.get("issuers") is None and len(known) > 1:
        yield Problem(
            PLACE,
            "missing-key",
            "`revocation` requires the key `issuers`, because there are several issuers",
            "name those whose tokens the feed revokes: a user id means someone else elsewhere",
        )
    for index, name in enumerate(sequence(feed.get("issuers"))):
        if isinstance(name, str) and known and name not in known:
            message = f"unknown issuer {quoted(name)}"
            hint = f"it must be {one_of(known)}"
            yield Problem((*PLACE, "issuers", index), "unknown-issuer", message, hint)
