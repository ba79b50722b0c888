"""How upstreams read a target: models of servers, written apart from the code under test.

A model is a few steps on bytes, in the server's own order. Each is compared with the table of what
that server was seen to do (test_upstreams_models.py): there is no model that nothing was observed
of. None of them uses marks or looks for trouble.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

Step = Callable[[bytes], bytes]


class RejectedError(Exception):
    """The upstream answers 400 itself."""


class Upstream(NamedTuple):
    """A server: what it does to a target, and then how it compares the path with its routes.

    ``one`` and ``tail`` are the expressions of ``{name}`` and of a last ``/*``. ``first`` names a
    route that it prefers where two match, and neither is the wider.
    """

    steps: tuple[Step, ...]
    one: str = "[^/]+"
    tail: str = "/.+"
    optional_slash: bool = False
    ignore_case: bool = False
    first: str = "end"


def cut_query(target: bytes) -> bytes:
    return target.split(b"?")[0]


def cut_fragment(target: bytes) -> bytes:
    return target.split(b"#")[0]


def decode(path: bytes) -> bytes:
    parts = path.split(b"%")
    out = parts[0]
    for part in parts[1:]:
        escape = re.match(rb"[0-9A-Fa-f]{2}", part)
        out += bytes.fromhex(escape[0].decode()) + part[2:] if escape else b"%" + part
    return out


def decode_all_but_slashes(path: bytes) -> bytes:
    kept = re.split(rb"(%2[Ff])", path)
    return b"".join(part if index % 2 else decode(part) for index, part in enumerate(kept))


def backslashes(path: bytes) -> bytes:
    return path.replace(b"\\", b"/")


def until_nul(path: bytes) -> bytes:
    return path.split(b"\0")[0]


def merge(path: bytes) -> bytes:
    while b"//" in path:
        path = path.replace(b"//", b"/")
    return path


def strip_parameters(path: bytes) -> bytes:
    return b"/".join(segment.split(b";")[0] for segment in path.split(b"/"))


def strip_last_parameters(path: bytes) -> bytes:
    head, slash, last = path.rpartition(b"/")
    return head + slash + last.split(b";")[0]


def cut_parameters(path: bytes) -> bytes:
    return path.split(b";")[0]


def drop_authority(path: bytes) -> bytes:
    if not path.startswith(b"//"):
        return path
    rest = re.sub(rb"\A[^/?#]*", b"", path.lstrip(b"/"))
    return rest if rest.startswith(b"/") else b"/" + rest


def drop_scheme(target: bytes) -> bytes:
    match = re.match(rb"[a-z]+:(//.*)", target, re.DOTALL)
    return drop_authority(match[1]) if match else target


def drop_trailing_slash(path: bytes) -> bytes:
    return path.removesuffix(b"/") or b"/"


def merge_leading_slashes(path: bytes) -> bytes:
    return re.sub(rb"\A/+", b"/", path)


def resolve(path: bytes) -> bytes:
    """Resolve dot segments, encoded ones too, as WHATWG's URL does; the root is its own parent."""
    out: list[bytes] = []
    segments = path.split(b"/")[1:]
    for index, segment in enumerate(segments):
        plain = re.sub(rb"%2[Ee]", b".", segment)
        if plain == b"..":
            del out[-1:]
        if plain in (b".", b".."):
            if index == len(segments) - 1:
                out.append(b"")
        else:
            out.append(segment)
    return b"/" + b"/".join(out)


_WSGI = (drop_scheme, cut_fragment, cut_query)
_NGINX = (cut_fragment, cut_query, decode, merge, resolve)

UPSTREAMS = {
    "aiohttp": Upstream((*_WSGI, decode_all_but_slashes), tail="/.*", first="start"),
    "django": Upstream((*_WSGI, decode)),
    "express4": Upstream(_WSGI, tail="/.*", optional_slash=True, ignore_case=True),
    "express5": Upstream(_WSGI, optional_slash=True, ignore_case=True),
    "flask": Upstream((*_WSGI, merge_leading_slashes, decode), tail="/[^/].*", first="start"),
    "go-gorilla": Upstream((drop_scheme, cut_query, decode), tail="/.*"),
    "nginx": Upstream((drop_scheme, *_NGINX), tail="/.*"),
    "nginx-behind-nginx-decoded": Upstream((drop_scheme, *_NGINX, *_NGINX), tail="/.*"),
    "node-url": Upstream(
        (drop_scheme, drop_authority, cut_fragment, cut_query, backslashes, resolve, decode)
    ),
    "php-parse-url": Upstream((drop_scheme, drop_authority, cut_fragment, cut_query, decode)),
    "python-urlparse": Upstream((*_WSGI, merge_leading_slashes, strip_last_parameters, decode)),
    "spring-5": Upstream(
        (drop_scheme, cut_query, strip_parameters, decode, merge),
        tail="(?:/.*)?",
        optional_slash=True,
        first="start",
    ),
    "spring-7": Upstream(
        (drop_scheme, cut_query, strip_parameters, decode), tail="(?:/.*)?", first="start"
    ),
    "tornado": Upstream((cut_query,), tail="/.*"),
}
"""By the name of the server's table in tests/upstreams."""

_AFTER_DECODING = (
    cut_query,
    cut_fragment,
    merge,
    strip_parameters,
    strip_last_parameters,
    cut_parameters,
    drop_authority,
    drop_trailing_slash,
    resolve,
    backslashes,
    until_nul,
)


@st.composite
def upstreams(draw: st.DrawFn) -> Upstream:
    """Draw a server, or one that takes any steps in any order and decodes once or twice.

    No server is as bad as those: they are there because a chain of servers may be.
    """
    if draw(st.booleans()):
        return draw(st.sampled_from(sorted(UPSTREAMS.items())))[1]
    steps = draw(st.lists(st.sampled_from(_AFTER_DECODING), max_size=6))
    for _ in range(draw(st.integers(0, 2))):
        steps.insert(draw(st.integers(0, len(steps))), decode)
    return Upstream((cut_query, *steps))


def path_of(upstream: Upstream, target: bytes) -> bytes:
    """Return the path that an upstream compares with its routes.

    Raises RejectedError where it would answer 400.
    """
    path = target
    for step in upstream.steps:
        path = step(path)
    if not path.startswith(b"/"):
        raise RejectedError
    return path


def view(upstream: Upstream, target: bytes) -> tuple[str, ...]:
    """Return the segments that an upstream sees; one that never decodes does so at the end.

    Raises RejectedError where it would answer 400.
    """
    segments = path_of(upstream, target).split(b"/")[1:]
    if not any(step in (decode, decode_all_but_slashes) for step in upstream.steps):
        segments = [decode(segment) for segment in segments]
    if segments[-1] == b"":
        segments.pop()
    try:
        return tuple(segment.decode() for segment in segments)
    except UnicodeDecodeError:
        raise RejectedError from None
