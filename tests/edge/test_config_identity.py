"""``check`` reports roles that grant more than identity headers can contain."""

from pathlib import Path

import pytest
import yaml

from demo.envoy import connection_manager
from demo.stack import BOOTSTRAPS
from sidecar.core.tokens.name_lists import MAX_IDENTITY_BYTES
from sidecar.core.tokens.principal import IdentityHeaders
from sidecar.documents import own_yaml
from tests.support.findings import review

ISSUER = {"issuer": "zervi", "secret_env": "ZERVI_JWT_SECRET"}
NAMES = IdentityHeaders()
# What the headers of a token with the role `many` take beside its permissions; at the very least,
# for its issuer has a name too.
REST = len(f"{NAMES.subject}1{NAMES.roles}many{NAMES.permissions}")


def found(directory: Path, **changes: object) -> list[tuple[str, str]]:
    """Return severity and message of each finding about too large an identity."""
    zervi = {"issuers": [ISSUER], **changes}
    text = yaml.safe_dump({"zervi": zervi, "policy": {"file": "routes.yaml"}})
    return [
        (each.severity.value, each.message)
        for each in review(directory, text)
        if each.code == "identity-too-large"
    ]


@pytest.mark.parametrize(("over", "count"), [(0, 0), (1, 1)])
def test_a_role_that_identity_headers_cannot_hold_is_found_to_the_byte(
    tmp_path: Path, over: int, count: int
) -> None:
    permission = "p" * (MAX_IDENTITY_BYTES - REST + over)
    told = found(tmp_path, role_permissions={"many": [permission], "few": ["orders:read"]})
    message = "each token with the role `many` is denied: its identity headers exceed 8192 bytes"
    assert told == [("warning", message)] * count


def test_escapes_and_commas_count(tmp_path: Path) -> None:
    assert not found(tmp_path, role_permissions={"many": [f"{n:04}xx" for n in range(1000)]})
    assert found(tmp_path, role_permissions={"many": [f"{n:04}订单" for n in range(1000)]})
    assert found(tmp_path, role_permissions={"many": [f"{n:08}" for n in range(1000)]})


def test_an_issuers_own_grants_are_checked_too(tmp_path: Path) -> None:
    many = {"many": [f"permission:{number}" for number in range(1000)]}
    assert len(found(tmp_path, issuers=[{**ISSUER, "role_permissions": many}])) == 1


def test_names_of_identity_headers_count(tmp_path: Path) -> None:
    text = yaml.safe_dump(
        {
            "zervi": {
                "issuers": [ISSUER],
                "role_permissions": {"many": ["p" * (MAX_IDENTITY_BYTES - REST)]},
            },
            "policy": {"file": "routes.yaml", "identity_headers": {"roles": "x-roles-of-caller"}},
        }
    )
    assert "identity-too-large" in [each.code for each in review(tmp_path, text)]


def test_identity_by_itself_never_exceeds_what_envoy_admits() -> None:
    """The rest is the client's: docs/operations.md says how much."""
    manager = connection_manager(own_yaml.read(BOOTSTRAPS / "envoy.yaml"))
    left = manager["max_request_headers_kb"] * 1024 - MAX_IDENTITY_BYTES
    assert left >= 50 * 1024
    count = manager["common_http_protocol_options"]["max_headers_count"]
    added = len(IdentityHeaders()) - 1  # a user's or a service's, never both
    own = len((":method", ":scheme", ":authority", ":path"))
    by_envoy = len(("x-forwarded-for", "x-forwarded-proto", "x-request-id"))
    assert count - added - own - by_envoy >= 85
