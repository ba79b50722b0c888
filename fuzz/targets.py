"""Properties that hold for any input, one function per parser; each raises on a violation.

The oracles are those of the tests and share no code with the parsers: models of upstreams for
paths, an independent implementation of the token rules, the hpack library for header blocks.
"""

# ruff: noqa: S101 -- oracles assert, as tests do

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from google.protobuf import text_format
from google.protobuf.message import DecodeError

from demo import minting
from sidecar.core.paths.canonical import ALLOWABLE, PathError, canonicalise
from sidecar.core.tokens.verify import NeedsKey
from sidecar.extauthz.service import CHECK
from sidecar.pb.ext_authz_pb2 import (
    CheckRequest,
    CheckRequestOutline,
    CheckResponse,
    HeaderMap,
)
from tests.core.upstreams import UPSTREAMS, RejectedError, Upstream, view
from tests.edge.h2.targets import decode_blocks, read_frames
from tests.support.checks import service
from tests.support.judging import NOW, verdict
from tests.support.policies import HS256, SECRET, claims, snapshot
from tests.support.signing import compact
from tests.support.token_rule import RuleIssuer, broken
from tests.support.token_world import ISSUERS, RULE_ISSUERS, SIGNERS

SEEDS = Path(__file__).with_name("seeds")
FEATURES = sorted(ALLOWABLE)
RULES = (RuleIssuer(HS256.name, ("HS256",), secrets=(SECRET,)),)
GOOD = minting.sign(claims(time.time(), permissions=["closed:read"]), SECRET)
PUBLIC, CLOSED = "open", "closed"

_service = service(snapshot())
_check = _service.methods().unary[CHECK]


class Target(NamedTuple):
    """A parser to fuzz, with the initial inputs of the fuzzer."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterator[bytes]]


def check_message(octets: bytes) -> None:
    """Check that any CheckRequest is answered, and only public routes and valid tokens allowed."""
    answer = _check(octets, None)
    assert isinstance(answer, bytes)
    response = CheckResponse.FromString(answer)
    reason = response.dynamic_metadata.fields["reason"].string_value
    if response.status.code != 0:
        assert response.denied_response.status.code >= 400 or reason == "preflight_answered"
        return
    assert response.HasField("ok_response")
    try:
        http = CheckRequestOutline.FromString(octets).attributes.request.http
        entries = HeaderMap.FromString(b"".join(http.header_map)).headers
    except DecodeError:
        raise AssertionError("an unreadable request was allowed") from None
    assert len(http.header_map) <= 1
    raw = [entry.raw_value or entry.value.encode() for entry in entries]
    names = [entry.key.lower() for entry in entries]
    target = raw[names.index(":path")] if http.header_map else http.path.encode()
    if reason == "public":
        for upstream in UPSTREAMS.values():
            _assert_seen(upstream, target, PUBLIC)
        return
    tokens = [value for name, value in zip(names, raw, strict=True) if name == "authorization"]
    tokens += [
        text.encode() for name, text in http.headers.items() if name.lower() == "authorization"
    ]
    (value,) = tokens
    assert not broken(value.strip(b" \t")[6:].strip(b" "), RULES, time.time())


def _assert_seen(upstream: Upstream, target: bytes, first: str) -> None:
    try:
        seen = view(upstream, target)
    except RejectedError:
        return
    assert seen[0] == first, seen


def path(octets: bytes) -> None:
    """Check that each upstream's view is among the readings. Two bytes choose the mode."""
    if len(octets) < 2:
        return
    mode, target = int.from_bytes(octets[:2]), octets[2:]
    allow = frozenset(name for bit, name in enumerate(FEATURES) if mode >> bit & 1)
    raw_headers = mode >> len(FEATURES) & 1 == 0
    try:
        found = canonicalise(target, raw_headers=raw_headers, allow=allow)
    except PathError:
        return
    for name, upstream in UPSTREAMS.items():
        try:
            seen = view(upstream, target)
        except RejectedError:
            continue
        # An upstream that keeps %2F cannot distinguish it from %252F, nor can a route.
        known = {*found.readings, *map(_with_slashes, found.readings)}
        assert {seen, _with_slashes(seen)} & known, f"{name} sees {seen} of {target!r}"


def _with_slashes(segments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(each.replace("%2F", "/").replace("%2f", "/") for each in segments)


def token(octets: bytes) -> None:
    """Check that any token is judged as by the rule: signer byte, header, line break, claims."""
    if not octets:
        return
    signer = SIGNERS[octets[0] % len(SIGNERS)]
    header, separator, payload = octets[1:].partition(b"\n")
    raw = compact(header, payload, signer.key, signer.alg) if separator else header
    found = verdict(raw, *ISSUERS)
    reasons = broken(raw, RULE_ISSUERS, NOW)
    if isinstance(found, NeedsKey):
        word = "not_ready" if found.first else "needs_key"
    else:
        word = found.value
    assert (word in reasons) if reasons else (word == "ok"), f"{word}, the rule says {reasons}"


def _lines(name: str) -> Iterator[str]:
    for line in (SEEDS / f"{name}.txt").read_text().splitlines():
        if line and not line.startswith("//"):
            yield line


def _check_seeds() -> Iterator[bytes]:
    for line in _lines("checks"):
        text = line.replace("{token}", GOOD)
        yield text_format.Parse(text, CheckRequest()).SerializeToString()


def _path_seeds() -> Iterator[bytes]:
    for line in _lines("paths"):
        for mode in (0, 0x7F, 0x80):
            yield mode.to_bytes(2) + line.encode().decode("unicode_escape").encode("latin-1")


def _token_seeds() -> Iterator[bytes]:
    for line in _lines("tokens"):
        header, _, payload = line.partition(" ")
        for index, signer in enumerate(SIGNERS):
            kid = "" if signer.kid is None else f',"kid":"{signer.kid}"'
            issuer = "" if signer.issuer is None else f'"iss":"{signer.issuer}",'
            filled = header.replace("{alg}", signer.alg).replace('"{kid}"', kid)
            body = payload.replace('"{iss}"', issuer).replace("{exp}", str(int(NOW) + 600))
            yield bytes([index]) + filled.encode() + b"\n" + body.encode()


def _hex_seeds(name: str) -> Callable[[], Iterator[bytes]]:
    return lambda: (bytes.fromhex(line) for line in _lines(name))


TARGETS = {
    "checks": Target(check_message, _check_seeds),
    "paths": Target(path, _path_seeds),
    "tokens": Target(token, _token_seeds),
    "frames": Target(read_frames, _hex_seeds("frames")),
    "blocks": Target(decode_blocks, _hex_seeds("blocks")),
}
