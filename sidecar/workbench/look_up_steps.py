"""Puts look-ups into words: what is asked, and what the answer was assumed to be."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from sidecar.config.lookups import SUBJECT
from sidecar.core.tokens.lookups import Answer, Granted, LookUp, NeedsPermissions
from sidecar.core.tokens.verify import Verified
from sidecar.documents.findings import one_line
from sidecar.workbench.steps import Step

if TYPE_CHECKING:
    from sidecar.workbench.engine import PolicyEngine

LOOK_UP: Final = "look-up"


def look_up(question: LookUp, answer: Answer | None, engine: "PolicyEngine") -> Step:
    """Return the step of a look-up and of the answer that was assumed."""
    if isinstance(question, NeedsPermissions):
        section = engine.settings.permissions
        url = "" if section is None else section.url.replace(SUBJECT, quote(question.subject))
        asked = f"permissions are asked for at {url}"
        other = "" if engine.assumed.permissions is not None else "; --permissions gives another"
        if answer is None:
            return Step(LOOK_UP, False, one_line(f"{asked}; the given answer is not usable"))
        return Step(LOOK_UP, None, one_line(f"{asked}; assumed answer: {_granted(answer)}{other}"))
    introspection = engine.settings.issuers[question.issuer].introspection
    url = "" if introspection is None else introspection.url
    asked = f"the token is asked about at {url}"
    if answer is None:
        why = "is not usable" if engine.assumed.verdict is not None else "is not known"
        return Step(LOOK_UP, False, f"{asked}; the answer {why}: give one with --introspection")
    state = "not active"
    if isinstance(answer.value, Mapping) and introspection is not None:
        longest = max(introspection.ttl, introspection.max_stale)
        state = (
            f"active; it counts for {introspection.ttl:g} s, and for {longest:g} s"
            " while the issuer fails"
        )
    return Step(LOOK_UP, None, f"{asked}; assumed answer: {state}")


def confirmation(verified: Verified, engine: "PolicyEngine") -> Iterator[Step]:
    """Yield a step for a JWT whose issuer is asked about each of its tokens."""
    introspection = engine.settings.issuers[verified.issuer].introspection
    if introspection is None or introspection.when != "always":
        return
    if engine.assumed.verdict is None and not verified.asked:
        text = f"the token is asked about at {introspection.url}; assumed answer: active"
        yield Step(LOOK_UP, None, f"{text}; --introspection gives another")


def _granted(answer: Answer) -> str:
    granted = answer.value if isinstance(answer.value, Granted) else Granted(())
    text = ", ".join(granted.permissions) or "no permissions"
    return text if granted.roles is None else f"{text}; roles {', '.join(granted.roles) or 'none'}"
