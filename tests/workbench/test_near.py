"""Routes that a request nearly matches are listed by what is really near."""

from sidecar.core.routes.route import Route
from sidecar.core.routes.table import compile_policy
from sidecar.workbench.near import MAX_NEAR, near_routes


def near(path: str, *table: str, method: str = "GET") -> list[str]:
    """Return the paths of the near routes; a route is written as path and methods."""
    routes = []
    for index, entry in enumerate(table):
        written, *methods = entry.split()
        routes.append(Route(index, f"r{index}", written, methods=frozenset(methods)))
    policy = compile_policy(routes, digest="")
    found = near_routes(policy, method, tuple(path.strip("/").split("/")))
    return [route.path for route, _ in found]


def test_a_path_that_is_one_segment_short_comes_before_one_of_another_method() -> None:
    short = ("/api/orders/{id}/lines POST", "/api/orders/{id}/items GET")
    assert near("/api/orders/7", *short) == ["/api/orders/{id}/items", "/api/orders/{id}/lines"]
    table = ("/api/order/7 DELETE", "/api/orders/7/x GET", "/api/ordrs/7 GET")
    assert near("/api/orders/7", *table) == ["/api/ordrs/7", "/api/order/7", "/api/orders/7/x"]


def test_letter_case_is_nearer_than_a_missing_tail_and_that_than_a_typo() -> None:
    table = ("/api/order", "/api/orders/*", "/API/orders")
    assert near("/api/orders", *table) == ["/API/orders", "/api/orders/*", "/api/order"]


def test_paths_that_only_look_alike_as_text_are_not_near() -> None:
    assert near("/api/orders/7", "/api/order-history/7/x/y", "/{a}/{b}/{c}/{d}", "/zzz") == []
    assert near("/x", "/{a}/{b}") == []


def test_at_most_a_few_are_listed() -> None:
    table = [f"/api/orders{chr(97 + n)}/*" for n in range(26)]
    assert len(near("/api/orders/7", *table)) == MAX_NEAR


def test_a_verb_that_the_request_lacks_is_near() -> None:
    assert near("/v1/things/7", "/v1/things/{id}:purge POST", method="POST") == [
        "/v1/things/{id}:purge"
    ]
