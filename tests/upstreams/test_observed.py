"""The tables of ``observed/`` are what the real servers do, today and here."""

import pytest

from tests.upstreams.elsewhere import ELSEWHERE, GO, NGINX, NODE, PHP
from tests.upstreams.page import BEGIN, END, PAGE, rendered
from tests.upstreams.servers import PYTHON, Server
from tests.upstreams.table import look, names, read


@pytest.mark.parametrize("server", PYTHON, ids=lambda server: server.name)
def test_a_python_server_does_what_its_table_says(server: Server) -> None:
    """Else: ``python -m tests.upstreams SERVER``, and see what else has to change."""
    assert look(server).rows == read(server.name).rows


@pytest.mark.parametrize("server", [*NODE, *GO, *NGINX, *PHP], ids=lambda server: server.name)
def test_a_server_that_is_at_hand_does_what_its_table_says(server: Server) -> None:
    """Those that start in less than a second; the others are for the command."""
    if reason := server.missing():
        pytest.skip(reason)
    now, table = look(server), read(server.name)
    if now.version != table.version:
        pytest.skip(f"this is {now.version}, the table is of {table.version}")
    assert now.rows == table.rows


def test_each_table_is_of_a_server_that_can_be_observed_again() -> None:
    """No table is left behind, and none is missing."""
    assert names() == sorted(server.name for server in (*PYTHON, *ELSEWHERE))


def test_the_documentation_shows_what_was_observed() -> None:
    """Its table is a part of these tables."""
    assert f"{BEGIN}{rendered()}{END}" in PAGE.read_text()
