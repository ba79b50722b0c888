"""CORS headers (Fetch standard, section 3.3.3) on what the sidecar answers itself.

For a mesh whose Envoy has no CORS filter before ext_authz. What the upstream answers needs CORS
headers of its own.
"""

from typing import NamedTuple

from sidecar.core.request import Request


class Cors(NamedTuple):
    """Which pages may read answers; ``origins`` are compared byte by byte, ``max_age`` is seconds.

    ``methods`` and ``headers`` are what such a page may send.
    """

    origins: frozenset[str]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    credentials: bool
    max_age: int

    def listed_origin(self, request: Request) -> str:
        """Return the request's origin where it is one of these, else an empty text."""
        values = request.headers.get("origin", ())
        origin = values[0].decode("latin-1") if len(values) == 1 else ""
        return origin if origin in self.origins else ""

    def answer_headers(self, origin: str, *, preflight: bool) -> dict[str, str]:
        """Return the headers of an answer to a page of this listed origin, empty for any other."""
        told = {"vary": "Origin"}  # for caches: another origin gets another answer
        if not origin:
            return told
        told["access-control-allow-origin"] = origin
        if self.credentials:
            told["access-control-allow-credentials"] = "true"
        if preflight:
            told["access-control-allow-methods"] = ", ".join(self.methods)
            if self.headers:
                told["access-control-allow-headers"] = ", ".join(self.headers)
            told["access-control-max-age"] = str(self.max_age)
        return told
