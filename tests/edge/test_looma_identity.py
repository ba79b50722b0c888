"""Service ids that are fit for a URL's path and for a key."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.looma.identity import MAX_ID_CHARACTERS, service_id

TEMPLATE = "{name}-{host}-{port}"


def test_the_template_is_filled_in() -> None:
    filled = service_id(TEMPLATE, name="basic-server", host="pod-7", port=10000)
    assert filled == "basic-server-pod-7-10000"
    assert service_id("fixed", name="a", host="b", port=1) == "fixed"


def test_what_is_filled_in_is_not_a_template_itself() -> None:
    assert service_id("{name}", name="{port}", host="b", port=1).startswith("-port--")


@pytest.mark.parametrize(
    "name", ["a/b", "../../etc", "服务", "a b", "a%2Fb", "a\r\nb", "..", "\ud800"]
)
def test_an_id_that_is_unfit_for_a_path_is_made_fit_and_that_is_said(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    made = service_id("{name}", name=name, host="h", port=1)
    (line,) = caplog.messages
    assert line == f"looma.service.id: {name!a} is not valid in a path, {made} is used"
    assert re.fullmatch(r"[A-Za-z0-9._-]+-[0-9a-f]{8}", made)
    assert made == service_id("{name}", name=name, host="h", port=1)


def test_two_ids_do_not_become_one() -> None:
    made = {
        service_id("{name}", name=name, host="h", port=1) for name in ("用户", "服务", "a/b", "a-b")
    }
    assert len(made) == 4


@pytest.mark.parametrize("template", ["{pod}", "{}", "{name.__class__}", "x-{HOST}"])
def test_another_placeholder_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="none of"):
        service_id(template, name="a", host="b", port=1)


def test_an_empty_id_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        service_id("{name}", name="", host="b", port=1)


@given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
def test_every_id_is_fit_and_distinct(one: str, other: str) -> None:
    ids = [service_id("{name}", name=name, host="h", port=1) for name in (one, other)]
    for made in ids:
        assert re.fullmatch(rf"[A-Za-z0-9._-]{{1,{MAX_ID_CHARACTERS}}}", made)
        assert made.strip(".")
    assert (ids[0] == ids[1]) == (one == other)
