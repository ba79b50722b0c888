"""One browser and one world for each file that needs them."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from tests.console.browser import Page, World, chromium, world


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    """Give the browser."""
    driver = chromium()
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def console_world(
    driver: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """Give everything that runs behind the browser."""
    with world(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def page(driver: webdriver.Chrome, console_world: World) -> Iterator[Page]:
    """Give a browser without a session; the page must not have caused a fault."""
    page = Page(driver, console_world.console.url)
    page.forget()
    yield page
    assert page.faults() == []
