"""How upstreams read a target: models of lenient servers, written apart from the code under test.

A model is a few steps on bytes, in the server's own order. None of them uses marks or looks for
trouble: each just does what such a server does.
"""

import re
from collections.abc import Callable, Sequence

from hypothesis import strategies as st

Step = Callable[[bytes], bytes]


class RejectedError(Exception):
    """The upstream answers 400 itself."""


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


UPSTREAMS: dict[str, Sequence[Step]] = {
    "Express": [cut_query, decode],
    "Express after new URL()": [drop_scheme, drop_authority, cut_fragment, cut_query, resolve],
    "Go's ServeMux": [cut_query, decode, merge, resolve, drop_trailing_slash],
    "nginx": [cut_query, cut_fragment, decode, merge, resolve],
    "nginx that sends the decoded path on": [cut_query, decode, merge, resolve, cut_query, decode],
    "Tomcat": [cut_query, strip_parameters, decode, backslashes, resolve, merge],
    "Tomcat that passes %2F through": [
        cut_query,
        strip_parameters,
        decode_all_but_slashes,
        merge,
        resolve,
    ],
    "an old servlet container": [cut_query, decode, cut_parameters, merge, resolve],
    "Spring": [cut_query, strip_parameters, decode, merge],
    "Spring that decodes first": [cut_query, decode, strip_parameters, merge],
    "PHP's parse_url": [drop_scheme, cut_fragment, cut_query, drop_authority, decode],
    "a C program behind PHP": [cut_query, decode, until_nul, merge, resolve],
    "Python's urlparse": [cut_fragment, cut_query, drop_authority, strip_last_parameters, decode],
    "IIS": [cut_query, decode, backslashes, merge, resolve],
    "an application that decodes again": [cut_query, decode, merge, resolve, decode],
    "two proxies": [cut_query, decode, cut_query, resolve, decode, cut_fragment, merge, resolve],
}

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
def upstreams(draw: st.DrawFn) -> Sequence[Step]:
    """Draw a known upstream, or one that takes any steps in any order and decodes once or twice."""
    if draw(st.booleans()):
        return draw(st.sampled_from(sorted(UPSTREAMS.items())))[1]
    steps = draw(st.lists(st.sampled_from(_AFTER_DECODING), max_size=6))
    for _ in range(draw(st.integers(0, 2))):
        steps.insert(draw(st.integers(0, len(steps))), decode)
    return [cut_query, *steps]


def view(upstream: Sequence[Step], target: bytes) -> tuple[str, ...]:
    """Return the segments that an upstream sees; one that never decodes does so at the end.

    Raises RejectedError where it would answer 400.
    """
    path = target
    for step in upstream:
        path = step(path)
    if not path.startswith(b"/"):
        raise RejectedError
    segments = path.split(b"/")[1:]
    if not any(step in (decode, decode_all_but_slashes) for step in upstream):
        segments = [decode(segment) for segment in segments]
    if segments[-1] == b"":
        segments.pop()
    try:
        return tuple(segment.decode() for segment in segments)
    except UnicodeDecodeError:
        raise RejectedError from None
