"""A real browser: the system's Chromium, driven by Playwright."""

import shutil
from collections.abc import Generator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.watching import Watched


@pytest.fixture(scope="session")
def browser() -> Generator[Browser, None, None]:
    found = shutil.which("chromium")
    assert found is not None, "there is no chromium here: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Generator[BrowserContext, None, None]:
    context = browser.new_context()
    context.set_default_timeout(30_000)
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext) -> Generator[Watched, None, None]:
    """A tab, and what went wrong in it, which must be nothing in the end."""
    watched = Watched(context.new_page())
    yield watched
    assert not watched.wrong


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page
