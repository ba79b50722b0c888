"""The pages in a real Chromium, through a real Envoy and sidecar."""

from typing import Any

import aiohttp
import pytest

from tests.console.browser import Page, World
from tests.console.rig import HOSTILE

PATHS = (
    "/",
    "/services",
    "/nodes",
    "/users?q=bob",
    "/users/3?path=/api/x",
    "/policies",
    "/environments",
)


# What is missing in the page for a screen reader or a keyboard.
FAULTS = """
const faults = [];
const all = (s) => [...document.querySelectorAll(s)];
for (const s of ["main", "header", "nav[aria-label]", "h1", "[role=status]"])
  if (all(s).length < 1) faults.push(`no ${s}`);
if (all("h1").length !== 1) faults.push("more than one h1");
for (const e of all("input, select, textarea"))
  if (!e.labels?.length && !e.ariaLabel) faults.push(`no label: ${e.name || e.id}`);
for (const e of all("button"))
  if (!e.textContent.trim() && !e.ariaLabel) faults.push("a button without a name");
for (const e of all("thead th")) if (e.scope !== "col") faults.push("th without scope");
for (const e of all(".scroll")) if (e.tabIndex !== 0 || !e.getAttribute("aria-labelledby"))
  faults.push("a region that a keyboard cannot scroll");
const ids = all("[id]").map((e) => e.id);
for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`id ${id}`);
for (const e of all("[aria-labelledby]"))
  if (!document.getElementById(e.getAttribute("aria-labelledby"))) faults.push(e.outerHTML);
if (all("[aria-current=page]").length !== 1) faults.push("no current page");
return faults;
"""


def register(world: World, name: str, **report: Any) -> None:
    """Register a node at Looma, with one heartbeat."""

    async def send() -> None:
        body = {"service_id": name, "service_name": "orders", "address": "10.0.0.7", "port": 80}
        async with aiohttp.ClientSession(world.looma.url) as client:
            async with client.post("/cluster/register", json=body) as answer:
                assert answer.status == 201
            path = f"/cluster/heartbeat/{name}"
            beat = {"ready": True, "health_status": "healthy", **report}
            async with client.post(path, json=beat) as answer:
                assert answer.status == 200

    world.run(send())


@pytest.fixture
def bob(page: Page, console_world: World) -> Page:
    """Give the overview of bob, an admin, who is signed in."""
    page.take_session(console_world.zervi.token("bob"))
    page.open()
    page.until_text("Over time")
    return page


def test_a_stranger_signs_in_and_sees_the_overview(page: Page) -> None:
    page.open()
    assert page.has("#sign-in")
    assert page.script("return document.activeElement.name") == "username"
    page.sign_in("bob", "wrong")
    page.until_text("wrong user name or password", "#sign-in .error")
    page.sign_in("bob")
    page.until_text("Over time")
    page.until_text("bob", "#who")
    page.until_text("Live", "#live")
    cookie = page.driver.get_cookie("__Host-zervi")
    assert cookie is not None
    assert cookie["httpOnly"]
    assert cookie["secure"]
    assert cookie["sameSite"] == "Strict"
    assert page.script("return document.cookie") == ""


def test_alice_is_denied_with_the_reason(page: Page) -> None:
    page.open()
    page.sign_in("alice")
    page.until_text("You are not allowed to view this")
    assert "needs permission cluster:view or cluster:manage" in page.text()
    assert page.text("[data-reason]") == "permission_denied"
    assert page.text("[data-decision]")
    page.find("#sign-out").click()
    page.until(lambda: page.has("#sign-in"))


def test_signing_out_ends_the_session(bob: Page) -> None:
    bob.until(lambda: bob.find("#sign-out").is_displayed())
    bob.find("#sign-out").click()
    bob.until(lambda: bob.has("#sign-in"))
    assert bob.driver.get_cookie("__Host-zervi") is None


def test_a_change_at_the_registry_is_shown_without_a_reload(
    bob: Page, console_world: World
) -> None:
    bob.script("window.mark = 1")
    register(console_world, "live-1", ready=False, not_ready_reason="no key set")
    bob.until_text("Nodes that are not ready: 1", "#standing")
    register(console_world, "live-1")
    bob.until(lambda: "not ready" not in bob.text("#standing"))
    assert bob.script("return window.mark") == 1


def test_a_session_that_ends_while_the_page_is_open_asks_for_a_login(
    bob: Page, console_world: World
) -> None:
    bob.until_text("Live", "#live")
    bob.driver.delete_cookie("__Host-zervi")
    register(console_world, "live-2")
    bob.until_text("Your session has ended", "#sign-in")
    bob.sign_in("bob")
    bob.until_text("Over time")


def test_nodes_are_searched_sorted_and_opened(bob: Page, console_world: World) -> None:
    for name in ("alpha", "beta", "gamma"):
        register(console_world, f"find-{name}", policy_digest="3c9d1f0a52b7e641")
    bob.open("/nodes")
    bob.until(lambda: bob.has("[name=q]"))
    bob.find("[name=q]").send_keys("find-\n")
    bob.until_text("3 of", "#found-title")
    bob.find("th[aria-sort] a").click()
    bob.loaded()
    bob.until(lambda: bob.has("th[aria-sort=descending]"))
    assert bob.text("tbody tr th") == "find-gamma"
    bob.find("tbody tr th a").click()
    bob.loaded()
    bob.until_text("find-gamma", "h2")
    assert "Last reports" in bob.text()


