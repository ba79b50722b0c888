"""CORS headers (Fetch standard, section 3.3.3) on the sidecar's own responses.

For a mesh whose Envoy has no CORS filter before ext_authz. The upstream's responses need CORS
headers of their own.
"""

from typing import NamedTuple

from sidecar.core.request import Request


class Cors(NamedTuple):
    """Which pages may read responses; ``origins`` are compared byte by byte.

    ``methods`` and ``headers`` are what such a page may send; ``max_age`` is in seconds.
    """

    origins: frozenset[str]
    methods: tuple[str, ...]
    headers: tuple[str, ...]
    credentials: bool
    max_age: int

    def listed_origin(self, request: Request) -> str:
        """Return the request's origin if it is listed, else an empty text."""
        values = request.headers.get("origin", ())
        origin = values[0].decode("latin-1") if len(values) == 1 else ""
        return origin if origin in self.origins else ""

    def answer_headers(self, origin: str, *, preflight: bool) -> dict[str, str]:
        """Return the headers for a listed origin; ``origin`` is empty if it is not listed."""
        headers = {"vary": "Origin"}  # for caches: another origin gets another answer
        if not origin:
            return headers
        headers["access-control-allow-origin"] = origin
        if self.credentials:
            headers["access-control-allow-credentials"] = "true"
        if preflight:
            headers["access-control-allow-methods"] = ", ".join(self.methods)
            if self.headers:
                headers["access-control-allow-headers"] = ", ".join(self.headers)
            headers["access-control-max-age"] = str(self.max_age)
        return headers
