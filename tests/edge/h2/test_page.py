"""The page in ``sidecar.transport.h2`` agrees with the code."""

import re
from pathlib import Path

from sidecar.transport import h2
from sidecar.transport.h2 import account, connection, limits, protocol, receiving, sending, stream

PAGE = h2.__doc__ or ""


def test_the_page_names_every_module() -> None:
    modules = {path.stem for path in Path(h2.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name for name in modules if not re.search(rf"[(`]{name}[)`]", PAGE)} == set()


def test_the_attributes_that_the_page_names_exist() -> None:
    owners = {
        "Account": account.Account(account.Budget(), 0.0),
        "Connection": connection.Connection(account.Budget(), 0.0),
        "H2Protocol": protocol.H2Protocol,
        "Receiver": connection.Connection(account.Budget(), 0.0)._receiver,
        "Sender": connection.Connection(account.Budget(), 0.0).sender,
        "Stream": stream.Stream,
        "limits": limits,
    }
    assert isinstance(owners["Receiver"], receiving.Receiver)
    assert isinstance(owners["Sender"], sending.Sender)
    named = re.findall(r"``(\w+)\.(\w+)``", PAGE)
    assert len(named) > 10
    assert [(owner, name) for owner, name in named if not hasattr(owners[owner], name)] == []
