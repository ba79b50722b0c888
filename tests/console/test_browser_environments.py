"""The page of environments in a real Chromium: create one, watch it, delete it."""

import aiohttp
import pytest

from tests.console.browser import Page, World
from tests.console.rig import entry


@pytest.fixture
def environments(page: Page, console_world: World) -> Page:
    """Give the page to bob, an admin; Looma has one Basic Server."""

    async def register() -> None:
        node = entry(service_id="basic-1", service_name="basic-server", labels={"zone": "a"})
        url = f"{console_world.looma.url}/cluster/register"
        async with aiohttp.ClientSession() as client, client.post(url, json=node) as answer:
            assert answer.status == 201

    console_world.run(register())
    page.take_session(console_world.zervi.token("bob"))
    page.open("/environments")
    return page


def confirm(page: Page, form: str) -> None:
    """Send a form and confirm."""
    page.find(f"{form} button").click()
    page.until(lambda: page.find("dialog [value=yes]").is_displayed())
    page.find("dialog [value=yes]").click()


def test_an_environment_is_created_and_deleted_on_the_page(
    environments: Page, console_world: World
) -> None:
    """Each step appears without a reload, the failed ones with their error."""
    page = environments
    assert page.find('nav [aria-current="page"]').text == "Environments"
    console_world.zervi.environments.failures.fail("grant", ["before", "after"])
    form = 'form[data-method="POST"]'
    page.find(f"{form} [name=username]").send_keys("dora")
    page.find(f"{form} [name=requirements]").send_keys("zone=a")
    confirm(page, form)
    page.until_text("permissions: done")
    page.until_text("ready", "[data-environment] td")
    assert "zone=a" in page.text("[data-environment]")
    assert page.find('a[href="/nodes/basic-1"]').text == "basic-1"
    confirm(page, "[data-environment] form")
    page.until_text("deleted", "[data-environment] td")
    page.until_text("revocation of tokens: done")
    page.until(lambda: console_world.looma.allocations == {})  # "being deleted" is shown first


def test_a_refusal_is_shown_beside_the_form(environments: Page) -> None:
    page = environments
    form = 'form[data-method="POST"]'
    page.find(f"{form} [name=username]").send_keys("eve")
    page.find(f"{form} [name=requirements]").send_keys("zo ne=a")
    confirm(page, form)
    page.until_text("`requirements` must be labels", f"{form} [data-said]")
