"""CheckRequest bytes to a request."""

import pytest

from sidecar.extauthz.bounds import CheckProblem, MalformedCheckError
from sidecar.extauthz.envelope import address_of
from sidecar.pb.ext_authz_pb2 import AttributeContext, CheckRequest, CheckRequestOutline
from tests.support.checks import check_request, envelope_of


def test_raw_headers_give_true_bytes_and_their_path_is_judged() -> None:
    """``header_map`` holds what the client sent, ``http.path`` Envoy's cleaned copy."""
    message = check_request(b"/\xff", headers={"X-Name": [b"\xe5", b"b"]})
    request = envelope_of(message).request
    assert request.target == b"/\xff"
    assert request.raw_headers
    assert request.headers["x-name"] == [b"\xe5", b"b"]


def test_cleaned_headers_are_read_and_marked() -> None:
    """Without ``encode_raw_headers`` ``!`` may replace any byte."""
    request = envelope_of(check_request(b"/\xff", raw=False)).request
    assert request.target == b"/!"
    assert not request.raw_headers


def test_a_header_map_value_without_raw_bytes_counts_too() -> None:
    """Both representations of a value are read alike."""
    message = CheckRequest.FromString(check_request(b"/"))
    message.attributes.request.http.header_map.headers.add(key="a", value="text")
    assert envelope_of(message.SerializeToString()).request.headers["a"] == [b"text"]


def test_a_name_in_both_representations_counts_as_repeated() -> None:
    """So that a second Authorization header cannot hide in the other one."""
    message = CheckRequest.FromString(check_request(b"/", headers={"authorization": [b"Bearer a"]}))
    message.attributes.request.http.headers["authorization"] = "Bearer b"
    headers = envelope_of(message.SerializeToString()).request.headers
    assert headers["authorization"] == [b"Bearer b", b"Bearer a"]


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff\xff",
        CheckRequest().SerializeToString(),
        b"\x0a\x04\x22\x02\x12\x00",  # attributes { request { http {} } }
        b"\x0a\x08\x22\x06\x12\x04\x22\x02\xc3\x28",  # a path that is not UTF-8
    ],
    ids=["empty", "noise", "no attributes", "empty http", "invalid text"],
)
def test_a_message_that_is_not_a_check_of_http_is_refused(message: bytes) -> None:
    """By an error that says so, never another one."""
    with pytest.raises(MalformedCheckError):
        envelope_of(message)


def test_no_number_of_headers_takes_long() -> None:
    """The same name a hundred thousand times, as no Envoy would let it through."""
    message = CheckRequestOutline()
    message.attributes.request.http.header_map.append(b"\x0a\x00" * 100_000)
    with pytest.raises(MalformedCheckError, match=CheckProblem.TOO_MANY_HEADERS):
        envelope_of(message.SerializeToString())


@pytest.mark.parametrize("paths", [[], [b"/a", b"/a"]], ids=["none", "two"])
def test_raw_headers_must_hold_one_path(paths: list[bytes]) -> None:
    """None or two leave open what the upstream would get."""
    message = CheckRequest()
    message.attributes.request.http.path = "/a"
    for path in paths:
        message.attributes.request.http.header_map.headers.add(key=":path", raw_value=path)
    with pytest.raises(MalformedCheckError):
        envelope_of(message.SerializeToString())


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"0a0b0c0d-1111-2222-3333-444455556666", "0a0b0c0d-1111-2222-3333-444455556666"),
        (b"", ""),
        (b"a" * 65, ""),
        (b"a\nb", ""),
        (b"-a", ""),
        ("号".encode(), ""),
    ],
)
def test_only_a_sane_request_id_is_taken_over(sent: bytes, shown: str) -> None:
    """A client may have written it."""
    assert envelope_of(check_request(headers={"x-request-id": [sent]})).request_id == shown


def test_two_request_ids_are_none() -> None:
    """Which one the access log has is unknown."""
    message = check_request(headers={"x-request-id": [b"a", b"b"]})
    assert envelope_of(message).request_id == ""


def test_addresses_are_written_as_operators_know_them() -> None:
    """IPv4, IPv6 in brackets, a unix socket, nothing."""
    peer = AttributeContext.Peer()
    assert address_of(peer.SerializeToString()) == ""
    peer.address.socket_address.address = "10.0.0.1"
    peer.address.socket_address.port_value = 80
    assert address_of(peer.SerializeToString()) == "10.0.0.1:80"
    peer.address.socket_address.address = "::1"
    assert address_of(peer.SerializeToString()) == "[::1]:80"
    for path in ("/run/peer.sock", "/run/" + "x" * 300):  # the latter is too long to be remembered
        peer.address.pipe.path = path
        assert address_of(peer.SerializeToString()) == f"unix:{path}"
    assert address_of(b"\xff") == ""
