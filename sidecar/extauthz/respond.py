"""A decision to CheckResponse bytes: one function builds that message, a denial in doubt.

Envoy 1.40's behaviour, as tested: an empty CheckResponse is an allow, removal runs after setting,
`raw_value` arrives empty, and `append` is left unset because unset overwrites and collapses
doubles.
"""

import json
import re
from collections.abc import Sequence
from sys import getsizeof
from typing import NamedTuple

from sidecar.core.decision import Allow, Decision, Deny
from sidecar.core.reasons import Reason
from sidecar.core.request import Request
from sidecar.core.routes.table import Policy
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.extauthz import wire
from sidecar.extauthz.cors import Cors
from sidecar.extauthz.envelope import Envelope
from sidecar.extauthz.memory import PLACE, REMOVALS
from sidecar.extauthz.messages import ANSWERS, TITLES, sentence
from sidecar.extauthz.two_generations import SizedTwoGenerationCache
from sidecar.extauthz.withheld import Withheld
from sidecar.net.languages import prefers_chinese
from sidecar.pb.ext_authz_pb2 import CheckResponse, DeniedHttpResponse, HeaderValueOption

RETRY_AFTER_SECONDS = 1  # the sidecar itself retries what failed within about that time

# google.rpc.Code
_INVALID_ARGUMENT = 3
_PERMISSION_DENIED = 7
_UNIMPLEMENTED = 12

# Envoy would translate 400 to INTERNAL and 405 to UNKNOWN for gRPC clients; a `grpc-status` header
# overrides that.
_GRPC_STATUS = {400: _INVALID_ARGUMENT, 405: _UNIMPLEMENTED}

_UNCOMMON = re.compile(
    r"[^a-z0-9\-:\n]"
)  # in names joined by \n; `:` begins Envoy's pseudo-headers
_SEPARATOR = re.compile(r"[^a-z0-9]")

_NOT_AMONG_HEADERS = frozenset({"x-request-id"})  # of a Request

# Cached sets of header names, and the characters of one: similar clients send the same names.
_MAX_REMOVALS = 256
_MAX_NAMES = 1024
_MAX_KEPT = 256  # sets of identity headers: nearly all callers have one of a few


class Challenge(NamedTuple):
    """What `WWW-Authenticate` says: the realm, and where the resource's metadata are (RFC 9728)."""

    realm: str = "zervi"
    resource_metadata: str | None = None

    def header(self, reason: Reason) -> str:
        """Return the header's value for a denial (RFC 6750, section 3)."""
        parts = [f'realm="{self.realm}"']
        if ANSWERS[reason].status == 403:
            parts.append('error="insufficient_scope"')
        elif reason is Reason.MULTIPLE_CREDENTIALS:
            parts.append('error="invalid_request"')
        elif reason is not Reason.TOKEN_MISSING:
            parts.append('error="invalid_token"')
        if self.resource_metadata is not None:
            parts.append(f'resource_metadata="{self.resource_metadata}"')
        return f"Bearer {', '.join(parts)}"


class AnswerSettings(NamedTuple):
    """What is removed from allowed requests, and the CORS headers of responses.

    Header names are lower-case; ``remove_with_hosts`` is for a policy that names hosts.
    ``cors`` is None where Envoy or the upstream sets those headers. ``claim_headers`` are the
    headers that any issuer's claims may set.
    """

    identity_headers: IdentityHeaders = IdentityHeaders()
    remove_headers: tuple[str, ...] = ()
    forward_authorization: bool = True
    token_sources: tuple[TokenSource, ...] = ()
    cors: Cors | None = None
    remove_with_hosts: tuple[str, ...] = ()
    claim_headers: tuple[str, ...] = ()
    challenge: Challenge = Challenge()

    def never_from_clients(self) -> tuple[str, ...]:
        """Return the headers that only the sidecar sets."""
        return (*self.identity_headers.never_from_clients(), *self.claim_headers)