def test_a_user_is_found_judged_and_logged_out(bob: Page, console_world: World) -> None:
    bob.open("/users")
    bob.find("[name=q]").send_keys("alice\n")
    bob.until(lambda: bob.has("tbody th a"))
    bob.find("tbody th a").click()
    bob.until_text("alice", "h2")
    bob.find("[name=path]").send_keys("/api/overview\n")
    bob.until_text("Denied", "#verdict")
    assert "permission_denied" in bob.text("#verdict")
    before = bob.text("#revoked")
    bob.find("form[data-method] button").click()
    bob.until_text("Every token issued until now is revoked", "dialog")
    bob.find("dialog [value=no]").click()
    bob.until(lambda: not bob.has("dialog"))
    assert console_world.zervi.console.revoked_before == {}
    bob.find("form[data-method] button").click()
    bob.until(lambda: bob.has("dialog"))
    bob.find("dialog [value=yes]").click()
    bob.until(lambda: bob.has("#revoked") and bob.text("#revoked") != before)
    assert console_world.zervi.console.revoked_before.keys() == {"2"}
    bob.until_text("Done", "#announce")


def test_a_policy_is_shown_with_its_routes(bob: Page) -> None:
    bob.open("/policies")
    own = "tr:has(.state.healthy) th a"
    bob.until(lambda: bob.has(own))
    bob.find(own).click()
    bob.until_text("one of the permissions cluster:view, cluster:manage")
    assert "nothing: it is public" in bob.text()


def test_hostile_names_are_text(bob: Page, console_world: World) -> None:
    """A node's names cannot become elements, scripts, or reorder the text around them."""

    async def plant() -> None:
        async with aiohttp.ClientSession(console_world.looma.url) as client:
            for number, text in enumerate(HOSTILE[:5]):
                body = {
                    "service_id": f"{text}{number}",
                    "service_name": text,
                    "labels": {"a": text},
                }
                async with client.post("/cluster/register", json=body) as answer:
                    assert answer.status == 201

    console_world.run(plant())
    bob.script("window.alert = () => { window.attacked = true; }")
    for path in ("/services", "/nodes?q=script", "/"):
        bob.open(path)
        bob.until(lambda: bob.has("table"))
        assert not bob.has("#view script")
        assert not bob.has("#view img")
        assert "\u202e" not in bob.text()
    assert not bob.script("return window.attacked || false")


def test_a_script_in_the_page_would_not_run(bob: Page) -> None:
    """The policy of the page forbids inline scripts, should one ever get in."""
    bob.script(
        "const e = document.createElement('script'); e.textContent = 'window.ran = 1';"
        "document.body.append(e);"
    )
    assert bob.script("return window.ran || 0") == 0
    assert any("Content Security Policy" in fault for fault in bob.faults())


def test_pages_are_chinese_where_the_viewer_chooses_it(bob: Page) -> None:
    bob.find("#language").click()
    bob.until(lambda: bob.script("return document.documentElement.lang") == "zh-CN")
    for path in PATHS:
        bob.open(path)
        words = bob.text("main") + bob.text("header")
        assert sum("\u4e00" <= character <= "\u9fff" for character in words) > 20, path
        assert "Sign out" not in words
    bob.find("#language").click()
    bob.until(lambda: bob.script("return document.documentElement.lang") == "en")


@pytest.mark.parametrize("width", [360, 768, 2560])
def test_no_page_scrolls_sideways(bob: Page, width: int) -> None:
    mobile = width < 500
    bob.driver.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": mobile},
    )
    try:
        for path in PATHS:
            bob.open(path)
            assert bob.script("return document.documentElement.scrollWidth") <= width, path
    finally:
        bob.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_theme_follows_the_system_and_the_button(bob: Page) -> None:
    def back() -> str:
        return str(bob.script("return getComputedStyle(document.body).backgroundColor"))

    light = back()
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    bob.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    dark = back()
    assert dark != light
    bob.find("#theme").click()
    assert back() == light
    bob.open("/services")
    assert back() == light  # it is remembered
    bob.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_pages_have_what_a_screen_reader_and_a_keyboard_need(bob: Page) -> None:
    for path in PATHS:
        bob.open(path)
        assert bob.script(FAULTS) == [], path
    bob.script("document.activeElement.blur()")
    body = bob.find("body")
    body.send_keys("\ue004")  # Tab
    assert bob.script("return document.activeElement.className") == "skip"
    assert bob.script("return document.activeElement.getBoundingClientRect().left") >= 0


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast(bob: Page, theme: str) -> None:
    """WCAG 2.2, 1.4.3: a ratio of at least 4.5, for every text of the overview."""
    bob.script("document.documentElement.dataset.theme = arguments[0]", theme)
    low = bob.script(
        """
        const rgb = (t) => t.match(/[\\d.]+/g).map(Number);
        const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
          .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
          .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
        const back = (e) => {
          for (; e; e = e.parentElement) {
            const colour = rgb(getComputedStyle(e).backgroundColor);
            if (colour[3] !== 0) return colour;
          }
          return [255, 255, 255];
        };
        const low = [];
        for (const e of document.querySelectorAll("main *, header *")) {
          const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
          if (!own || !e.checkVisibility() || e.closest(".unseen, .skip, template")) continue;
          const [one, two] = [light(rgb(getComputedStyle(e).color)), light(back(e))];
          const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
          if (ratio < 4.5) low.push(`${e.textContent.trim().slice(0, 30)}: ${ratio.toFixed(2)}`);
        }
        return low;
        """
    )
    assert low == []
