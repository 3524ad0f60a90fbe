"""Text and Compare in a real browser: by link on a server nobody has visited, a click on a point, words of a person's own."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NewPage
from tests.helpers.screen import click_figure, figure, finished

pytestmark = pytest.mark.browser
TEXT = "model=mixture&length=20&sequences=2&windows=16&window_length=48"
PAPER = "head,a paper\nL0H0,1\nL0H2,2\nL1H1,3\nL1H2,4\nL1H3,5"
SMALL = "model=two-layer&length=20&sequences=2"


def place_of(page: Page, panel: str, head: str) -> tuple[float, float]:
    """Where a head's point is, in the units of the picture."""
    x, y = figure(page, panel).evaluate(
        """(plot, head) => {
            const heads = plot.data[plot.data.length - 1];
            const i = heads.customdata.indexOf(head);
            const numbers = values => Array.from(values._inputArray ?? values);
            return [numbers(heads.x)[i], numbers(heads.y)[i]];
        }""",
        head,
    )
    return x, y


def lonely_head(page: Page, panel: str, but: str) -> tuple[str, float, float]:
    """The head, other than `but`, whose point is farthest from every other: a click there can mean no other."""
    name, x, y = figure(page, panel).evaluate(
        """(plot, but) => {
            const heads = plot.data[plot.data.length - 1];
            const [x, y] = [heads.x, heads.y].map(values => Array.from(values._inputArray ?? values));
            const span = values => Math.max(...values) - Math.min(...values) || 1;
            const near = i => Math.min(...x.map((_, j) => j === i ? Infinity :
                Math.hypot((x[i] - x[j]) / span(x), (y[i] - y[j]) / span(y))));
            const others = x.map((_, i) => i).filter(i => heads.customdata[i] !== but);
            const best = others.reduce((a, b) => near(b) > near(a) ? b : a);
            return [heads.customdata[best], x[best], y[best]];
        }""",
        but,
    )
    return name, x, y


def test_a_link_shows_heads_on_text_and_a_click_what_one_looks_at(fresh_server: str, new_page: NewPage) -> None:
    page = new_page(color_scheme="dark")
    page.goto(f"{fresh_server}/Text?{TEXT}&head=L1H3")
    expect(page.get_by_role("heading", name=re.compile(r"of the \d+ heads? that match"))).to_be_visible()
    expect(page.get_by_role("heading", name="What L1H3 looks at")).to_be_visible()
    page.get_by_text("Its strongest edges, on the text").click()
    expect(page.locator(".contexts").first).to_be_visible()
    expect(page.get_by_text("Most like it")).to_be_visible()
    finished(page)
    other, x, y = lonely_head(page, "text-scatter", "L1H3")
    click_figure(page, "text-scatter", x, y)
    expect(page.get_by_role("heading", name=f"What {other} looks at")).to_be_visible()
    expect(page).to_have_url(re.compile(f"head={other}"))
    page.get_by_text("a sample by strength").click()
    expect(page.get_by_text(re.compile(r"Strength 0\.\d to \d\.\d: \d+ edges")).first).to_be_visible()
    # A person's own words: what comes next, with the heads and without them.
    page.get_by_text("A text of your own").click()
    page.get_by_role("textbox", name="Your own text").fill("the dog saw the cat and the dog")
    page.keyboard.press("Control+Enter")
    for title in ("Next tokens: With all heads", "Next tokens: Without"):
        expect(page.get_by_role("table", name=re.compile(title))).to_be_visible()
    expect(page).to_have_url(re.compile(r"text=the"))


def test_two_numbers_beside_each_other_pasted_ones_and_the_way_to_a_card(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Compare?{SMALL}&x=previous_token&y=k_composition&head=L1H2")
    page.get_by_role("button", name="Measure: K-composition").click()
    expect(page.get_by_text("K-composition (read by L1H2)").first).to_be_visible()
    figure(page, "comparison")
    finished(page)
    page.goto(f"{server}/Compare?{SMALL}&x=induction&y=imported")
    expect(page.get_by_text("no address can hold them")).to_be_visible()
    page.get_by_role("textbox", name=re.compile("Paste CSV or JSON")).fill(PAPER)
    page.keyboard.press("Control+Enter")
    expect(page.get_by_text("5 of 8 heads have a number.")).to_be_visible()
    figure(page, "comparison")
    finished(page)
    click_figure(page, "comparison", *place_of(page, "comparison", "L0H2"))
    expect(page.get_by_role("heading", name=re.compile("L0H2 of two-layer"))).to_be_visible()
    expect(page).to_have_url(re.compile(r"/Head_card\?.*head=L0H2"))