class Responder:
    """Builds CheckResponses, under a policy that ``names_hosts`` or one that does not."""

    def __init__(self, settings: AnswerSettings, *, names_hosts: bool = False) -> None:
        self._settings = settings
        self._names_hosts = names_hosts
        always = set(settings.never_from_clients())
        withheld = () if settings.forward_authorization else settings.token_sources
        always.update(source.name for source in withheld if source.kind == "header")
        named = {*settings.remove_headers, *(settings.remove_with_hosts if names_hosts else ())}
        always |= named & _NOT_AMONG_HEADERS
        removed = always | named
        self._removed = sorted(removed)
        self._always = sorted(always)
        # Envoy takes as long to remove a header that a request does not have, so an answer names
        # these only for a request that has them.
        self._if_sent = named - always
        self._if_unseen = wire.ok_response(wire.removals(sorted(self._if_sent)))
        self._removed_beside: dict[tuple[str, ...], bytes] = {}
        # The token among WebSocket protocols is never one of them to the upstream.
        parts = [each for each in settings.token_sources if each.kind == "websocket_protocol"]
        parts += [each for each in withheld if each not in parts]
        self._withheld = Withheld(parts) if parts else None
        self._protected = frozenset(_SEPARATOR.sub("-", name) for name in removed)
        self._removals: SizedTwoGenerationCache[tuple[str, ...], bytes] = SizedTwoGenerationCache(
            _MAX_REMOVALS, REMOVALS, _size_of_removals
        )

    def under(self, policy: Policy) -> "Responder":
        """Return the responder for this policy."""
        if policy.names_hosts is self._names_hosts:
            return self
        return Responder(self._settings, names_hosts=policy.names_hosts)

    @property
    def removed(self) -> tuple[str, ...]:
        """The headers that no allowed request keeps as the client sent them, sorted."""
        return tuple(self._removed)

    @property
    def token_sources(self) -> tuple[TokenSource, ...]:
        """The places of tokens, of users and of services."""
        return self._settings.token_sources

    def build(
        self, decision: Decision, envelope: Envelope | None = None, decision_id: str = ""
    ) -> bytes:
        """Return a whole denial, or the part of an allow that depends only on principal and route.

        Append ``addendum`` to the latter: protobuf merges messages that follow each other.
        ``envelope`` is None where the message could not be read. Raises TypeError for an invalid
        identity.
        """
        if isinstance(decision, Allow) and decision.reason.allows:
            return self._allow(decision)
        response = CheckResponse()
        response.status.code = _PERMISSION_DENIED
        response.denied_response.status.code = ANSWERS[Reason.INTERNAL].status
        if isinstance(decision, Deny):
            self._deny(response, decision, envelope, decision_id)
        for name, value in _metadata(decision, decision_id).items():
            response.dynamic_metadata.fields[name].string_value = value
        return response.SerializeToString()

    def listed_origin(self, envelope: Envelope | None) -> str:
        """Return the request's origin if ``cors`` lists it: denials name it."""
        cors = self._settings.cors
        return "" if cors is None or envelope is None else cors.listed_origin(envelope.request)

    def addendum(self, request: Request, decision_id: str) -> bytes:
        """Return the part of an allow that is the request's own: its decision id and its removals.

        It removes the request's own ``remove_headers``, other spellings of removed headers, and
        tokens that are not forwarded. Many upstreams read ``x_user_id`` as ``x-user-id`` (CGI's
        rule); Envoy removes only the exact name. ``decision_id`` is ASCII.
        """
        encoded = decision_id.encode("ascii")
        names = tuple(request.headers)
        removals = self._removals.get(names)
        if removals is None:
            removals = self._removals_of(names)
            if sum(map(len, names)) <= _MAX_NAMES:
                self._removals.put(names, removals)
        if not request.raw_headers:  # Envoy may have withheld headers from the Check
            removals += self._if_unseen
        if self._withheld is not None:
            removals += self._withheld.of(request)
        return wire.before_decision_id(len(encoded)) + encoded + removals

    def is_plain(self, request: Request) -> bool:
        """Say whether an allow removes nothing but whole headers of ``removed`` from a request."""
        if self._withheld is not None and self._withheld.of(request):
            return False
        return not self._other_spellings(tuple(request.headers))

    def _removals_of(self, names: Sequence[str]) -> bytes:
        """Return the part of an answer that removes headers because of their names."""
        sent = [name for name in names if name in self._if_sent]
        removed = sent + self._other_spellings(names)
        return wire.ok_response(wire.removals(removed)) if removed else b""

    def _other_spellings(self, names: Sequence[str]) -> list[str]:
        """Return the names that are other spellings of removed headers."""
        if not _UNCOMMON.search("\n".join(names)):
            return []
        odd = [name for name in names if _SEPARATOR.sub("-", name) in self._protected]
        return [name for name in odd if _UNCOMMON.search(name)]

    def identity(self, decision: Allow) -> tuple[tuple[str, str], ...]:
        """Return the identity headers of an allow. Raises TypeError for an invalid identity."""
        verified = decision.verified
        identity = () if verified is None else verified.identity
        names = self._settings.identity_headers
        if decision.service is not None and names.service is not None:
            ((name, value),) = decision.service.identity[:1]
            if name != names.service:
                raise TypeError("a service's identity must begin with its id")
            identity += ((name, value),)
        begins = (names.subject, names.service)
        if decision.reason is Reason.OK and None not in begins and identity[0][0] not in begins:
            raise TypeError("an identity must begin with the subject or the service")
        return identity

    def _allow(self, decision: Allow) -> bytes:
        identity = self.identity(decision)
        parts = wire.headers(identity)
        if type(identity) is not tuple or len(parts) != len(identity):
            raise TypeError("the answer lacks a part of the identity")
        # Envoy would remove a name that is in both lists. There are few sets of identity headers.
        kept = next(zip(*identity, strict=True), ())  # the names
        removals = self._removed_beside.get(kept)
        if removals is None:
            others = [name for name in self._always if name not in kept]
            removed = wire.removals(others)
            if len(removed) != len(others):
                raise TypeError("the answer lacks a removal")
            if len(self._removed_beside) >= _MAX_KEPT:
                self._removed_beside.clear()
            removals = self._removed_beside[kept] = b"".join(removed)
        headers = b"".join((*parts, removals))
        route = decision.route
        metadata, target = wire.route_metadata(decision.reason, route.name, route.target)
        if decision.servers:
            metadata += wire.entry("server", ",".join(decision.servers).encode())
        if decision.service is not None:
            metadata += wire.entry("service", decision.service.principal.subject.encode())
        if decision.verified is not None:
            verified = decision.verified
            metadata += wire.entry("subject", verified.principal.subject.encode())
        metadata += target
        answer = wire.allow(headers, metadata)
        if len(answer) <= len(headers) + len(metadata):
            raise TypeError("the answer lacks a part")
        return answer

    def _deny(
        self, response: CheckResponse, decision: Deny, envelope: Envelope | None, decision_id: str
    ) -> None:
        denied = response.denied_response
        denied.status.code = ANSWERS[decision.reason].status
        preflight = decision.reason is Reason.PREFLIGHT_ANSWERED
        headers = {}
        if not preflight:
            challenge = self._settings.challenge
            headers = _refusal(denied, decision, envelope, decision_id, challenge)
        if self._settings.cors is not None:
            origin = self.listed_origin(envelope)
            headers |= self._settings.cors.answer_headers(origin, preflight=preflight)
        for name, value in headers.items():
            option = denied.headers.add()  # in place: a separate message would be copied
            option.header.key, option.header.value = name, value
            option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def _size_of_removals(names: tuple[str, ...], removals: bytes) -> int:
    return PLACE + sum(map(getsizeof, names)) + len(removals)


