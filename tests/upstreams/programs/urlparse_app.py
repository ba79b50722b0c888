"""A program of its own: Python's ``http.server``, ``urlparse`` and ``unquote``."""

import platform
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse

from tests.upstreams.programs.common import answer, rewrite
from tests.upstreams.scenario import ROUTES

VERSION = f"Python {platform.python_version()}'s http.server and urlparse"


class Handler(BaseHTTPRequestHandler):
    """Runs the first route that matches the decoded path."""

    def do_GET(self) -> None:
        """Answer 404 where none does."""
        path = unquote(urlparse(self.path).path)
        for route in ROUTES:
            pattern = rewrite(route.path, "(?P<NAME>[^/]+)", "(?P<rest>.+)")
            found = re.fullmatch(pattern, path)
            if found and route.method in (None, self.command):
                self.send_response(200)
                for name, value in answer(route, pattern, VERSION, found.groupdict()).items():
                    self.send_header(name, value)
                self.end_headers()
                return
        self.send_error(404)

    do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 -- http.server's names


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
