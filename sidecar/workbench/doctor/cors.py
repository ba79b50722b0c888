"""CORS: which pages may read answers, also with a user's cookies."""

from collections.abc import Iterator

from sidecar.documents.findings import Problem
from sidecar.workbench.doctor.context import Context, error, info, warning
from sidecar.workbench.doctor.document import Part
from sidecar.workbench.doctor.expressions import matching

_FOREIGN = ("https://attacker.example", "http://attacker.example:8443", "null", "*")


def cors(part: Part, context: Context) -> Iterator[Problem]:
    """Yield problems of the origins in a CORS policy."""
    credentials = part.get("allow_credentials") not in (None, False)
    if credentials:
        place = (*part.place, part.key("allow_credentials"))
        message = "`allow_credentials` lets the named origins send requests with a user's cookies"
        yield info(place, "cors", message, "leave it out where tokens are sent in Authorization")
    for origin in part.each("allow_origin_string_match"):
        if _is_open(origin, context):
            message = "pages of any origin can read answers"
            message += " to requests with a user's cookies" if credentials else ""
            hint = "name each front end: exact: https://..."
            yield (error if credentials else warning)(origin.place, "cors", message, hint)
        elif not isinstance(origin.get("exact"), str):
            message = "origins are named by a pattern; a foreign name may match it"
            hint = "name each front end: exact: https://..."
            yield (warning if credentials else info)(origin.place, "cors", message, hint)


def _is_open(origin: Part, context: Context) -> bool:
    """Return whether a pattern matches foreign origins."""
    for name, test in (
        ("prefix", str.startswith),
        ("suffix", str.endswith),
        ("contains", str.__contains__),
        ("exact", str.__eq__),
    ):
        text = origin.get(name)
        if isinstance(text, str):
            return any(test(foreign, text.lower()) for foreign in _FOREIGN)
    expression = origin.get("safe_regex", "regex")
    if isinstance(expression, str):
        found = matching(expression, _FOREIGN, context.expressions)
        return found is None or bool(found)
    return True