def _refusal(
    denied: DeniedHttpResponse,
    decision: Deny,
    envelope: Envelope | None,
    decision_id: str,
    challenge: Challenge,
) -> dict[str, str]:
    """Write a denial's body; return its headers."""
    text = ANSWERS[decision.reason]
    chinese = envelope is not None and prefers_chinese(envelope.first("accept-language"))
    headers = {"content-type": "application/json", "cache-control": "no-store"}
    if text.status == 401 or text.code == "INSUFFICIENT_PERMISSIONS":
        headers["www-authenticate"] = challenge.header(decision.reason)
    elif text.status == 405:
        headers["allow"] = ", ".join(decision.needs)
    elif text.status == 503:
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    if envelope is not None and envelope.is_grpc and text.status in _GRPC_STATUS:
        headers["grpc-status"] = str(_GRPC_STATUS[text.status])
    body = {
        "error": TITLES[text.code][chinese],
        "code": text.code,
        "message": sentence(decision, chinese=chinese),
        "reason": decision.reason,
        "decision_id": decision_id,
    }
    # A gRPC client gets the body as its status message; for others it is a line, with a newline.
    end = "" if envelope is not None and envelope.is_grpc else "\n"
    denied.body = json.dumps(body, ensure_ascii=False) + end
    return headers


def _metadata(decision: Decision, decision_id: str) -> dict[str, str]:
    fields: dict[str, str] = {"reason": decision.reason}
    if decision.route is not None:
        fields["route"] = decision.route.name
        fields["target"] = decision.route.target
    if decision.verified is not None:
        fields["subject"] = decision.verified.principal.subject
    if decision_id:
        fields["decision_id"] = decision_id
    return fields
