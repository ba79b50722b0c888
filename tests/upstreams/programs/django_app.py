"""Django with ``path()``, CommonMiddleware and APPEND_SLASH, as a new project has them.

``UPSTREAM_IGNORE_CASE`` makes it ``re_path()`` with ``(?i)`` instead.
"""

import os
from collections.abc import Callable
from importlib.metadata import version

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import path as plain_path
from django.urls import re_path

from tests.upstreams.programs.common import answer, rewrite
from tests.upstreams.scenario import ROUTES

VERSION = f"Django {version('django')}, gunicorn {version('gunicorn')}"

settings.configure(
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="made up",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
)
django.setup()


def view(path: str, pattern: str) -> Callable[..., HttpResponse]:
    """Return the view of one path."""
    routes = [route for route in ROUTES if route.path == path]

    def run(request: HttpRequest, **params: object) -> HttpResponse:
        for route in routes:
            if route.method in (None, request.method):
                return HttpResponse(headers=answer(route, pattern, VERSION, params))
        return HttpResponseNotAllowed([])

    return run


urlpatterns = []
for each in dict.fromkeys(route.path for route in ROUTES):
    if "UPSTREAM_IGNORE_CASE" in os.environ:
        regex = rewrite(each.replace(".", r"\."), "(?P<NAME>[^/]+)", "(?P<rest>.+)")
        regex = f"(?i)^{regex.removeprefix('/')}$"
        urlpatterns.append(re_path(regex, view(each, regex)))
    else:
        plain = rewrite(each, "<NAME>", "<path:rest>").removeprefix("/")
        urlpatterns.append(plain_path(plain, view(each, plain)))

app = get_wsgi_application()
