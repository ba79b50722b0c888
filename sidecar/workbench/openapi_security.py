"""What an operation's ``security`` requires, as permissions of a route.

OpenAPI 3.1, section 4.8.30: one of the list's alternatives is enough, all schemes of an alternative
are required.
"""

from collections.abc import Mapping, Sequence

from sidecar.documents.untyped import at, mapping, texts
from sidecar.workbench.drafts import Need

MAX_ALTERNATIVES = 100  # that are compared with each other; more are all required

_Scopes = tuple[str, ...]


def required(security: object, document: object) -> tuple[Need, list[str]]:
    """Return what is required, at least what the document says, and what differs.

    Without ``security``, or if anonymous use is one of several alternatives, a token is required:
    an imported table must not open anything by default.
    """
    if security == []:
        return Need(public=True), []
    if not isinstance(security, list):
        return Need(), [] if security is None else ["`security` is not a list; a token is needed"]
    notes: list[str] = []
    if any(choice in ({}, None) for choice in security):
        notes.append("calls without a token are denied, although the document allows them")
    choices = [mapping(choice) for choice in security if choice not in ({}, None)]
    with_token = [choice for choice in choices if _schemes(choice, document, token=True)]
    others = [name for each in choices for name in _schemes(each, document, token=False)]
    if others and not with_token:
        notes.append(f"a token is needed instead of {', '.join(dict.fromkeys(others))}")
    scopes = [_scopes(choice) for choice in with_token or choices]
    need, exact = _need(_minimal(scopes) if len(scopes) <= MAX_ALTERNATIVES else scopes)
    if not exact:
        notes.append("a route cannot express these alternatives, so it requires all their scopes")
    return need, notes


def unchecked(document: object) -> list[str]:
    """Return the names of the security schemes that are not bearer tokens."""
    schemes = at(document, "components", "securitySchemes") or at(document, "securityDefinitions")
    return _schemes(mapping(schemes), document, token=False)


def _schemes(choice: Mapping[str, object], document: object, *, token: bool) -> list[str]:
    """Return the schemes of an alternative that are bearer tokens, or those that are not."""
    return [name for name in choice if _is_token(name, document) is token]


def _is_token(name: str, document: object) -> bool:
    """Say whether a scheme is a bearer token; one that is not defined counts as one."""
    scheme = at(document, "components", "securitySchemes", name)
    if scheme is None:
        scheme = at(document, "securityDefinitions", name)  # Swagger 2.0
    kind, how = at(scheme, "type"), at(scheme, "scheme")
    if kind == "http":
        return not isinstance(how, str) or how.lower() == "bearer"
    # In Swagger 2.0 the only way to describe a bearer token is an "Authorization" API key.
    in_header = at(scheme, "in") == "header" and str(at(scheme, "name")).lower() == "authorization"
    return kind not in ("apiKey", "mutualTLS", "basic") or (kind == "apiKey" and in_header)


def _scopes(choice: Mapping[str, object]) -> _Scopes:
    return tuple(dict.fromkeys(scope for each in choice.values() for scope in texts(each)))


def _minimal(alternatives: Sequence[_Scopes]) -> list[_Scopes]:
    """Leave out each alternative that requires all of another one, and more."""
    unique = list(dict.fromkeys(alternatives))
    return [
        each for each in unique
        if not any(set(other) < set(each) for other in unique)
    ]  # fmt: skip


def _need(alternatives: Sequence[_Scopes]) -> tuple[Need, bool]:
    """Return requirements, and whether they are exactly the alternatives."""
    if not alternatives:
        return Need(), True
    common = [scope for scope in alternatives[0] if all(scope in each for each in alternatives)]
    rests = [[scope for scope in each if scope not in common] for each in alternatives]
    if all(not rest for rest in rests):
        return Need(False, tuple(common)), True
    if all(len(rest) == 1 for rest in rests):
        return Need(False, tuple(common), tuple(rest[0] for rest in rests)), True
    return Need(False, tuple(dict.fromkeys(s for each in alternatives for s in each))), False
