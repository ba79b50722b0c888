"""What is examined by code, under the names that the profile's data has for it."""

from collections.abc import Callable, Iterator, Mapping

from sidecar.documents.findings import Problem
from sidecar.workbench.doctor import cors, filters, logs, routes, service
from sidecar.workbench.doctor.context import Context
from sidecar.workbench.doctor.document import Part

Check = Callable[[Part, Context], Iterator[Problem]]


def _none(_part: Part, _context: Context) -> Iterator[Problem]:
    return iter(())


CHECKS: Mapping[str, Check] = {
    "none": _none,
    "manager": filters.manager,
    "stats_manager": filters.stats_manager,
    "routes": routes.table,
    "headers_added": routes.headers,
    "action": routes.action,
    "stats_route": routes.stats_route,
    "mutations": service.mutations,
    "service": service.service,
    "cors": cors.cors,
    "format": logs.log_format,
    "header_value": logs.header_value,
}
