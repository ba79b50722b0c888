"""Flask as its documentation shows it."""

from importlib.metadata import version

import flask

from tests.upstreams.programs.common import answer, methods_of, rewrite
from tests.upstreams.scenario import ROUTES, Registered

VERSION = (
    f"Flask {version('flask')}, Werkzeug {version('werkzeug')}, gunicorn {version('gunicorn')}"
)

app = flask.Flask(__name__, static_folder=None)


def add(route: Registered) -> None:
    """Register one handler."""
    pattern = rewrite(route.path, "<NAME>", "<path:rest>")

    def handler(**params: object) -> flask.Response:
        return flask.Response("", headers=answer(route, pattern, VERSION, params))

    app.add_url_rule(pattern, route.name, handler, methods=methods_of(route))


for each in ROUTES:
    add(each)
