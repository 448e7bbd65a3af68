"""The page at `/` in a real browser, at a leader and at a node that are processes of their own."""

import json
import re
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.watching import Watched
from tests.e2e.processes import Serving, serving

pytestmark = pytest.mark.browser

KEYS = ("--key", "settings", "--key", "users/*", "--nodes-key", "things/*", "--advertise", "auto")
BIG = 9007199254740993
"""The first whole number that JavaScript rounds."""


@pytest.fixture
def leader(tmp_path: Path) -> Generator[Serving, None, None]:
    with serving(tmp_path, *KEYS) as serves:
        yield serves


def write(member: Serving, key: str, value: Any) -> None:
    httpx.post(f"{member.url}/{key}", content=json.dumps(value), trust_env=False).raise_for_status()


def read(member: Serving, key: str) -> Any:
    response = httpx.get(f"{member.url}/{key}", trust_env=False)
    return response.json()["data"] if response.is_success else None


def row(page: Page, key: str) -> Locator:
    header = page.get_by_role("rowheader", name=key, exact=True)
    return page.get_by_role("table", name="Entries").get_by_role("row").filter(has=header)


def table(page: Page, name: str) -> Locator:
    return page.get_by_role("table", name=name)


def allow_changes(page: Page) -> None:
    page.get_by_role("switch", name="Allow changes").check()


# What it shows -------------------------------------------------------------------------------------------------------


def test_a_person_sees_role_peers_collections_and_the_way_to_other_members(
    leader: Serving, tmp_path: Path, browser: Browser, page: Page
) -> None:
    with serving(tmp_path, *KEYS, "--leader", leader.address) as node:
        page.goto(leader.url)
        expect(page.locator("#role")).to_have_text("leader")
        expect(page.get_by_text("● live")).to_be_visible()
        expect(table(page, "Peers").get_by_role("row").nth(1)).to_contain_text("healthy")
        expect(table(page, "Collections")).to_contain_text("users/*")
        page.get_by_role("link", name=node.url).click()
        expect(page.locator("#role")).to_have_text("node")
        peer = table(page, "Peers").get_by_role("row").nth(1)
        expect(peer).to_contain_text("healthy")
        expect(peer.get_by_role("link", name=leader.url)).to_be_visible()


def test_entries_are_live_and_keep_all_their_digits(leader: Serving, page: Page) -> None:
    page.goto(leader.url)
    write(leader, "settings", {"big": BIG})
    expect(row(page, "settings")).to_contain_text(f'{{"big":{BIG}}}')
    write(leader, "settings", {"big": 1})
    expect(row(page, "settings")).to_contain_text('{"big":1}')
    httpx.delete(f"{leader.url}/settings", trust_env=False)
    expect(row(page, "settings")).to_have_count(0)


def test_many_entries_come_in_pages_and_a_filter_finds_those_that_are_wanted(leader: Serving, page: Page) -> None:
    for number in range(45):
        write(leader, f"users/u{number:02}", number)
    page.goto(leader.url)
    page.get_by_role("searchbox", name="Key contains").fill("users/")
    place = page.locator("#place")
    expect(place).to_have_text("1 to 20 of 45")
    expect(page.get_by_role("button", name="Previous")).to_be_disabled()
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Next").click()
    expect(place).to_have_text("41 to 45 of 45")
    expect(row(page, "users/u44")).to_contain_text("44")
    expect(page.get_by_role("button", name="Next")).to_be_disabled()
    page.get_by_role("searchbox", name="Key contains").fill("u07")
    expect(place).to_have_text("1 to 1 of 1")
    write(leader, "users/u07", "changed")
    expect(row(page, "users/u07")).to_contain_text('"changed"')
    page.get_by_role("searchbox", name="Key contains").fill("no such key")
    expect(page.get_by_text("No key contains that.")).to_be_visible()


def test_a_long_value_is_shown_in_short_until_it_is_asked_for(leader: Serving, page: Page) -> None:
    write(leader, "settings", {"list": list(range(500)), "last": "the end"})
    page.goto(leader.url)
    expect(row(page, "settings")).not_to_contain_text("499")
    row(page, "settings").locator("summary").press("Enter")
    expect(row(page, "settings").locator("pre")).to_contain_text('"last": "the end"')


@pytest.mark.parametrize("member", ["names", "values"])
def test_what_looks_like_html_is_shown_as_text_and_runs_nothing(leader: Serving, page: Page, member: str) -> None:
    html = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>" + " " * 50
    write(leader, "settings", {html: 1} if member == "names" else [html, html])
    page.goto(leader.url)
    expect(row(page, "settings")).to_contain_text("<img src=x")
    row(page, "settings").locator("summary").click()
    expect(row(page, "settings").locator("pre")).to_contain_text("<script>")
    assert page.locator("img").count() == 0
    assert "run" not in page.title()


def test_a_node_whose_address_is_a_script_is_no_link(leader: Serving, page: Page) -> None:
    write(leader, "things/evil", {"ip": "javascript:alert(1)//", "port": 1})
    write(leader, "things/good", {"ip": "127.0.0.9", "port": 81})
    page.goto(leader.url)
    expect(page.get_by_role("link", name="http://127.0.0.9:81")).to_be_visible()
    for link in page.get_by_role("link").all():
        assert re.match(r"#|http://127\.0\.0\.9:81", link.get_attribute("href") or "")


# When members are away -----------------------------------------------------------------------------------------------


