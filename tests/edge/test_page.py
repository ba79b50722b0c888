"""The node's page over real sockets: who may read it, what is on it, and what it costs at most."""

import asyncio
import json
import re
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import pytest

from sidecar.ops.page.explaining import MAX_OUTPUT, MAX_WAITING, Explaining, NotExplainedError
from sidecar.ops.page.site import HEADERS
from tests.edge.key_server import document, serving
from tests.edge.page_rig import WithPage, with_page
from tests.edge.revocation_rig import Feed, serving_feed, user
from tests.edge.sidecar_rig import ISSUER, SECRET, token
from tests.edge.test_light import Light
from tests.support.waiting import eventually

# Each of these answers has the headers.
PLACES = (
    *("/", "/explain?n=1", "/none"),
    *("/static/page.js", "/static/base.css", "/static/page.css", "/static/icon.svg"),
)


async def explained(page: WithPage, reason: str, language: str = "en") -> str:
    """Return the explanation of the latest decision with this reason."""
    listed = (await page.get(f"/?reason={reason}")).text
    number = re.findall(r"/explain\?n=(\d+)", listed)[0]
    return (await page.get(f"/explain?n={number}&lang={language}")).text


async def test_only_this_machine_and_no_other_site_reads_the_page(tmp_path: Path) -> None:
    async with with_page(tmp_path) as page:
        for path in PLACES:
            answer = await page.get(path)
            assert answer.status == (404 if path in ("/none", "/explain?n=1") else 200)
            for name, value in HEADERS:
                assert answer.headers[name] == value
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Cache-Control"] == "no-store"
            assert "Set-Cookie" not in answer.headers
        for host in ("localhost:1234", "127.0.0.1", "[::1]:9"):
            assert (await page.get(Host=host)).status == 200
        for host in ("evil.example", "localhost.evil.example", "10.0.0.1:9003", "x.localhost"):
            for path in PLACES:
                answer = await page.get(path, Host=host)
                assert (answer.status, "zervi" in answer.text) == (421, False)
                assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
            answer = await page.get(method=method)
            assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
        assert (await page.get(method="HEAD")).text == ""
        for site in ("cross-site", "same-site"):
            assert (await page.get("/explain?n=1", Sec_Fetch_Site=site)).status == 403
            assert (
                await page.get(
                    Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe"
                )
            ).status == 403
            assert (
                await page.get(
                    Sec_Fetch_Site=site, Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document"
                )
            ).status == 200
        assert (await page.get(Sec_Fetch_Site="same-origin")).status == 200
        for query in ("?q=" + "x" * 3000, "?" + "a=1&" * 50):
            assert (await page.get(f"/{query}")).status == 400
        for query in ("?from=-1", "?from=99999999999999999999", "?q=%ff%00", "?lang=xx", "?q"):
            assert (await page.get(f"/{query}")).status == 200


async def test_the_page_shows_what_this_sidecar_is_and_does(tmp_path: Path) -> None:
    async with with_page(tmp_path) as page:
        sidecar = page.sidecar
        assert await sidecar.reason("/open/1") == "public"
        assert await sidecar.reason("/closed/1", bearer=token()) == "ok"
        assert await sidecar.reason("/closed/2") == "token_missing"
        assert await sidecar.reason("/closed/3", bearer=token(permissions=[])) == (
            "permission_denied"
        )
        text = (await page.get()).text
        assert '<html lang="en">' in text
        for shown in (
            *("issuer:jobfirst-auth", "a shared secret", "HS256", "public: no token"),
            *("closed:read", "&lt;b&gt;admin&lt;/b&gt;", "3 routes", "permission_denied"),
            *("token_missing", "/closed/3", "not authenticated"),
        ):
            assert shown in text
        assert "1 of them differ" in text
        chinese = (await page.get(Accept_Language="zh-CN,zh;q=0.9,en;q=0.1")).text
        assert '<html lang="zh-CN">' in chinese
        assert "最近的决策" in chinese
        assert '<html lang="en">' in (await page.get("/?lang=en", Accept_Language="zh")).text
        assert "/closed/3" not in (await page.get("/?reason=token_missing")).text
        assert "/closed/2" not in (await page.get("/?decision=allow")).text
        assert "/open/1" not in (await page.get("/?route=closed")).text
        routes = (await page.get("/?q=ORDERS")).text.partition('data-live="routes"')[2]
        assert "/users/{id}/orders" in routes
        assert "/closed/*" not in routes
        assert "No route contains" in (await page.get("/?q=nothing-like-it")).text


