"""Django REST framework: views with ``format_suffix_patterns``, as its tutorial has them."""

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.urls import path as django_path

from tests.upstreams.programs.common import answer, by_path, rewrite
from tests.upstreams.scenario import Registered

VERSION = f"djangorestframework {version('djangorestframework')}, Django {version('django')}"

settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["rest_framework"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="made up",
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    REST_FRAMEWORK={"UNAUTHENTICATED_USER": None},
)
django.setup()

from rest_framework.response import Response  # noqa: E402 -- it reads the settings
from rest_framework.urlpatterns import format_suffix_patterns  # noqa: E402 -- likewise
from rest_framework.views import APIView  # noqa: E402 -- likewise


def run(route: Registered, pattern: str) -> Callable[..., Response]:
    """Return what one method of a view does."""

    def method(_: APIView, __: object, **params: object) -> Response:
        return Response({}, headers=answer(route, pattern, VERSION, params))

    return method


urlpatterns = []
for path, routes in by_path().items():
    plain = rewrite(path, "<NAME>", "<path:rest>").removeprefix("/")
    methods = {method.lower(): run(route, plain) for method, route in routes.items()}
    view: Any = type("View", (APIView,), methods)
    urlpatterns.append(django_path(plain, view.as_view()))
urlpatterns = format_suffix_patterns(urlpatterns)

app = get_wsgi_application()
