"""`deploy/rate-limits`: a budget for each caller of a route, by what the sidecar decided."""

from pathlib import Path

from demo.envoy import connection_manager
from demo.ports import Ports
from demo.stack import BOOTSTRAPS, Setup, Stack, running
from sidecar.documents import own_yaml
from tests.support.http1 import send
from tests.support.ports import free_ports_in_a_row

FILTER = Path(__file__).parents[2] / "deploy" / "rate-limits" / "filter.yaml"
BUDGET = 5
TABLE = """\
api_gateway:
  routes:
    - {path: "/api/services/*", name: services}
    - {path: "/api/other/*", name: other}
    - {path: "/open", name: open, auth_required: false}
"""


def with_the_filter() -> Setup:
    manager = connection_manager(own_yaml.read(BOOTSTRAPS / "envoy.yaml"))
    filters = manager["http_filters"]
    names = [each["name"] for each in filters]
    limit = own_yaml.read(FILTER)
    filters.insert(names.index("envoy.filters.http.rbac") + 1, limit)
    return Setup(routes=TABLE, manager={"http_filters": filters})


async def statuses(stack: Stack, path: str, user: str | None, *more: tuple[str, str]) -> list[int]:
    """Return the statuses of more requests than the budget has."""
    token = [("Authorization", f"Bearer {stack.zervi.token(user)}")] if user else []
    answers = [await send(stack.ports.envoy, path, *token, *more) for _ in range(BUDGET + 2)]
    return [answer.status for answer in answers]


async def test_each_caller_has_an_own_budget_on_the_route(tmp_path: Path) -> None:
    """What a client claims of itself changes nothing; other routes and the public have no limit."""
    ports = Ports.from_base(free_ports_in_a_row(len(Ports._fields)))
    async with running(ports, tmp_path, with_the_filter()) as stack:
        spent = [200] * BUDGET + [429] * 2
        assert await statuses(stack, "/api/services/a", "alice") == spent
        claims = ("x-user-id", "99")
        assert set(await statuses(stack, "/api/services/b", "alice", claims)) == {429}
        assert await statuses(stack, "/api/services/a", "bob") == spent
        assert set(await statuses(stack, "/api/other/a", "alice")) == {200}
        assert set(await statuses(stack, "/open", None)) == {200}
        assert set(await statuses(stack, "/api/services/a", None)) == {401}
