"""Which instance serves an allowed request, in a gateway."""

from typing import TYPE_CHECKING

from sidecar.core.decisions import Allow, Deny
from sidecar.core.reasons import Reason
from sidecar.core.tokens.principal import Kind
from sidecar.core.trace import Trace

if TYPE_CHECKING:
    from sidecar.core.placement.place import Placements


def placed(allow: Allow, placements: "Placements", trace: Trace | None) -> Allow | Deny:
    """Add the addresses that may serve an allowed request, or deny it where there are none."""
    reason, route, verified, service, others, _ = allow
    target = route.target
    if not target:
        denial = Deny(Reason.NO_UPSTREAM, route, verified, detail="the route has no target")
    elif verified is None or target in placements.fixed:
        # Nothing to choose by: Envoy chooses among the instances that can serve.
        if placements.serves(target):
            if trace:
                why = (
                    "is in gateway.services"
                    if target in placements.fixed
                    else "is asked for without a caller"
                )
                trace.check("placement", True, f"{target} {why}: Envoy chooses")
            return allow
        denial = _no_instance(allow)
    else:
        principal = verified.principal
        servers = placements.place(target, principal.subject, principal.kind is Kind.USER)
        if servers:
            if trace:
                trace.check("placement", True, f"{target}: {', then '.join(servers)}")
            # A NamedTuple's own constructor takes twice as long, and _replace four times.
            return tuple.__new__(Allow, (reason, route, verified, service, others, servers))
        denial = _no_instance(allow)
    if trace:
        trace.check("placement", False, f"{denial.reason}: {denial.detail}")
    return denial


def _no_instance(allow: Allow) -> Deny:
    detail = f"no usable instance of {allow.route.target}"
    return Deny(Reason.NO_UPSTREAM, allow.route, allow.verified, detail=detail)