async def test_the_page_shows_what_zervi_is_asked(tmp_path: Path) -> None:
    """Only where it is configured; a name of an issuer is text."""
    granted = document(json.dumps(["closed:read"]).encode())
    async with serving(granted) as zervi, serving_feed(Feed(user(8), user(9))) as feed:
        base = f"http://127.0.0.1:{zervi.port}"
        issuer = {"issuer": ISSUER, "secret_file": "secret"}
        asked = {
            "issuers": [issuer],
            "permissions": {"url": base + "/users/{subject}", "wait": "5s"},
            "revocation": {"url": f"{feed}/revocations"},
        }
        async with with_page(tmp_path, zervi=asked) as page:
            assert await page.sidecar.reason("/closed/1", bearer=token(permissions=None)) == "ok"
            section = (await page.get("/?lang=en")).text.partition('id="zervi"')[2]
            section = section.partition("</section>")[0]
            rows = re.findall(r"<tr[^>]*data-key=.*?</tr>", section, re.DOTALL)
            cells = [re.sub(r"<[^>]+>", "|", row).strip("|") for row in rows]
            look_ups, feed_row = (re.split(r"\|+", row) for row in cells)
            assert look_ups == ["permissions", "1", "0", "1 KiB", "1", "0", "0", "0"]
            assert feed_row[:2] == ["Revocation feed", "2"]
            assert feed_row[-1] == "0"
            assert int(feed_row[-2]) >= 1
            assert "吊销列表" in (await page.get("/?lang=zh")).text
    async with with_page(tmp_path) as page:
        assert 'id="zervi"' not in (await page.get()).text


async def test_a_decision_is_explained_from_its_log_record(tmp_path: Path) -> None:
    async with with_page(tmp_path, log={"replayable": True, "decisions": "none"}) as page:
        sidecar = page.sidecar
        await sidecar.reason("/closed/3", bearer=token(permissions=["other"]))
        await sidecar.reason("/users/8/orders", bearer=token())
        await sidecar.reason("/closed/2")
        denied = await explained(page, "permission_denied")
        assert "all of closed:read" in denied
        assert "routes.yaml:4" in denied
        assert "needs permission closed:read" in denied
        assert "未通过" in await explained(page, "not_owner", "zh")
        assert "token_missing" in await explained(page, "token_missing")
        assert (await page.get("/explain?n=4711")).status == 404


async def test_without_replayable_neither_page_nor_explanation_has_roles(tmp_path: Path) -> None:
    async with with_page(tmp_path) as page:
        await page.sidecar.reason("/closed/3", bearer=token(role="a-role", permissions=["p:q"]))
        text = await explained(page, "permission_denied")
        assert "no verdict" in text
        assert "log.replayable" in text
        for place in (text, (await page.get()).text):
            assert "a-role" not in place
            assert "p:q" not in place


async def test_no_token_and_no_secret_is_on_any_page(tmp_path: Path) -> None:
    """Neither one that is accepted, nor one that is not, wherever a client puts it."""
    async with with_page(tmp_path, log={"replayable": True}) as page:
        good, bad = token(), token("another secret that is long enough to be a secret")
        sidecar = page.sidecar
        await sidecar.reason("/closed/1", bearer=good)
        await sidecar.reason("/closed/2", bearer=bad)
        await sidecar.reason(f"/closed/{good}?access_token={bad}")
        await sidecar.reason(f"/closed/;token={good}")
        texts = [(await page.get()).text]
        numbers = re.findall(r"/explain\?n=(\d+)", texts[0])
        assert len(numbers) == 4
        texts += [(await page.get(f"/explain?n={number}")).text for number in numbers]
        for text in texts:
            assert SECRET not in text
            for secret in (good, bad):
                assert not any(part in text for part in secret.split("."))


