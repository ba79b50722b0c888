"""Answers in JSON, and errors as exceptions that handlers raise."""

import json
from typing import Any, NoReturn

from aiohttp import web

JSON = "application/json"


def answer(body: object, status: int = 200) -> web.Response:
    """Return an answer in JSON."""
    return web.Response(text=text_of(body), status=status, content_type=JSON)


def text_of(body: object) -> str:
    """Return JSON; ``<`` is escaped, so that no reader takes it for HTML."""
    return json.dumps(body, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def problem(status: int, code: str, message: str, **headers: str) -> web.Response:
    """Return an error in the form that the sidecar's denials have."""
    response = answer({"error": message, "code": code}, status)
    response.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
    return response


class ProblemError(Exception):
    """An error that a handler raises; the guard answers with it."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def fail(status: int, code: str, message: str) -> NoReturn:
    """Raise a ProblemError."""
    raise ProblemError(status, code, message)


async def body_of(request: web.Request) -> dict[str, Any]:
    """Return the JSON object that a request brings. Raises ProblemError."""
    if request.content_type != JSON:
        fail(415, "UNSUPPORTED_MEDIA_TYPE", "the body must be application/json")
    try:
        body = json.loads(await request.read())
    except (ValueError, RecursionError):
        fail(400, "BAD_REQUEST", "the body is not JSON")
    if not isinstance(body, dict):
        fail(400, "BAD_REQUEST", "the body is not a JSON object")
    return body
