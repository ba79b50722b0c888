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
    target, verified = allow.route.target, allow.verified
    if not target:
        denial = Deny(Reason.NO_UPSTREAM, allow.route, verified, detail="the route has no target")
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
        user = principal.kind is Kind.USER
        servers = placements.place(target, principal.subject, user=user)
        if servers:
            if trace:
                trace.check("placement", True, f"{target}: {', then '.join(servers)}")
            return allow._replace(servers=servers)
        denial = _no_instance(allow)
    if trace:
        trace.check("placement", False, f"{denial.reason}: {denial.detail}")
    return denial


def _no_instance(allow: Allow) -> Deny:
    detail = f"no usable instance of {allow.route.target}"
    return Deny(Reason.NO_UPSTREAM, allow.route, allow.verified, detail=detail)
