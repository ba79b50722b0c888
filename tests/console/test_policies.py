"""Tables by digest, what they require, how two differ, and what a user may do."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo.zervi import Zervi
from sidecar.config.load import read_policy
from sidecar.config.policy_file import PolicySettings, compile_document
from sidecar.console.pages.words import WORDS
from sidecar.console.policies.differences import Difference, differences
from sidecar.console.policies.tables import TableFiles
from sidecar.console.settings import PolicySection
from sidecar.core.routes.table import Policy
from tests.console.rig import Console, entry, whole

SIDECAR = """\
zervi:
  issuers:
    - {issuer: zervi, jwks_url: "https://zervi/jwks", audiences: [jobfirst]}
    - {issuer: old, secret_env: NOT_SET, allow_missing_issuer: true, grantable: ["orders:read"]}
  role_permissions: {admin: [orders:write]}
policy: {file: routes.yaml}
"""

ROUTES = """\
api_gateway:
  routes:
    - {path: /open/*, auth_required: false}
    - {path: "/orders/*", name: orders, methods: [GET], permissions: [orders:read]}
    - {path: "/orders/*", name: change, methods: [POST], permissions: [orders:write]}
    - {path: "/users/{id}/mail", name: mail, owner: id, owner_unless: [mail:any]}
    - {path: "/tenants/{tenant}", name: tenant, claims: {tenant: "{tenant}"}}
"""


def table(directory: Path, routes: str, name: str = "routes.yaml") -> Policy:
    """Compile a table."""
    path = directory / name
    path.write_text(routes)
    source = read_policy(path)
    settings = PolicySettings(frozenset({"zervi", "old"}))
    policy, problems = compile_document(source.document, settings, source.digest)
    assert policy is not None, problems
    return policy


def changed(directory: Path, old: str, new: str) -> list[Difference]:
    """Return the differences between one route and another, each written as its keys."""
    begin = "api_gateway:\n  routes:\n    - {path: /other, auth_required: false}\n"
    texts = [
        f"{begin}    - {{path: '/a/{{id}}', name: a{', ' + keys if keys else ''}}}\n"
        for keys in (old, new)
    ]
    return differences(table(directory, texts[0], "old.yaml"), table(directory, texts[1]))


CHANGES = [
    ("", "auth_required: false", "looser", "diff_public"),
    ("", "auth_required: optional", "looser", "diff_optional"),
    ("methods: [GET]", "methods: [GET, POST]", "looser", "diff_methods_added"),
    ("methods: [GET]", "", "looser", "diff_methods_any"),
    ("hosts: [a.example]", "hosts: [a.example, b.example]", "looser", "diff_hosts_added"),
    ("permissions: [x]", "", "looser", "diff_permissions_removed"),
    ("any_permissions: [x]", "any_permissions: [x, y]", "looser", "diff_any_permissions_added"),
    ("any_permissions: [x]", "", "looser", "diff_any_permissions_any"),
    ("roles: [x]", "roles: [x, y]", "looser", "diff_roles_added"),
    ("roles: [x]", "", "looser", "diff_roles_any"),
    ("issuers: [zervi]", "issuers: [zervi, old]", "looser", "diff_issuers_added"),
    ("issuers: [zervi]", "", "looser", "diff_issuers_any"),
    ("callers: ['spiffe://t/a']", "", "looser", "diff_callers_any"),
    ("owner: id", "", "looser", "diff_owner_removed"),
    ("owner: id", "owner: id, owner_unless: [x]", "looser", "diff_owner_unless_added"),
    ("claims: {tenant: x}", "", "looser", "diff_claims_removed"),
    ("", "principals: [user, service]", "looser", "diff_principals"),
]  # fmt: skip
OTHERS = [
    ("target: one", "target: two", "other", "diff_target"),
    ("owner: id", "owner: {segment: id, claim: tenant}", "other", "diff_owner"),
]


@pytest.mark.parametrize(("old", "new", "effect", "code"), CHANGES)
def test_what_opens_a_route_is_looser_and_the_way_back_is_stricter(
    tmp_path: Path, old: str, new: str, effect: str, code: str
) -> None:
    (there,) = changed(tmp_path, old, new)
    assert (there.kind, there.effect, there.changes[0].said.code) == ("changed", effect, code)
    (back,) = changed(tmp_path, new, old)
    assert back.effect == "stricter"


@pytest.mark.parametrize(("old", "new", "effect", "code"), OTHERS)
def test_what_is_neither_is_called_other(
    tmp_path: Path, old: str, new: str, effect: str, code: str
) -> None:
    (there,) = changed(tmp_path, old, new)
    assert (there.effect, there.changes[0].said.code) == (effect, code)


def test_a_service_beside_the_user_is_stricter(tmp_path: Path) -> None:
    (there,) = changed(tmp_path, "", "principals: both")
    assert there.effect == "stricter"
    (back,) = changed(tmp_path, "principals: both", "")
    assert back.effect == "looser"


def test_routes_that_come_and_go(tmp_path: Path) -> None:
    old = table(tmp_path, ROUTES, "old.yaml")
    new = table(
        tmp_path,
        ROUTES.replace("    - {path: /open/*, auth_required: false}\n", "")
        + "    - {path: /new, auth_required: false}\n    - {path: /more, permissions: [x]}\n",
    )
    found = {each.path: (each.kind, each.effect) for each in differences(old, new)}
    assert found == {
        "/new": ("added", "looser"),
        "/open/*": ("removed", "other"),
        "/more": ("added", "other"),
    }


def test_a_renamed_or_moved_route_is_one_change(tmp_path: Path) -> None:
    old = table(tmp_path, ROUTES, "old.yaml")
    renamed = table(tmp_path, ROUTES.replace("name: orders", "name: read-orders"))
    (change,) = differences(old, renamed)
    assert [each.said.code for each in change.changes] == ["diff_name"]
    moved = table(tmp_path, ROUTES.replace("/tenants/{tenant}", "/t/{tenant}"))
    (change,) = differences(old, moved)
    assert [each.said.code for each in change.changes] == ["diff_path"]


def test_a_table_does_not_differ_from_itself_in_another_order(tmp_path: Path) -> None:
    head, *routes = ROUTES.split("    - ")
    turned = "    - ".join([head, *reversed(routes)])
    assert differences(table(tmp_path, ROUTES, "old.yaml"), table(tmp_path, turned)) == []


@given(st.sets(st.sampled_from("abcde")), st.sets(st.sampled_from("abcde")))
def test_lists_of_permissions_are_compared_as_sets(
    tmp_path_factory: pytest.TempPathFactory, old: set[str], new: set[str]
) -> None:
    """Of all that are needed: more is stricter, less is looser, both is looser."""
    directory = tmp_path_factory.mktemp("tables")
    keys = [f"permissions: [{', '.join(sorted(each))}]" if each else "" for each in (old, new)]
    found = changed(directory, *keys)
    effects = {each.effect for each in found}
    assert effects == ({"looser"} if old - new else {"stricter"} if new - old else set())


def test_every_word_exists_in_both_languages() -> None:
    for key, (english, chinese) in WORDS.items():
        assert english.isascii() or any(c in english for c in "…文"), key
        has = any("\u4e00" <= character <= "\u9fff" for character in chinese)
        assert has or english == chinese or key == "other_language", key
        fields = [set(re.findall(r"\{(\w+)\}", each)) for each in (english, chinese)]
        assert fields[0] == fields[1], key


def test_no_word_is_defined_twice() -> None:
    """A second definition would silently replace the first on another page."""
    pages = Path(__file__).parents[2] / "sidecar" / "console" / "pages"
    text = "".join(path.read_text() for path in pages.glob("*words.py"))
    keys = re.findall(r'^    "(\w+)": \(', text, re.MULTILINE)
    assert sorted(keys) == sorted(set(keys))
    assert len(keys) == len(WORDS)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write a sidecar.yaml, its table, and yesterday's."""
    (tmp_path / "sidecar.yaml").write_text(SIDECAR)
    (tmp_path / "routes.yaml").write_text(ROUTES)
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "yesterday.yaml").write_text(ROUTES.replace("orders:write", "orders:read"))
    return tmp_path


def test_tables_are_read_by_digest_without_any_secret(files: Path) -> None:
    read = TableFiles([PolicySection(config=files / "sidecar.yaml", tables=files / "tables")])
    tables = read.read()
    assert tables.problems == ()
    by_name = {each.file.name: each for each in tables.by_digest.values()}
    assert set(by_name) == {"routes.yaml", "yesterday.yaml"}
    assert by_name["routes.yaml"].current
    assert not by_name["yesterday.yaml"].current
    assert read.read() is tables


def test_a_changed_file_is_read_again(files: Path) -> None:
    read = TableFiles([PolicySection(config=files / "sidecar.yaml", tables=files / "tables")])
    before = read.read()
    (files / "routes.yaml").write_text(ROUTES + "    - {path: /new}\n")
    assert set(read.read().by_digest) != set(before.by_digest)
    (files / "tables" / "more.yaml").write_text(ROUTES.replace("mail:any", "mail:all"))
    assert len(read.read().by_digest) == 3


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tables/bad.yaml", "api_gateway: {routes: []}"),
        ("tables/bad.yaml", "\x00"),
        ("tables/bad.yaml", "- " * 100),
        ("routes.yaml", "api_gateway: {routes: [{path: x}]}"),
        ("sidecar.yaml", "zervi: {}"),
    ],
)
def test_an_unusable_file_is_named_and_the_others_count(files: Path, file: str, text: str) -> None:
    (files / file).write_text(text)
    read = TableFiles([PolicySection(config=files / "sidecar.yaml", tables=files / "tables")])
    tables = read.read()
    assert Path(file).name in [problem.file for problem in tables.problems]
    if file.startswith("tables"):
        assert len(tables.by_digest) == 2


def test_files_that_are_not_there_are_problems(tmp_path: Path) -> None:
    section = PolicySection(config=tmp_path / "none.yaml", tables=tmp_path / "none")
    tables = TableFiles([section]).read()
    assert {problem.file for problem in tables.problems} == {"none.yaml", "none"}


@pytest.fixture
async def console(files: Path) -> AsyncIterator[tuple[Console, Zervi]]:
    policies = [{"config": "sidecar.yaml", "tables": "tables"}]
    async with whole(files, policies=policies) as (console, looma, zervi):
        digests = [
            each.digest
            for each in TableFiles(
                [PolicySection(config=files / "sidecar.yaml", tables=files / "tables")]
            )
            .read()
            .by_digest.values()
        ]
        for number, digest in enumerate([*digests, "ffffffffffffffff"]):
            name = f"n{number}"
            body = entry(number, service_id=name)
            async with console.client.post(f"{looma.url}/cluster/register", json=body):
                pass
            report = entry(number, report={"policy_digest": digest})["report"]
            async with console.client.post(f"{looma.url}/cluster/heartbeat/{name}", json=report):
                pass
        yield console, zervi


async def test_policies_show_who_runs_what_and_what_is_unknown(
    console: tuple[Console, Zervi],
) -> None:
    _, listing = await console[0].get("/api/policies")
    assert [each["nodes"] for each in listing["policies"]] == [1, 1, 1]
    assert {each["digest"]: each["known"] for each in listing["policies"]}["f" * 16] is False
    assert sum(each["current"] for each in listing["policies"]) == 1
    overview = (await console[0].get("/api/overview"))[1]["cluster_overview"]
    assert ["ffffffffffffffff"] in [
        each["about"] for each in overview["alerts"] if each["code"] == "unknown_policies"
    ]


async def test_a_policy_shows_routes_findings_and_differences(
    console: tuple[Console, Zervi],
) -> None:
    listing = (await console[0].get("/api/policies"))[1]["policies"]
    current = next(each["digest"] for each in listing if each["current"])
    other = next(each["digest"] for each in listing if each["known"] and not each["current"])
    status, policy = await console[0].get(f"/api/policies/{current}?from={other}")
    assert status == 200
    by_name = {route["name"]: route["requires"] for route in policy["routes"]}
    assert by_name["orders"][0]["text"] == "all of the permissions orders:read"
    assert by_name["mail"][0]["text"] == "the owner, named by {id}"
    (difference,) = policy["differences"]
    assert {each["text"] for each in difference["changes"]} == {
        "requires the permissions orders:write too",
        "no longer requires the permissions orders:read",
    }
    for path in ("/view/policies", f"/view/policies/{current}?from={other}"):
        status, text = await console[0].get(path)
        assert status == 200
    assert "requires the permissions orders:write too" in text
    status, text = await console[0].get(
        f"/view/policies/{current}?from={other}", **{"Accept-Language": "zh-CN"}
    )
    assert "新增必需权限 orders:write" in text


async def test_an_unknown_policy_is_shown_if_a_node_runs_it(console: tuple[Console, Zervi]) -> None:
    status, policy = await console[0].get("/api/policies/ffffffffffffffff")
    assert (status, policy["known"], policy["nodes"]) == (200, False, 1)
    assert (await console[0].get("/view/policies/ffffffffffffffff"))[0] == 200
    assert (await console[0].get("/api/policies/0000000000000000"))[0] == 404
    assert (await console[0].get("/api/policies/ffffffffffffffff?from=0"))[0] == 404


@pytest.mark.parametrize(
    ("user", "query", "decision", "reason"),
    [
        (3, "method=POST&path=/orders/7", "allow", "ok"),  # by the role admin
        (2, "method=POST&path=/orders/7", "deny", "permission_denied"),
        (2, "path=/open/x", "allow", "public"),
        (2, "path=/users/2/mail", "allow", "ok"),
        (2, "path=/users/3/mail", "deny", "not_owner"),
        (2, "path=/nothing", "deny", "no_route"),
        (2, "path=/tenants/7", "unknown", None),  # a claim that only the token has
        (2, "path=/a/%2e%2e/b", "deny", "malformed_request"),
        (2, "method=PUT&path=/orders/7", "deny", "method_not_allowed"),
        (2, "path=/order/7", "deny", "no_route"),  # similar
        (3, "method=POST&path=/orders/7&issuer=old", "deny", "permission_denied"),  # grantable
    ],
)
async def test_may_they_do_this(
    console: tuple[Console, Zervi], user: int, query: str, decision: str, reason: str | None
) -> None:
    status, verdict = await console[0].get(f"/api/users/{user}/may?{query}")
    assert (status, verdict["decision"], verdict["reason"]) == (200, decision, reason)
    assert verdict["steps"]
    assert "log" not in str(verdict["steps"])
    for step in verdict["steps"]:
        assert f"step_name_{step['name'].replace(' ', '_')}" in WORDS
        assert re.search("[（：\u4e00-\u9fff]", step["chinese"]) or step["chinese"] == step["text"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 400),
        ("path=orders", 400),
        ("path=/x&method=<b>", 400),
        ("path=/x&host=%0d%0a", 400),
        ("path=/" + "x" * 3000, 400),
        ("path=/x&issuer=nobody", 400),
        ("path=/x&policy=ffffffffffffffff", 404),
    ],
)
async def test_a_senseless_question_is_an_error(
    console: tuple[Console, Zervi], query: str, status: int
) -> None:
    assert (await console[0].get(f"/api/users/2/may?{query}"))[0] == status


async def test_the_page_of_a_user_shows_the_verdict(console: tuple[Console, Zervi]) -> None:
    status, text = await console[0].get("/view/users/2?path=/users/3/mail&method=GET")
    assert status == 200
    assert "the owner is 3, the caller is 2" in text
    page = "/view/users/2?path=/users/3/mail&method=GET"
    _, chinese = await console[0].get(page, **{"Accept-Language": "zh-CN"})
    assert "所有者为 3，调用方为 2" in chinese
    assert "the caller is" not in chinese
    status, text = await console[0].get("/view/users/2?path=x")
    assert "path begins with /" in text
    any_: Any = text
    assert "<form" in any_
