"""The console as an aiohttp application: every route in one place."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from aiohttp import web

from sidecar.console.api.events import Events
from sidecar.console.api.fleet import FleetApi
from sidecar.console.api.policies import PoliciesApi
from sidecar.console.api.series import SeriesApi
from sidecar.console.api.users import UsersApi
from sidecar.console.audit import Audit
from sidecar.console.environments.kept import Environments
from sidecar.console.fleet.cluster import Cluster
from sidecar.console.fleet.registry import Registry
from sidecar.console.guard import Guard
from sidecar.console.pages.environments import EnvironmentViews
from sidecar.console.pages.fleet import FleetViews
from sidecar.console.pages.people import PeopleViews
from sidecar.console.pages.shells import MORE, shells
from sidecar.console.pages.static import static_routes
from sidecar.console.people.zervi import Zervi
from sidecar.console.policies.tables import TableFiles
from sidecar.console.prometheus import Prometheus
from sidecar.console.remote import Remote
from sidecar.console.session import Session
from sidecar.console.settings import Settings
from sidecar.ops.writer import LineWriter

MAX_BODY_BYTES = 16 * 1024  # of a request; the largest is a question with a path of 8 KiB


class Parts(NamedTuple):
    """What the handlers work with."""

    settings: Settings
    audit: Audit
    guard: Guard
    zervi: Zervi
    cluster: Cluster
    events: Events
    series: SeriesApi
    policies: PoliciesApi
    environments: Environments | None


PARTS = web.AppKey("parts", Parts)


def parts(settings: Settings, writer: LineWriter) -> Parts:
    """Make everything from the settings; audit lines go to ``writer``. Raises StoreError."""
    audit = Audit(writer)
    looma, section = settings.looma, settings.zervi
    zervi = Zervi(Remote.of("Zervi", section), section.url, section.services)
    prometheus = None
    if settings.prometheus is not None:
        prometheus = Prometheus(Remote("Prometheus"), settings.prometheus.url)
    registry = Registry(Remote.of("the registry", looma), looma.url)
    cluster = Cluster(registry, zervi, prometheus, poll=looma.poll, silent=looma.silent)
    policies = PoliciesApi(TableFiles(settings.policies), cluster)
    cluster.tables = policies.digests
    guard = Guard(settings.console.origin, audit)
    kept = settings.environments
    environments = None if kept is None else Environments(kept, settings)
    events, series = Events(cluster), SeriesApi(prometheus)
    return Parts(settings, audit, guard, zervi, cluster, events, series, policies, environments)


def application(made: Parts) -> web.Application:
    """Return the application."""
    app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[made.guard.middleware()])
    app[PARTS] = made
    app[MORE] = () if made.environments is None else ("environments",)
    app.on_response_prepare.append(made.guard.headers)
    app.cleanup_ctx.append(_closing)
    guard, fleet, policies = made.guard, FleetApi(made.cluster), made.policies
    users = UsersApi(made.zervi, made.cluster, policies, made.settings.looma.silent)
    session = Session(made.zervi, made.audit)
    app.add_routes(
        [
            web.get("/healthz", _health),
            web.post("/session", guard.own_page(session.sign_in)),
            web.delete("/session", guard.own_page(session.sign_out)),
            web.get("/api/me", guard.known(fleet.me)),
            web.get("/api/overview", guard.known(fleet.overview)),
            web.get("/api/events", guard.known(made.events.stream), allow_head=False),
            web.get("/api/series", guard.known(made.series.series)),
            web.get("/api/services", guard.known(fleet.services)),
            web.get("/api/nodes", guard.known(fleet.nodes)),
            web.get("/api/nodes/{id}", guard.known(fleet.node)),
            web.get("/api/users", guard.known(users.users)),
            web.get("/api/users/{id}", guard.known(users.user)),
            web.get("/api/users/{id}/metrics", guard.known(users.metrics)),
            web.get("/api/users/{id}/may", guard.known(users.may)),
            web.post("/api/users/{id}/logout", guard.change("user.logout", users.log_out)),
            web.get("/api/policies", guard.known(policies.policies)),
            web.get("/api/policies/{digest}", guard.known(policies.policy)),
            *FleetViews(made.cluster, fleet).routes(guard),
            *PeopleViews(users, policies).routes(guard),
            *shells(),
            *static_routes(),
        ]
    )
    if made.environments is not None:
        app.cleanup_ctx.append(made.environments.running)
        api = made.environments.api(made.cluster.allocations)
        app.add_routes([*api.routes(guard), *EnvironmentViews(api).routes(guard)])
    return app


async def _health(_request: web.Request) -> web.Response:
    """Answer the sidecar's probe of its upstream."""
    return web.Response(text="ok\n")


async def _closing(app: web.Application) -> AsyncIterator[None]:
    yield
    await app[PARTS].events.close()
    await app[PARTS].series.close()
    await app[PARTS].policies.tables.close()
    await app[PARTS].cluster.close()