async def test_a_large_table_is_shown_in_pages(tmp_path: Path) -> None:
    entries = [f'    - {{path: "/r{n}/x", roles: [r{n}]}}' for n in range(2000)]
    routes = "\n".join(["api_gateway:", "  routes:", *entries]) + "\n"
    async with with_page(tmp_path, routes, policy={"file": "routes.yaml"}) as page:
        first = (await page.get()).text
        assert "1 to 50 of 2000 routes" in first
        assert len(first) < 64 * 1024
        last = (await page.get("/?from=1999")).text
        assert "1951 to 2000 of 2000 routes" in last
        assert "1 to 1 of 1 routes" in (await page.get("/?q=/r1234/")).text


async def test_what_the_page_does_not_use_is_not_imported(tmp_path: Path) -> None:
    """An explanation runs in another process, and without `listen.page` there is no page."""
    sidecar = Light(tmp_path)
    listen = {"authz": "127.0.0.1:0", "ops": "127.0.0.1:0"}
    for page, expected in ((False, False), (True, True)):
        sidecar.configure(listen={**listen, **({"page": "127.0.0.1:0"} if page else {})})
        process = await sidecar.start()
        try:
            await sidecar.until_ready()
            await sidecar.reason("/closed/1")
            if page:
                text = await explained(WithPage(sidecar), "token_missing")
                assert "no token in header authorization" in text
            modules = await sidecar.modules()
            assert ("sidecar.ops.page" in modules) is expected
            assert ("sidecar.app.page" in modules) is expected
            for heavy in ("sidecar.workbench", "rich", "prometheus_client", "html", "jinja2"):
                assert heavy not in modules
        finally:
            await process.stop()


def explaining(directory: Path, script: str) -> Explaining:
    """Return one whose command is a script of the test."""
    program = directory / "explain"
    program.write_text(f"#!{sys.executable}\nimport sys, time\n{script}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    found = Explaining(directory / "sidecar.yaml")
    found._command = (str(program),)
    return found


LINE = json.dumps({"decision_id": "an-id"}).encode()


async def test_one_explanation_runs_at_a_time_and_few_wait(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    script = f"""
import os, pathlib
here = pathlib.Path({str(marks)!r})
(here / str(os.getpid())).touch()
print(len(list(here.iterdir())), file=sys.stderr)
while not pathlib.Path({str(tmp_path / "go")!r}).exists(): time.sleep(0.01)
(here / str(os.getpid())).unlink()
sys.exit(1)
"""
    found = explaining(tmp_path, script)

    async def said() -> tuple[str, str]:
        try:
            await found.explain(LINE)
        except NotExplainedError as error:
            return error.word, str(error)
        raise AssertionError

    asked = [asyncio.create_task(said()) for _ in range(MAX_WAITING + 4)]
    await eventually(lambda: any(marks.iterdir()), "a process")
    (tmp_path / "go").touch()
    answers = await asyncio.gather(*asked)
    assert answers.count(("explain_busy", "")) == 3
    assert answers.count(("explain_failed", "1")) == MAX_WAITING + 1


async def test_an_explanation_takes_no_time_from_the_checks(tmp_path: Path) -> None:
    """The process has the lowest priority before it reads the line."""
    script = "import os; sys.stdin.read(); sys.exit(str(os.getpriority(os.PRIO_PROCESS, 0)))"
    with pytest.raises(NotExplainedError, match="19"):
        await explaining(tmp_path, script).explain(LINE)


async def test_an_explanation_that_hangs_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[asyncio.subprocess.Process] = []
    start = asyncio.create_subprocess_exec

    async def noted(*args: str, **options: Any) -> asyncio.subprocess.Process:
        started.append(await start(*args, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    monkeypatch.setattr("sidecar.ops.page.explaining.SECONDS", 0.2)
    with pytest.raises(NotExplainedError) as caught:
        await explaining(tmp_path, "time.sleep(600)").explain(LINE)
    assert caught.value.word == "explain_slow"
    assert [process.returncode for process in started] == [-signal.SIGKILL]


@pytest.mark.parametrize(
    "output", ["", "not JSON", "[]", "{}", '{"answer": 1}', f"'x' * {4 * MAX_OUTPUT}"]
)
async def test_a_senseless_explanation_is_none(tmp_path: Path, output: str) -> None:
    written = output if output.startswith("'x'") else repr(output)
    found = explaining(tmp_path, f"sys.stdout.write({written})")
    with pytest.raises(NotExplainedError) as caught:
        await found.explain(LINE)
    assert caught.value.word == "explain_failed"
