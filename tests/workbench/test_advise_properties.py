"""A proposal of `advise` denies nothing that the log allowed, and allows nothing new."""

import json
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from sidecar.core.decision import decide
from sidecar.core.decisions import Allow
from sidecar.core.snapshot import Snapshot
from sidecar.core.tokens.principal import Kind as PrincipalKind
from sidecar.core.tokens.principal import Principal
from sidecar.workbench.advise.findings import ENOUGH, advise
from sidecar.workbench.advise.proposal import NotEditableError, propose
from sidecar.workbench.advise.usage import Usage
from sidecar.workbench.principals import PLACEHOLDER, known, present
from tests.support.policies import HS256, request
from tests.workbench.advising import BEARER, START, compiled_table, snapshot_of

# Tables of overlapping routes, requests to them, and what a narrower table makes of both.
PATHS = ("/a", "/a/b", "/a/b/c", "/b/7", "/a/*", "/*", "/{x}/b", "/*/c", "/a/{x}/*", "/b/*")
_tables = st.lists(
    st.tuples(
        st.sampled_from(PATHS),
        st.sampled_from(
            ["auth_required: false", "permissions: [p]", "permissions: [q]", "roles: [r]"]
        ),
        st.sampled_from(["", "methods: [GET], "]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda each: each[0],
)
_requests = st.tuples(
    st.lists(st.sampled_from(["a", "b", "c", "7", "8"]), max_size=4).map(
        lambda s: "/" + "/".join(s)
    ),
    st.sampled_from(["GET", "POST"]),
    st.sampled_from([(), ("p",), ("q",), ("p", "q")]),
    st.booleans(),
)


def _judge(snapshot: Snapshot, path: str, method: str, held: tuple[str, ...], role: bool) -> Any:
    roles = ("r",) if role else ()
    caller = Principal(
        PrincipalKind.USER, "7", "zervi", roles=roles, permissions=held, granted=frozenset(held)
    )
    asked = present(PLACEHOLDER, request(path.encode(), method), BEARER)
    return decide(asked, snapshot, known(caller), 0.0)


@given(_tables, st.lists(_requests, max_size=8), st.lists(_requests, max_size=20))
@example(
    # `/a` is `/*`'s, and judged by `/a/*` too, which a denial names.
    table=[("/a/*", "permissions: [p]", ""), ("/*", "auth_required: false", "")],
    logged=[("/a", "GET", ("p",), False)],
    others=[],
)
@example(
    # As `/*`'s, `/a` is judged by `/a/*` too; named letter by letter it would not be.
    table=[
        ("/a/*", "auth_required: false", "methods: [GET], "),
        ("/*", "auth_required: false", ""),
    ],
    logged=[("/a", "GET", (), False)],
    others=[("/a", "POST", (), False)],
)
@settings(max_examples=150)
def test_a_proposal_denies_nothing_logged_and_allows_nothing_new(
    table: list[tuple[str, str, str]], logged: list[Any], others: list[Any]
) -> None:
    """Whatever the table, the log, and the requests that it does not have."""
    text = "api_gateway:\n  routes:\n" + "".join(
        f"    - {{path: '{path}', name: r{n}, {methods}{need}}}\n"
        for n, (path, need, methods) in enumerate(table)
    )
    compiled = compiled_table(text)
    if compiled is None:
        return
    old = Snapshot(compiled, (HS256,), (BEARER,))
    counts = Usage(old, START.timestamp())
    decisions = [(each, _judge(old, *each)) for each in logged]
    entries = [
        {
            "method": method, "host": "api.jobfirst.local", "path": path,
            "reason": decision.reason.value, "subject": "7", "principal_kind": "user",
            "issuer": "zervi", "roles": ["r"] if role else [], "permissions": held,
        }
        for (path, method, held, role), decision in decisions
    ]  # fmt: skip
    for _ in counts.take(json.dumps(each).encode() for each in entries * ENOUGH):
        pass
    try:
        proposal = propose(text, compiled, list(advise(counts, old)))
    except NotEditableError:
        return
    new = snapshot_of(proposal.text)
    for each, decision in decisions:
        if isinstance(decision, Allow):
            assert isinstance(_judge(new, *each), Allow)
    for each in others:
        if isinstance(_judge(new, *each), Allow):
            assert isinstance(_judge(old, *each), Allow)