def test_a_node_says_that_its_leader_is_away_what_waits_for_it_and_what_was_lost_in_the_end(
    leader: Serving, tmp_path: Path, page: Page
) -> None:
    with serving(tmp_path, *KEYS, "--leader", leader.address) as node:
        page.goto(node.url)
        expect(table(page, "Peers").get_by_role("row").nth(1)).to_contain_text("healthy")
        leader.stop(signal.SIGKILL)
        write(node, "settings", "from the node")
        expect(page.get_by_role("alert").first).to_contain_text("does not answer")
        expect(page.get_by_role("alert").first).to_contain_text("1 change waits")
        expect(table(page, "Peers").get_by_role("row").nth(1)).to_contain_text("away")
        with serving(tmp_path, *KEYS, "--listen", leader.address) as again:
            write(again, "settings", "from the leader")
            lost = table(page, "Conflicts").get_by_role("row").filter(has_text="settings")
            expect(lost).to_contain_text('"from the leader"')
            expect(lost).to_contain_text('"from the node"')
            expect(page.locator("#banner")).to_be_hidden()


def test_the_page_says_when_its_member_is_away_and_goes_on_when_it_is_back(
    leader: Serving, tmp_path: Path, page: Page
) -> None:
    write(leader, "settings", "before")
    page.goto(leader.url)
    expect(row(page, "settings")).to_contain_text('"before"')
    leader.stop(signal.SIGKILL)
    expect(page.get_by_text("has not answered since")).to_be_visible()
    expect(row(page, "settings")).to_contain_text('"before"')
    with serving(tmp_path, *KEYS, "--listen", leader.address) as again:
        write(again, "settings", "after")
        expect(row(page, "settings")).to_contain_text('"after"')
        expect(page.get_by_text("● live")).to_be_visible()


# Changing ------------------------------------------------------------------------------------------------------------


def test_nothing_can_be_changed_until_the_switch_is_on(leader: Serving, page: Page) -> None:
    write(leader, "settings", 1)
    page.goto(leader.url)
    expect(row(page, "settings")).to_contain_text("1")
    expect(page.get_by_role("button", name="Edit settings")).to_be_hidden()
    allow_changes(page)
    expect(page.get_by_role("button", name="Edit settings")).to_be_visible()
    page.reload()
    expect(row(page, "settings")).to_contain_text("1")
    expect(page.get_by_role("button", name="Edit settings")).to_be_hidden()


def test_an_entry_is_edited_and_deleted_with_the_keyboard_alone(leader: Serving, page: Page) -> None:
    write(leader, "settings", {"big": BIG, "name": "old"})
    page.goto(leader.url)
    page.get_by_role("searchbox").fill("settings")
    expect(page.locator("#place")).to_have_text("1 to 1 of 1")
    expect(row(page, "settings")).to_contain_text("old")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    text = page.get_by_role("textbox", name="Value, JSON")
    expect(text).to_be_focused()
    expect(text).to_have_value(f'{{\n  "big": {BIG},\n  "name": "old"\n}}')
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.insert_text(f'{{"big": {BIG}, "name": "new"}}')
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(row(page, "settings")).to_contain_text("new")
    assert read(leader, "settings") == {"big": BIG, "name": "new"}
    expect(page.get_by_role("button", name="Edit settings")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Delete", exact=True).press("Enter")
    expect(row(page, "settings")).to_have_count(0)
    assert read(leader, "settings") is None


def test_what_is_no_json_is_refused_with_the_reason_and_changes_nothing(leader: Serving, page: Page) -> None:
    write(leader, "settings", 1)
    page.goto(leader.url)
    allow_changes(page)
    page.get_by_role("button", name="Edit settings").click()
    page.get_by_role("textbox", name="Value, JSON").fill("{")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#edit-error")).to_contain_text("Not done")
    page.get_by_role("textbox", name="Value, JSON").fill("[" * 2000 + "]" * 2000)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#edit-error")).to_contain_text("deep")
    page.get_by_role("button", name="Cancel").click()
    assert read(leader, "settings") == 1


def test_who_edits_is_told_when_the_entry_changes_meanwhile(leader: Serving, page: Page) -> None:
    write(leader, "settings", 1)
    page.goto(leader.url)
    allow_changes(page)
    page.get_by_role("button", name="Edit settings").click()
    expect(page.locator("#edit-meanwhile")).to_be_hidden()
    write(leader, "settings", 2)
    expect(page.locator("#edit-meanwhile")).to_be_visible()
    expect(page.get_by_role("textbox", name="Value, JSON")).to_have_value("1")


# For everybody -------------------------------------------------------------------------------------------------------


@contextmanager
def looking(browser: Browser, url: str, scheme: Any, width: int) -> Generator[Page, None, None]:
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    watched = Watched(context.new_page())
    watched.page.goto(url)
    yield watched.page
    context.close()
    assert not watched.wrong


def violations(page: Page) -> list[Any]:
    """What breaks a rule of accessibility that a machine can check."""
    axe: Any = Axe()  # typed in part
    return axe.run(page).response["violations"]


@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_breaks_no_rule_of_accessibility_and_fits_the_window(
    leader: Serving, browser: Browser, scheme: str, width: int
) -> None:
    write(leader, "settings", {"list": list(range(500))})
    write(leader, "deep/" * 20 + "k" * 80, "x" * 80)
    with looking(browser, leader.url, scheme, width) as page:
        allow_changes(page)
        row(page, "settings").locator("summary").click()
        assert not violations(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.get_by_role("button", name="Edit settings").click()
        assert not violations(page)
