"""The head card in a real browser: a link shows it on a server nobody has visited, and it can be taken away as a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.helpers.screen import figure, finished

pytestmark = pytest.mark.browser
SMALL = "model=two-layer&length=20&sequences=2"
FIGURES = ("patterns", "edges", "removal", "movement")


def whole(page: Page, head: str, label: str) -> None:
    """Wait until every part of the card is there."""
    expect(page.get_by_role("heading", name=f"{head} of two-layer: {label}")).to_be_visible()
    for key in FIGURES:
        figure(page, key)
    finished(page)


def test_a_link_shows_the_card_and_the_card_becomes_a_file(fresh_server: str, new_page: NewPage, tmp_path: Path) -> None:
    page = new_page()
    page.goto(f"{fresh_server}/Head_card?{SMALL}&head=L1H2")
    whole(page, "L1H2", "induction")
    numbers = page.get_by_role("table", name="Every number of L1H2")
    for row in ("Induction", "Contrast", "Copying", "Alone"):
        expect(numbers.get_by_role("row").filter(has_text=row).first).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Card as one page").click()
    download.value.save_as(tmp_path / "card.html")
    # As whoever is sent the file opens it: a page of its own, from a disk, without a network.
    opened = new_page()
    opened.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
    drawn = "document.querySelectorAll('.js-plotly-plot').length"
    opened.set_content((tmp_path / "card.html").read_text(encoding="utf-8"))
    opened.wait_for_function(f"() => {drawn} === 4")
    expect(opened.get_by_role("heading", name="L1H2 of two-layer: induction")).to_be_visible()


def test_another_head_and_the_way_there_and_back(server: str, new_page: NewPage) -> None:
    page = new_page(color_scheme="dark")
    page.goto(f"{server}/Heads?{SMALL}&head=L0H2")
    page.get_by_role("link", name="Open its card").click()
    whole(page, "L0H2", "previous token")
    expect(page).to_have_url(re.compile(r"/Head_card\?.*head=L0H2"))
    picker = page.get_by_role("combobox", name="Another head")
    picker.focus()
    page.keyboard.type("L1H1")
    page.keyboard.press("Enter")
    whole(page, "L1H1", "induction")
    expect(page).to_have_url(re.compile(r"head=L1H1"))
    assert page.evaluate("() => getComputedStyle(document.querySelector('table.numbers')).color") == "rgb(240, 242, 246)"
    page.get_by_role("link", name="See where it looks").click()
    expect(page.get_by_role("heading", name=re.compile("Attention of L1H1"))).to_be_visible()
