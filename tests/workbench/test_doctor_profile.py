"""The data that `doctor` works by: it has every field of Envoy, and its page shows all of it."""

import pytest

from sidecar.workbench.doctor.allowlist import CHECKS
from sidecar.workbench.doctor.profile import load_profile
from tests.support.doctor_page import PAGE, page
from tests.support.envoy_api import messages

PROFILE = load_profile()
EXAMINED = [name for name, message in PROFILE.items() if message.protos]


@pytest.mark.parametrize("name", EXAMINED)
def test_every_field_of_a_message_is_classified(name: str) -> None:
    """What Envoy 1.40 knows, as its own program says: nothing more, nothing less."""
    message = PROFILE[name]
    for proto in message.protos:
        assert proto in messages()
        if not message.opaque:
            assert set(message.rules) == set(messages()[proto])


def test_every_reference_within_the_data_leads_somewhere() -> None:
    for message in PROFILE.values():
        assert message.check in CHECKS
        assert set(message.needs_one) <= set(message.rules)
        for rule in message.rules.values():
            if rule.shape in {"message", "list"}:
                assert rule.argument in PROFILE
            if rule.shape in {"typed", "map_typed"}:
                assert set(rule.argument) <= set(PROFILE)


def test_every_graver_finding_says_why() -> None:
    for message in PROFILE.values():
        for name, rule in message.rules.items():
            if rule.shape == "forbidden":
                assert rule.say, f"{message.name}.{name}"


def test_the_page_is_made_from_the_data() -> None:
    """`python -m tests.support.doctor_page` writes it anew."""
    assert PAGE.read_text(encoding="utf-8") == page()
