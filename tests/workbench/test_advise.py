"""`advise`: what a decision log shows no need for, and the narrower table that it proves."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli import main
from sidecar.core.snapshot import Snapshot
from sidecar.workbench.advise import usage as module
from sidecar.workbench.advise.findings import ENOUGH, Kind, advise
from sidecar.workbench.advise.usage import Usage
from tests.workbench.advising import START, snapshot_of

DAYS = 40

TABLE = """\
# Orders of the shop.
api_gateway:
  routes:
    - path: /orders/{id}     # one order
      name: order
      permissions: [orders:read]
    # The old export.
    - path: /export
      name: export
      permissions: [orders:export]
    - {path: /reports/*, name: reports, any_permissions: [reports:read, reports:all]}
    - {path: /files/*, name: files, roles: [clerk]}
    - {path: /health, auth_required: false}
    - {path: /news, name: news, auth_required: false}
    - path: "/admin/*"
      name: admin
      permissions: [admin:all]
"""
CLERK = {"roles": ["clerk"], "permissions": ["orders:read", "orders:list", "mail:send"]}
ANALYST = {"roles": ["analyst"], "permissions": ["reports:read"]}


def lines(
    path: str, reason: str = "ok", times: int = ENOUGH, who: Mapping[str, Any] = {}, **others: Any
) -> Iterator[dict[str, Any]]:
    """Yield decisions that are spread over DAYS."""
    caller = {"subject": "7", "principal_kind": "user", "issuer": "zervi", **who} if who else {}
    for number in range(times):
        at = START + timedelta(days=DAYS * number / max(times - 1, 1))
        yield {
            "time": at.isoformat(), "method": "GET", "host": "x",
            "path": path.replace("#", str(number)), "reason": reason, **caller, **others,
        }  # fmt: skip


def shop() -> list[dict[str, Any]]:
    """Return a log of the table above, in which one thing of each kind is planted."""
    return [
        *lines("/orders/#", who=CLERK, route="order"),
        *lines("/orders/#", who={"roles": ["clerk", "boss"], "permissions": ["orders:read"]}),
        *lines("/reports/daily", who=ANALYST, route="reports"),
        *lines("/reports/weekly/#", who=ANALYST, route="reports"),
        *lines("/files/a#", who=CLERK, route="files"),
        *lines("/health", "public", route="health", credential=False),
        *lines("/news", "public", route="news", credential=True),
        *lines(
            "/admin/users", "permission_denied", who=ANALYST, route="admin", needs=["admin:all"]
        ),
    ]


class Shop:
    """A log and a policy in files, and the command on them."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.log, self.table = directory / "decisions.log", directory / "routes.yaml"
        self.proposal = directory / "narrower.yaml"
        self.table.write_text(TABLE)
        self._capsys = capsys
        self.errors = ""

    def run(self, entries: Iterable[Mapping[str, Any]], *more: str, code: int = 0) -> str:
        self.log.write_text("".join(json.dumps(each) + "\n" for each in entries))
        assert main(["advise", str(self.log), "--policy", str(self.table), *more]) == code
        out, self.errors = self._capsys.readouterr()
        return out

    def advice(self, entries: Iterable[Mapping[str, Any]], *more: str) -> set[tuple[str, str]]:
        found = json.loads(self.run(entries, "--json", *more))["advice"]
        return {(each["kind"], each["subject"]) for each in found}


@pytest.fixture(name="shop_files")
def files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Shop:
    return Shop(tmp_path, capsys)


PLANTED = {
    ("unused-route", "export"),
    ("never-needed", "role boss"),
    ("never-needed", "role analyst"),
    ("never-needed", "permission orders:list"),
    ("never-needed", "permission mail:send"),
    ("narrower-route", "reports"),
    ("could-need-token", "news"),
    ("denials", "admin"),
}


def test_what_is_planted_is_found_and_nothing_else(shop_files: Shop) -> None:
    assert shop_files.advice(shop()) == PLANTED


def test_the_text_says_how_long_the_log_is_and_what_was_missing(shop_files: Shop) -> None:
    text = shop_files.run(shop())
    assert text.startswith(
        "800 requests from 2026-09-01 00:00 to 2026-10-11 00:00: 40.0 days, with decisions on 41"
    )
    assert "    permission_denied (admin:all): 100 requests\n" in text
    assert "    /reports/weekly/{id}\n" in text
    assert "  permission mail:send: the permission was held, and no request needed it; " in text


def test_permissions_come_together_if_each_caller_has_all_or_none(shop_files: Shop) -> None:
    table = TABLE.replace("[orders:read]", "[orders:read, orders:list]")
    shop_files.table.write_text(table)
    both = {"roles": [], "permissions": ["orders:read", "orders:list"]}
    entries = [*lines("/orders/#", who=both), *lines("/reports/#", who=ANALYST)]
    together = {each for each in shop_files.advice(entries) if each[0] == "always-together"}
    assert together == {("always-together", "orders:list, orders:read")}
    one = {"roles": [], "permissions": ["orders:list"]}
    entries += lines("/orders/#", "permission_denied", 1, who=one)
    assert not {each for each in shop_files.advice(entries) if each[0] == "always-together"}


@pytest.mark.parametrize(
    ("days", "more", "strong"),
    [
        (29, (), False),
        (31, (), True),
        (1, ("--min-days", "0"), True),
        (31, ("--min-days", "60"), False),
    ],
)
def test_a_short_log_gives_no_advice_that_takes_something_away(
    shop_files: Shop, days: int, more: tuple[str, ...], strong: bool
) -> None:
    end = (START + timedelta(days=days)).isoformat()
    entries = [each for each in shop() if each["time"] <= end]
    kinds = {kind for kind, _ in shop_files.advice(entries, *more)}
    assert ({"unused-route", "never-needed"} <= kinds) is strong
    assert strong or kinds <= {"denials", "always-together"}
    assert strong or "is withheld: the log must cover" in shop_files.run(entries, *more)


def test_one_line_with_a_wrong_clock_does_not_make_a_log_long(shop_files: Shop) -> None:
    entries = [*lines("/orders/#", who=CLERK)]
    for number, each in enumerate(entries):
        each["time"] = (START + timedelta(seconds=number)).isoformat()
    entries[0]["time"] = "1999-01-01T00:00:00Z"
    entries[1]["time"] = "2999-01-01T00:00:00Z"
    entries[2]["time"] = ["odd"]
    assert shop_files.advice(entries) == set()


def test_a_log_of_denials_takes_nothing_away(shop_files: Shop) -> None:
    entries = [each for each in shop() if each["reason"] == "permission_denied"]
    assert shop_files.advice(entries) == {("denials", "admin")}
    assert "contains only denials" in shop_files.run(entries)


def test_a_role_counts_as_needed_for_the_permissions_that_it_grants(
    shop_files: Shop, tmp_path: Path
) -> None:
    config = tmp_path / "sidecar.yaml"
    config.write_text(
        "zervi:\n  issuers:\n    - issuer: zervi\n      secret_env: S\n      algorithms: [HS256]\n"
        "      role_permissions: {analyst: [reports:read], boss: [mail:send]}\n"
        "policy: {file: routes.yaml}\n"
    )
    found = shop_files.advice(shop(), "--config", str(config))
    assert found == PLANTED - {("never-needed", "role analyst")}


def test_the_proposal_is_the_operators_file_without_what_nothing_used(shop_files: Shop) -> None:
    """Comments stay; `admin` stays as it is, since requests to it were denied, not missing."""
    text = shop_files.run(shop(), "--propose", str(shop_files.proposal))
    assert "proposal: 1 route removed, 1 narrowed; replay proves that it denies no request" in text
    lines_of = shop_files.proposal.read_text().splitlines()
    wanted = TABLE.splitlines()
    del wanted[7:10]
    (at,) = [number for number, each in enumerate(wanted) if "/reports/*" in each]
    rest = "any_permissions: [reports:read, reports:all]}"
    wanted[at : at + 1] = [
        f"    - {{path: /reports/daily, name: reports, {rest}",
        f"    - {{path: '/reports/weekly/{{id}}', name: reports-2, {rest}",
    ]
    assert lines_of == wanted
    log, narrower = str(shop_files.log), str(shop_files.proposal)
    assert main(["replay", log, "--policy", narrower]) == 0


def test_a_log_without_callers_proves_the_proposal_too(shop_files: Shop) -> None:
    entries = [
        {name: value for name, value in each.items() if name not in ("roles", "permissions")}
        for each in shop()
    ]
    text = shop_files.run(entries, "--propose", str(shop_files.proposal))
    assert "replay proves" in text
    assert "the log does not contain roles and permissions" in text


def test_a_proposal_that_would_deny_is_not_written(
    shop_files: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as one made by a wrong advice."""
    from sidecar.workbench.advise import findings

    real = findings.advise

    def wrong(usage: Usage, snapshot: Snapshot | None) -> Iterator[findings.Advice]:
        yield from real(usage, snapshot)
        yield findings.Advice(Kind.UNUSED_ROUTE, "order", "")

    monkeypatch.setattr(findings, "advise", wrong)
    text = shop_files.run(shop(), "--propose", str(shop_files.proposal), code=1)
    assert "proposal: not written, since it would deny 200 requests that the log allowed" in text
    left = {each.name for each in shop_files.proposal.parent.iterdir()}
    assert left == {"routes.yaml", "decisions.log"}


@pytest.mark.parametrize(
    "other",
    [
        "{path: /*, auth_required: false}",
        "{path: '/{any}', auth_required: false}",
        "{path: /*, hosts: [x], auth_required: false}",
    ],
)
def test_an_unused_route_stays_where_another_would_take_its_requests(
    shop_files: Shop, other: str
) -> None:
    """Without it a public route would open what it protects."""
    shop_files.table.write_text(f"{TABLE}    - {other}\n")
    text = shop_files.run(shop(), "--propose", str(shop_files.proposal))
    assert "note: export stays: " in text
    assert not shop_files.proposal.exists() or "/export" in shop_files.proposal.read_text()


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ("api_gateway: {routes: [{path: /a}, {path: /export}]}\n", "is not a list with one route"),
        ("api_gateway:\n  routes:\n    - {path: /export}\n", "did not use any route"),
    ],
)
def test_a_table_that_cannot_be_edited_is_an_error(
    shop_files: Shop, table: str, error: str
) -> None:
    shop_files.table.write_text(table)
    shop_files.run(lines("/b"), "--propose", str(shop_files.proposal), code=2)
    assert error in shop_files.errors or "no request used any route" in shop_files.errors


def test_a_path_that_the_log_has_cut_is_a_use_of_its_route(shop_files: Shop) -> None:
    """And the route's wildcard is not narrowed, since the path is not known."""
    cut = [*lines("/export...", route="export", times=1), *lines("/reports/...", route="reports")]
    found = shop_files.advice([*shop(), *cut])
    assert not {("unused-route", "export"), ("narrower-route", "reports")} & found


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["-", "--policy", "routes.yaml", "--propose", "new.yaml"], "cannot be standard input"),
        (["x.log", "--propose", "new.yaml"], "--propose needs --policy"),
        (["x.log", "--policy", "routes.yaml", "--propose", "routes.yaml"], "exists"),
        (["missing.log"], "missing.log cannot be read"),
        (["x.log", "--policy", "missing.yaml"], "missing.yaml"),
    ],
)
def test_wrong_arguments_are_an_error(
    shop_files: Shop,
    arguments: list[str],
    error: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shop_files.table.parent)
    Path("x.log").write_text("{}\n")
    assert main(["advise", *arguments]) == 2
    assert error in capsys.readouterr().err


def test_without_a_policy_only_denials_and_what_comes_together_are_advised(
    shop_files: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop_files.run(shop())
    assert main(["advise", str(shop_files.log)]) == 0
    out = capsys.readouterr().out
    assert "routes that deny many requests:\n  admin: 100 % of 100 requests" in out
    assert "note: without --policy there is no advice on unused routes" in out


def test_a_log_without_a_usable_line_proves_nothing(shop_files: Shop) -> None:
    text = shop_files.run([{"odd": "\x1b[31m"}], code=1)
    assert "no line of the log is usable" in shop_files.errors
    assert "note: 1 line skipped: method, path or reason is missing" in text


def test_names_from_a_log_cannot_write_to_the_terminal(shop_files: Shop) -> None:
    who = {"roles": ["\x1b[2J\u202e"], "permissions": ["a\nb"]}
    text = shop_files.run(lines("/orders/#", "permission_denied", route="x\x1b", who=who))
    text += shop_files.run([*shop(), *lines("/news", "ok", who=who)])
    assert all(line.isprintable() for line in text.splitlines())
    assert "role \\u001b[2J\\u202e" in text


def test_memory_does_not_grow_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests, names of routes, lists of permissions, causes, and paths are bounded."""
    for name in ("MAX_ROUTED", "MAX_HELD", "MAX_GROUPS"):
        monkeypatch.setattr(module, name, 200)
    counts = Usage(snapshot_of(TABLE), START.timestamp() + 1e9)
    entries = (
        json.dumps(each | {"route": f"r{n}", "roles": [], "permissions": [f"p{n}"]}).encode()
        for n, each in enumerate(lines("/files/a#", times=1000, who=CLERK))
    )
    assert list(counts.take(entries))[-1] == 1000
    assert counts.requests == 1000
    assert counts.too_many_held
    assert {len(counts.denials), len(counts.held), len(counts._routed)} == {200}
    assert len(counts._judged) <= 200
    assert counts.routes[3].places is None
    assert not [each for each in advise(counts, None) if each.kind is Kind.ALWAYS_TOGETHER]
