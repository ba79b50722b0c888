"""Observe the installed servers; write their tables, and the page that shows them."""

import argparse
import sys

from tests.upstreams.elsewhere import ELSEWHERE
from tests.upstreams.install import install
from tests.upstreams.page import write_page
from tests.upstreams.servers import PYTHON
from tests.upstreams.table import look, write

SERVERS = {server.name: server for server in (*PYTHON, *ELSEWHERE)}


def main() -> int:
    """Observe. 1 where a server that was named is missing."""
    parser = argparse.ArgumentParser(prog="python -m tests.upstreams", description=__doc__)
    parser.add_argument("--install", action="store_true", help="download packages first")
    parser.add_argument("servers", nargs="*", metavar="SERVER", help="instead of all")
    given = parser.parse_args()
    if given.install:
        install()
    code = 0
    for name in given.servers or SERVERS:
        reason = SERVERS[name].missing()
        if reason:
            print(f"{name}: not observed, {reason}")
            code = code or int(bool(given.servers))
            continue
        observed = look(SERVERS[name])
        write(observed)
        ran = sum("handler" in row for row in observed.rows)
        print(f"{name}: {observed.version}: {ran} of {len(observed.rows)} reached a handler")
    write_page()
    return code


if __name__ == "__main__":
    sys.exit(main())
