"""The models of upstreams.py read as the servers that they are models of were seen to read."""

import re

import pytest

from sidecar.core.paths.canonical import ALLOWABLE, PathError, canonicalise
from tests.core.upstreams import UPSTREAMS, RejectedError, Upstream, path_of
from tests.upstreams.scenario import ROUTES
from tests.upstreams.table import read

# The second nginx takes a space at the end of a path for the end of the path.
NOT_MODELLED = {
    ("nginx-behind-nginx-decoded", "/docs/secret%20"),
    ("nginx-behind-nginx-decoded", "/api/admin%20"),
}


def handler(upstream: Upstream, target: bytes) -> str | None:
    """Return the first route that matches what a model makes of a GET, None where none does."""
    try:
        path = path_of(upstream, target).decode()
    except (RejectedError, UnicodeDecodeError):
        return None
    flags = re.DOTALL | (re.IGNORECASE | re.ASCII if upstream.ignore_case else 0)
    for route in sorted(ROUTES, key=lambda route: route.name != upstream.first):
        pattern = re.escape(route.path).replace(r"/\*", upstream.tail)
        pattern = re.sub(r"\\\{\w+\\\}", lambda _: upstream.one, pattern)
        pattern += "/?" if upstream.optional_slash else ""
        if route.method in (None, "GET") and re.fullmatch(pattern, path, flags):
            return route.name
    return None


def acceptable(target: bytes) -> bool:
    """Say whether any policy passes a target; the models need not hold for others."""
    try:
        canonicalise(target, raw_headers=True, allow=ALLOWABLE)
    except PathError:
        return False
    return True


@pytest.mark.parametrize("name", UPSTREAMS)
def test_a_model_runs_the_handler_that_its_server_was_seen_to_run(name: str) -> None:
    """For every target that some policy passes, unless the server itself answers 400 or 3xx."""
    wrong = []
    compared = 0
    for row in read(name).rows:
        target = row["target"].encode("latin-1")
        refused = row.get("status", 200) in range(300, 401)
        if len(row.keys() & {"method", "headers", "body"}) or refused or not acceptable(target):
            continue
        compared += 1
        modelled = handler(UPSTREAMS[name], target)
        if modelled != row.get("handler") and (name, row["target"]) not in NOT_MODELLED:
            wrong.append(f"{row['target']} ran {row.get('handler')}, the model says {modelled}")
    assert not wrong, "\n".join(wrong)
    assert compared > 150
