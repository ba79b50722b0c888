"""What an Envoy that remembers removes before all filters: as the sidecar does, name by name."""

import re

from hypothesis import given
from hypothesis import strategies as st

from demo.stack import BOOTSTRAPS
from sidecar.config import load
from sidecar.core.tokens.credentials import TokenSource
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.extauthz.respond import AnswerSettings, Responder
from sidecar.pb.ext_authz_pb2 import CheckResponse
from sidecar.workbench.generate.remember import Heeded, early_lines, heeded, never_from_clients
from tests.support.policies import request

DECIDES = "x-service-token"
REMOVED = (DECIDES, "proxy", "x-original-url", "x-a1-b")
RESPONDER = Responder(
    AnswerSettings(IdentityHeaders(), REMOVED, token_sources=(TokenSource("header", DECIDES),))
)
HEEDED = Heeded((DECIDES,), RESPONDER.removed)
SEPARATORS = "-!#$%&'*+.^_`|~"  # with letters and digits, all that a header's name may have


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Make a name near a removed one: other separators, one more, one less, another letter."""
    name = draw(st.sampled_from(RESPONDER.removed))
    other = "".join(draw(st.sampled_from(SEPARATORS)) if each == "-" else each for each in name)
    place = draw(st.integers(0, len(other)))
    more = draw(st.sampled_from(["", "", "", "-", ".", "x", "0"]))
    return other[:place] + more + other[place + draw(st.sampled_from([0, 0, 0, 1])) :]


@given(spellings())
def test_envoy_removes_before_all_filters_what_the_sidecar_removes(name: str) -> None:
    """All but a token's header in its own spelling, which the sidecar has to read first."""
    told = CheckResponse.FromString(RESPONDER.addendum(request(headers={name: [b"v"]}), "id"))
    always = set(IdentityHeaders().never_from_clients())
    removed = name in always or name in told.ok_response.headers_to_remove
    found = re.fullmatch(never_from_clients(HEEDED), name) is not None
    assert found is (removed and name != DECIDES)


def test_with_nothing_to_remove_there_is_no_such_part() -> None:
    assert early_lines(never_from_clients(Heeded(("authorization",), ()))) == []
    assert early_lines(never_from_clients(Heeded(("proxy",), ("proxy",)))) == []


def test_a_token_that_stays_here_is_withheld_by_the_filter() -> None:
    config = load(BOOTSTRAPS / "sidecar.yaml", {}, offline=True)
    assert heeded(config).withheld == ()
    assert HEEDED.withheld == (DECIDES,)
