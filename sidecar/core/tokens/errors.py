"""The error for every token that is not accepted."""

from sidecar.core.reasons import Reason


class TokenError(Exception):
    """A token is not accepted, or (``not_ready``) cannot be verified now.

    ``detail`` is only for the operator's log. It names the rule that was broken and quotes nothing
    of the token. ``needs`` is for the client: the scheme that it must use.
    """

    def __init__(self, reason: Reason, detail: str, needs: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.needs = needs
