"""What a reason says of itself."""

from sidecar.core.reasons import Reason


def test_only_three_reasons_allow() -> None:
    assert {reason for reason in Reason if reason.allows} == {
        Reason.OK,
        Reason.PUBLIC,
        Reason.PREFLIGHT,
    }


def test_failures_of_the_sidecar_and_preflights_are_known_as_such() -> None:
    assert {reason for reason in Reason if reason.is_failure} == {
        Reason.OVERLOADED,
        Reason.INTERNAL,
    }
    assert {reason for reason in Reason if reason.is_preflight} == {
        Reason.PREFLIGHT,
        Reason.PREFLIGHT_ANSWERED,
    }
