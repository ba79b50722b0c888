"""A real Chromium before a real Envoy, sidecar and console; all of it for one file of tests."""

import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from demo.console import Change, RunningConsole, running
from demo.looma import Looma, start_looma
from demo.zervi import Zervi, start_zervi
from tests.support.in_thread import Run, in_thread

SECONDS = 20.0  # for a page; a machine may be busy

T = TypeVar("T")


@dataclass
class World:
    """What runs. ``run`` runs a coroutine in the loop of the stand-ins."""

    console: RunningConsole
    looma: Looma
    zervi: Zervi
    run: Run


@contextmanager
def world(directory: Path, change: Change | None = None) -> Iterator[World]:
    """Run everything in a thread, because selenium blocks."""
    with in_thread(_stack(directory, change)) as (parts, run):
        yield World(*parts, run)


@asynccontextmanager
async def _stack(
    directory: Path, change: Change | None
) -> AsyncIterator[tuple[RunningConsole, Looma, Zervi]]:
    looma = await start_looma(0)
    zervi = await start_zervi(0, b"0123456789abcdef0123456789abcdef")
    try:
        async with running(directory, looma=looma.url, zervi=zervi.url, change=change) as console:
            yield console, looma, zervi
    finally:
        await zervi.stop()
        await looma.stop()


class Page:
    """A browser, and what a test looks for in it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver = driver
        self.url = url

    def open(self, path: str = "/") -> None:
        """Open a path and wait for its content."""
        self.driver.get(self.url + path)
        self.loaded()

    def loaded(self) -> None:
        """Wait until the content is there, or what is shown instead."""
        self.until(lambda: self.find("#view").get_attribute("aria-busy") == "false")

    def sign_in(self, user: str, password: str = "") -> None:
        """Fill in the form and send it."""
        self.until(lambda: self.has("#sign-in"))
        for name, value in (("username", user), ("password", password or f"{user}-made-up")):
            field = self.find(f"#sign-in [name={name}]")
            field.clear()
            field.send_keys(value)
        self.find("#sign-in button").click()

    def take_session(self, token: str) -> None:
        """Set the cookie as a login would."""
        cookie = {"name": "__Host-zervi", "value": token, "url": self.url, "path": "/"}
        self.driver.execute_cdp_cmd(
            "Network.setCookie", {**cookie, "secure": True, "httpOnly": True, "sameSite": "Strict"}
        )

    def find(self, selector: str) -> WebElement:
        """Return the first element of a CSS selector."""
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def has(self, selector: str) -> bool:
        """Say whether there is one."""
        return bool(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def text(self, selector: str = "#view") -> str:
        """Return an element's text, "" without one."""
        found = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found[0].text if found else ""

    def until(self, holds: Callable[[], T]) -> T:
        """Wait until something holds; elements that are replaced meanwhile are looked for again."""
        from selenium.common.exceptions import WebDriverException

        wait = WebDriverWait(self.driver, SECONDS, 0.05, ignored_exceptions=(WebDriverException,))
        return wait.until(lambda _: holds())

    def until_text(self, text: str, selector: str = "#view") -> None:
        """Wait for a text."""
        self.until(lambda: text in self.text(selector))

    def script(self, code: str, *given: Any) -> Any:
        """Run a script in the page."""
        return self.driver.execute_script(code, *given)

    def forget(self) -> None:
        """Leave the page, and forget cookies and the log."""
        self.driver.delete_all_cookies()
        self.driver.get("about:blank")
        self._log()

    def faults(self) -> list[str]:
        """Return what the browser complained of, answers with an error status aside."""
        lines = [str(line["message"]) for line in self._log()]
        return [line for line in lines if "the server responded with a status of 40" not in line]

    def _log(self) -> list[dict[str, Any]]:
        """Return what the browser has logged since the last call."""
        untyped: Any = self.driver  # selenium does not type ``get_log``
        lines: list[dict[str, Any]] = untyped.get_log("browser")
        return lines


def chromium() -> webdriver.Chrome:
    """Start a browser; skips the test where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip(
            "chromium and chromedriver are not installed (Debian: chromium chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in (
        "--headless=new",
        "--no-sandbox",  # tests may run as root
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--window-size=1280,900",
        "--lang=en",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
