"""Judges one request offline with the functions that the running sidecar uses.

``core.decide`` decides, the service's ``Responder`` renders the answer, and ``read_answer`` parses
its bytes. This module has no rules of its own.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sidecar.app import wiring
from sidecar.config import Config
from sidecar.config.files import read_file
from sidecar.core.decision import Allow, Decision, Needs, decide, settle
from sidecar.core.remembering import Permit
from sidecar.core.request import Request
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.key_sets import MAX_DOCUMENT_BYTES, KeySetError, parse_key_set
from sidecar.core.tokens.keys import KeySet
from sidecar.core.tokens.lookups import NO_ANSWERS, Answers, NeedsKey
from sidecar.core.trace import Trace
from sidecar.documents.findings import BadValueError
from sidecar.extauthz.allows import Allows
from sidecar.extauthz.envelope import open_envelope, read_outline
from sidecar.extauthz.envoy_client import EnvoyAnswer, check_message, read_answer
from sidecar.extauthz.respond import Responder
from sidecar.workbench.assumed import Assumed
from sidecar.workbench.principals import (
    Caller,
    Taken,
    TakenAsVerified,
    present,
    take,
    text_target,
)
from sidecar.workbench.revoked import KnownFeed, not_given

DECISION_ID = "offline"  # if the request has no x-request-id
NO_KEY_SET = "there is no key set of this issuer here: use --fetch, or --jwks with a file"
NO_ANSWER = "the answer of a look-up is not known here: see --permissions and --introspection"


class Judged(NamedTuple):
    """The decision on a request, and the answer as Envoy reads it.

    ``answers`` are those to look-ups.
    """

    request: Request
    decision: Decision
    answer: EnvoyAnswer
    answers: Answers = NO_ANSWERS


class PolicyEngine:
    """Judges requests as a sidecar with this configuration would; ``now`` is epoch seconds."""

    def __init__(self, config: Config, now: float) -> None:
        self.snapshot = _with_key_files(wiring.snapshot(config), config, now)
        self.now = now
        self.feed: KnownFeed | None = None
        if (settings := wiring.revocation(config)) is not None:
            self.revoke(not_given(settings))
        self.assumed = Assumed()
        self.settings = config.settings.zervi
        self._responder = Responder(wiring.answers(config)).under(config.policy)

    def judge(
        self,
        request: Request,
        caller: Caller = None,
        trace: Trace | None = None,
        service: Caller = None,
    ) -> Judged:
        """Judge a request with a token, with claims that count as verified, or without either.

        ``service`` is a service that calls for this caller: its token is in the first of
        ``service_token_sources``. Raises UnknownIssuerError for claims of an unknown issuer.
        """
        request, taken = self._carry(request, caller, self.snapshot.token_sources)
        request, other = self._carry(request, service, self.snapshot.service_token_sources)
        verified = TakenAsVerified(*taken, *other)
        envelope = open_envelope(read_outline(check_message(request)), with_peer=True)
        assumed, snapshot = self.assumed, self.snapshot
        if taken:
            assumed = assumed._replace(claimed=taken[0].claimed)
        if assumed.verdict is None:
            snapshot = _without_confirmation(snapshot)
        decision = decide(
            *(envelope.request, snapshot, verified, self.now), trace=trace, answers=assumed
        )
        if isinstance(decision, Needs):
            # A key set's file is as fresh as any that could be fetched.
            needs = decision
            decision = settle(needs, envelope.request, self.snapshot, self.now, fetched=True)
            if not isinstance(needs.question, NeedsKey):
                decision = decision._replace(detail=NO_ANSWER)
            elif needs.question.first:
                decision = decision._replace(detail=NO_KEY_SET)
        decision_id = envelope.request_id or DECISION_ID
        if isinstance(decision, Allow):
            answer = self._responder.build(decision)
            answer += self._responder.addendum(envelope.request, decision_id)
        else:
            answer = self._responder.build(decision, envelope, decision_id)
        return Judged(envelope.request, decision, read_answer(answer), assumed)

    def revoke(self, feed: KnownFeed) -> None:
        """Compare tokens with the entries of this feed."""
        self.feed = feed
        self.snapshot = self.snapshot._replace(revocations=feed.revocations)

    def permit(self, allow: Allow, judged: Judged) -> Permit:
        """Return for how long an Envoy that remembers may remember the allow of a request."""
        return Allows(self.snapshot, self._responder, 1).permit(
            allow, judged.request, self.now, self.now, judged.answers
        )

    def _carry(
        self, request: Request, caller: Caller, sources: Sequence[TokenSource]
    ) -> tuple[Request, tuple[Taken, ...]]:
        """Return the request with a caller's token, and the tokens that count as verified.

        Raises UnknownIssuerError.
        """
        if caller is None or not sources:
            return request, ()
        if isinstance(caller, bytes):
            return present(caller, request, sources[0]), ()
        taken = take(caller, self.snapshot, self.now)
        return present(taken.token, request, sources[0]), (taken,)


def request_of(
    method: str,
    path: str,
    host: str = "",
    headers: Mapping[str, Sequence[str]] | None = None,
    peer: str = "",
) -> Request:
    """Return a request from text as a client sends it; header names in any case."""
    values: dict[str, tuple[bytes, ...]] = {}
    for name, texts in (headers or {}).items():
        values[name.lower()] = (*values.get(name.lower(), ()), *map(str.encode, texts))
    return Request(method, host, text_target(path), values, raw_headers=True, peer=peer)


def _without_confirmation(snapshot: Snapshot) -> Snapshot:
    """Have JWTs count as active: no request is sent here."""
    issuers = [
        issuer._replace(
            introspection=issuer.introspection and issuer.introspection._replace(always=False)
        )
        for issuer in snapshot.issuers
    ]
    return snapshot._replace(issuers=tuple(issuers))


def _with_key_files(snapshot: Snapshot, config: Config, now: float) -> Snapshot:
    """Add the key sets in files; those with a URL count as never fetched."""
    issuers = list(snapshot.issuers)
    for index, issuer in enumerate(config.settings.zervi.issuers):
        if issuer.jwks_file is not None:
            keys = _read_keys(issuer.jwks_file, issuers[index].algorithms, now)
            issuers[index] = issuers[index]._replace(keys=keys)
    return snapshot._replace(issuers=tuple(issuers))


def _read_keys(path: Path, algorithms: frozenset[str], now: float) -> KeySet | None:
    """Return a file's key set, None if the file is not usable, as the running sidecar does."""
    try:
        document = read_file(path, MAX_DOCUMENT_BYTES)
        return parse_key_set(document, algorithms=algorithms, fetched_at=now)
    except (BadValueError, KeySetError):
        return None
