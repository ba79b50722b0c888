"""The sidecar's own command line, of which a request breaks one function; a test runs it by path.

``x-fault: module:qualified.name:what`` makes that function misbehave for that one Check.
"""

import re
import sys
from collections.abc import Awaitable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from sidecar.cli import main
from sidecar.extauthz.service import CheckService
from tests.security.faults import function_named, misbehaving

ASKED = re.compile(rb"x-fault.{1,6}?([a-z_.0-9]+):([A-Za-z_.]+):([a-z]+)", re.DOTALL)
RESULTS = {"none": None, "true": True, "empty": b"", "list": [], "object": object()}

check = CheckService.check
waiting = CheckService._wait


def act(what: str) -> object:
    """Raise or return what is asked for."""
    if what == "raise":
        raise RuntimeError("a fault that a test injected")
    return RESULTS[what]


def faulty_check(
    self: CheckService, message: bytes, deadline: float | None = None
) -> bytes | Awaitable[bytes]:
    """Check with the fault that the request asks for."""
    found = ASKED.search(message)
    if found is None:
        return check(self, message, deadline)
    module, name, what = (part.decode() for part in found.groups())
    function = function_named(f"{module}:{name}")
    if function is faulty_check:
        return act(what)  # type: ignore[return-value]  # -- the very fault
    with misbehaving(function, lambda: act(what)):
        return check(self, message, deadline)


CheckService.check = faulty_check  # type: ignore[method-assign]  # -- this is what it is for
sys.exit(main())
