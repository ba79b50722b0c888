"""HTML whose text is escaped by construction: only ``tag`` and ``raw`` make ``Html``."""

from typing import Final

MAX_TEXT: Final = 512  # characters of one text: names come from clients, issuers and registries

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "`": "&#96;"}
)
_VOID: Final = frozenset({"br", "input", "link", "meta"})


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def shown(value: object) -> str:
    """Return a value as text that can be shown, cut at ``MAX_TEXT`` characters.

    What is not printable is shown as an escape: controls, and marks that change the direction of
    the text around them.
    """
    text = str(value)
    cut = text[:MAX_TEXT]
    if not cut.isprintable():
        cut = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in cut)
    return f"{cut}…" if len(text) > MAX_TEXT else cut


def escaped(value: object) -> Html:
    """Return a value as HTML, safe between tags and in a quoted attribute."""
    return value if isinstance(value, Html) else Html(shown(value).translate(_ESCAPES))


def raw(*parts: object) -> Html:
    """Join parts; those that are not HTML yet are escaped."""
    return Html("".join(map(escaped, parts)))


def tag(name: str, /, *children: object, **attributes: object) -> Html:
    """Return an element. Names and keys are ours: ``_`` in a key is ``-``, one at its end is cut.

    An attribute that is None or False is left out, one that is True has no value.
    """
    written = [name]
    for key, value in attributes.items():
        if value is not None and value is not False:
            attribute = key.rstrip("_").replace("_", "-")
            written.append(attribute if value is True else f'{attribute}="{escaped(value)}"')
    opened = Html(f"<{' '.join(written)}>")
    return opened if name in _VOID else raw(opened, *children, Html(f"</{name}>"))
