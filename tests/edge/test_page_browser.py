"""The node's page in a real Chromium: it stays live, by mouse, keyboard and on a narrow screen."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.console.browser import chromium
from tests.edge.page_rig import WithPage, with_page
from tests.edge.sidecar_rig import token
from tests.support.waiting import eventually

EVIL = "<img src=x onerror=\"document.title='owned'\">\u202egnp" + "y" * 300


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    browser = chromium()
    try:
        yield browser
    finally:
        browser.quit()


class Browser:
    """The browser at the page; each step runs in a thread, beside the sidecar's client."""

    def __init__(self, driver: Any, page: WithPage) -> None:
        self.driver = driver
        self.page = page

    async def open(self, path: str = "/", *, width: int = 1280, dark: bool = False) -> None:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.does(
            lambda: (
                self.driver.get("about:blank"),
                self.driver.get_log("browser"),  # of the test before
                self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen),
                self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]}),
                self.driver.get(self.page.url + path),
            )
        )

    async def does(self, work: Callable[[], Any]) -> Any:
        return await asyncio.to_thread(work)

    async def script(self, code: str, *given: Any) -> Any:
        return await self.does(lambda: self.driver.execute_script(code, *given))

    async def text(self, selector: str) -> str:
        return str(
            await self.script(
                "return document.querySelector(arguments[0])?.innerText ?? ''", selector
            )
        )

    async def until(self, holds: Callable[[Any], Any], why: str) -> None:
        def now() -> bool:
            try:
                return bool(holds(self.driver))
            except WebDriverException:  # replaced meanwhile
                return False

        await eventually(now, why, within=20)

    async def until_text(self, text: str, selector: str) -> None:
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        await self.until(
            lambda driver: text in driver.execute_script(script, selector),
            f"{text!r} in {selector}",
        )

    async def type(self, selector: str, text: str) -> None:
        await self.does(lambda: self.driver.find_element(By.CSS_SELECTOR, selector).send_keys(text))

    async def press(self, *keys: str) -> None:
        await self.does(lambda: self.driver.switch_to.active_element.send_keys(*keys))

    async def complaints(self) -> list[str]:
        return [line["message"] for line in await self.does(lambda: self.driver.get_log("browser"))]


async def test_decisions_appear_are_filtered_paused_and_explained(
    driver: Any, tmp_path: Path
) -> None:
    async with with_page(tmp_path, log={"replayable": True, "decisions": "none"}) as page:
        browser = Browser(driver, page)
        await browser.open()
        await browser.until_text("live", "#live")
        await page.sidecar.reason("/closed/first")
        await browser.until_text("/closed/first", "#decisions table")

        # What has the focus keeps it while rows arrive above.
        await browser.script("document.querySelector('[data-explain]').focus()")
        await page.sidecar.reason("/open/second")
        await browser.until_text("/open/second", "#decisions table")
        label = "return document.activeElement.getAttribute('aria-label')"
        assert "/closed/first" in await browser.script(label)
        rows = "return [...document.querySelectorAll('#decisions tbody tr')].map(r => r.innerText)"
        newest, oldest = await browser.script(rows)
        assert "/open/second" in newest
        assert "/closed/first" in oldest

        # By keyboard: the explanation opens, and closes with Escape.
        await browser.press(Keys.ENTER)
        await browser.until_text("no token in header authorization", "dialog[open]")
        assert await browser.script("return document.querySelector('dialog ol.steps') !== null")
        await browser.press(Keys.ESCAPE)
        await browser.until(
            lambda driver: not driver.find_elements(By.CSS_SELECTOR, "dialog[open]"), "closed"
        )
        assert "/closed/first" in await browser.script(label)

        # While it is paused, nothing arrives.
        await browser.script("document.getElementById('pause').click()")
        await page.sidecar.reason("/open/third")
        marked = "document.querySelector('[data-live=figures]').firstChild.remove()"
        count = "return document.querySelector('[data-live=figures]').children.length"
        await browser.script(marked)
        await browser.until(lambda driver: driver.execute_script(count) == 6, "an update")
        assert "/open/third" not in await browser.text("#decisions")
        await browser.script("document.getElementById('pause').click()")
        await browser.until_text("/open/third", "#decisions table")

        # Filters apply while typing, and the address has them.
        await browser.type("#decisions input[name=route]", "closed")
        await browser.until(lambda driver: "route=closed" in driver.current_url, "the address")
        await browser.until(lambda driver: len(driver.execute_script(rows)) == 1, "one row")
        await browser.type("#policy input[name=q]", "orders")
        await browser.until_text("1 to 1 of 1", "#policy")
        assert "/open/*" not in await browser.text("#policy table")
        assert "route=closed" in await browser.does(lambda: driver.current_url)
        assert await browser.complaints() == []


async def test_hostile_names_are_text(driver: Any, tmp_path: Path) -> None:
    """Of a subject, a path and a host; nothing of them runs, and none makes the page wider."""
    async with with_page(tmp_path, log={"replayable": True}) as page:
        await page.sidecar.reason("/closed/1", bearer=token(user_id=EVIL, role=EVIL))
        await page.sidecar.reason(f"/closed/<svg/onload=alert(1)>/{'z' * 900}")
        browser = Browser(driver, page)
        for width in (360, 1280):
            await browser.open(width=width)
            await browser.until_text("\\u202egnp", "#decisions table")
            assert "<svg/onload=alert(1)>" in await browser.text("#decisions table")
            elements = "return document.querySelectorAll('img, svg[onload], #decisions svg').length"
            assert await browser.script(elements) == 0
            assert "owned" not in await browser.script("return document.title")
            wide = "return document.documentElement.scrollWidth"
            assert await browser.script(wide) <= width
        assert await browser.complaints() == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 2560])
async def test_the_page_fits_and_can_be_read(
    driver: Any, tmp_path: Path, width: int, dark: bool
) -> None:
    """No sideways scrolling, a contrast of at least 4.5 (WCAG 2.2, 1.4.3), and names for all."""
    async with with_page(tmp_path) as page:
        await page.sidecar.reason("/closed/1")
        browser = Browser(driver, page)
        await browser.open("/?lang=zh", width=width, dark=dark)
        await browser.until_text("/closed/1", "#decisions table")
        assert await browser.script("return document.documentElement.scrollWidth") <= width
        assert await browser.script("return document.documentElement.lang") == "zh-CN"
        assert await browser.script(CONTRAST) == []
        assert await browser.script(UNNAMED) == []
        assert await browser.complaints() == []


CONTRAST = """
const light = (c) => {
  const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const back = (e) => {
  const own = getComputedStyle(e).backgroundColor;
  return own !== "rgba(0, 0, 0, 0)" || !e.parentElement ? own : back(e.parentElement);
};
return [...document.querySelectorAll("main *, header *")]
  .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
  .filter((e) => e.checkVisibility() && !e.closest("svg, .unseen, option"))
  .map((e) => {
    const [a, b] = [light(getComputedStyle(e).color), light(back(e))];
    return [e.outerHTML.slice(0, 80), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
  })
  .filter(([, ratio]) => ratio < 4.5);
"""

UNNAMED = """
const all = "input:not([type=hidden]), select, button, a, [role=region], table, svg";
return [...document.querySelectorAll(all)]
  .filter((e) => !(e.labels?.length || e.innerText?.trim() || e.getAttribute("aria-label")))
  .map((e) => e.outerHTML.slice(0, 80));
"""
