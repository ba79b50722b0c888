"""The one error of everything that judges a token."""

from sidecar.core.reasons import Reason


class TokenError(Exception):
    """A token that proves nothing, or (``not_ready``) one that cannot be judged now.

    ``detail`` is for the operator's log, never for the client. It says which rule was broken and
    quotes nothing of the token. ``needs`` is for the client: the scheme that it has to name.
    """

    def __init__(self, reason: Reason, detail: str, needs: tuple[str, ...] = ()) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.needs = needs
