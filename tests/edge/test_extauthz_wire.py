"""An allow that is written by hand is, byte for byte, what protobuf writes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.core.decision import Allow
from sidecar.core.reasons import Reason
from sidecar.core.routes.route import Route
from sidecar.core.tokens.principal import IdentityHeaders, Kind, Principal
from sidecar.core.tokens.verify import Verified
from sidecar.extauthz import wire
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.pb.ext_authz_pb2 import CheckResponse, HeaderValueOption
from tests.support.policies import request

NAMES = IdentityHeaders()
ID = "0a0b0c0d-1111-2222-3333-444455556666"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
# Lengths around those at which a varint takes one byte more.
sizes = st.one_of(st.integers(1, 300), st.integers(16_300, 16_400))
values = st.builds(lambda size, letter: letter * size, sizes, st.sampled_from("a7%"))


def by_protobuf(allow: Allow, removed: tuple[str, ...], decision_id: str) -> bytes:
    """Return the same answer as protobuf's objects make it."""
    response = CheckResponse()
    response.status.code = 0
    response.status.SetInParent()
    ok = response.ok_response
    ok.SetInParent()
    identity = allow.verified.identity if allow.verified else ()
    for name, value in identity:
        option = ok.headers.add()
        option.header.key, option.header.value = name, value
        option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    kept = {name for name, _ in identity}
    never_from_clients = {*NAMES.never_from_clients()}
    ok.headers_to_remove.extend(sorted(never_from_clients - kept))
    metadata = {"reason": allow.reason, "route": allow.route.name, "target": allow.route.target}
    if allow.servers:
        metadata["server"] = ",".join(allow.servers)
    if allow.verified:
        metadata["subject"] = allow.verified.principal.subject
    for name, text in metadata.items():
        response.dynamic_metadata.fields[name].string_value = text
    added = CheckResponse()
    added.dynamic_metadata.fields["decision_id"].string_value = decision_id
    parts = [response, added]
    if removed:
        parts.append(CheckResponse())
        parts[-1].ok_response.headers_to_remove.extend(removed)
    return b"".join([part.SerializeToString(deterministic=True) for part in parts])


@given(
    subject=texts,
    identity=st.lists(
        st.tuples(st.sampled_from(NAMES[1:]), values), unique_by=lambda pair: pair[0]
    ),
    first=values,
    removed=st.sets(st.text("abc-", min_size=1, max_size=200), max_size=3).map(tuple),
    name=texts,
    target=texts,
    public=st.booleans(),
    servers=st.lists(st.from_regex(r"[0-9.]{7,15}:[0-9]{1,5}", fullmatch=True), max_size=3),
)
@example("", [], "1", (), "", "", False, [])
@example("", [], "1", (), "", "", True, [])
def test_an_allow_is_what_protobuf_writes(
    subject: str,
    identity: list[tuple[str, str]],
    first: str,
    removed: tuple[str, ...],
    name: str,
    target: str,
    public: bool,
    servers: list[str],
) -> None:
    """Whatever is in it; its metadata sorted, as in protobuf's deterministic serialisation."""
    pairs = ((NAMES.subject or "", first), *identity)
    principal = Principal(Kind.USER, subject, "issuer")
    verified = Verified(b"", principal, 0, None, 0.0, 0.0, 0.0, pairs)
    route = Route(0, name, "/a", target)
    allow = Allow(Reason.PUBLIC, route) if public else Allow(Reason.OK, route, verified)
    allow = allow._replace(servers=tuple(servers))
    responder = Responder(AnswerSettings(NAMES, removed))
    sent = request(headers={name: [b"v"] for name in removed})
    answer = responder.build(allow) + responder.addendum(sent, ID)
    assert answer == by_protobuf(allow, removed, ID)


@given(st.lists(texts.filter(bool), max_size=3), st.lists(texts, max_size=3))
def test_an_addition_is_what_protobuf_writes(cookies: list[str], parameters: list[str]) -> None:
    """A rewritten Cookie header, and parameters that are removed."""
    response = CheckResponse()
    response.ok_response.SetInParent()
    for cookie in cookies:
        option = response.ok_response.headers.add()
        option.header.key, option.header.value = "cookie", cookie
        option.append_action = HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD
    response.ok_response.query_parameters_to_remove.extend(parameters)
    headers = wire.headers([("cookie", cookie) for cookie in cookies])
    added = wire.ok_response([*headers, *wire.query_removals(parameters)])
    assert added == response.SerializeToString(deterministic=True)


@pytest.mark.parametrize("value", ["", None, 7, b"7", ["7"]])
def test_only_a_text_that_is_not_empty_is_a_header_of_an_allow(value: object) -> None:
    """An empty value would let a client's own header pass in some servers."""
    with pytest.raises(TypeError):
        wire.headers([("x-user-id", value)])  # type: ignore[list-item]  # -- this is the point
