"""Ablation, causal map and sweep in a real browser: links, clicks, and a threshold that costs nothing."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import NewPage
from tests.helpers.screen import click_figure, count_progress, figure, finished

pytestmark = pytest.mark.browser
SMALL = "model=two-layer&length=20&sequences=2"


def test_a_link_restores_the_set_and_the_mode_and_clicks_change_the_set(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Ablation?{SMALL}&mode=zero&set=picked&heads=L0H2,L1H1")
    expect(page.get_by_role("heading", name="2 heads taken away: L0H2, L1H1")).to_be_visible()
    expect(page.get_by_role("radio", name="Zero")).to_be_checked()
    expect(page.get_by_text("Gain lost", exact=True)).to_be_visible()
    expect(page.get_by_text("hurts more than the only other set")).to_be_visible()
    finished(page)
    click_figure(page, "set-map", 3, 1)
    expect(page.get_by_role("heading", name="3 heads taken away: L0H2, L1H1, L1H3")).to_be_visible()
    expect(page).to_have_url(re.compile(r"heads=L0H2(%2C|,)L1H1(%2C|,)L1H3"))
    finished(page)
    click_figure(page, "set-map", 2, 0)
    expect(page.get_by_role("heading", name="2 heads taken away: L1H1, L1H3")).to_be_visible()
    finished(page)
    page.reload()
    expect(page.get_by_role("heading", name="2 heads taken away: L1H1, L1H3")).to_be_visible()
    expect(page.get_by_role("radio", name="Zero")).to_be_checked()


def test_moving_the_threshold_on_the_sweep_page_starts_no_work(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Sweep?{SMALL}")
    expect(page.get_by_text("At the slider")).to_be_visible()
    finished(page)
    count_progress(page)
    slider = page.get_by_role("slider", name="Threshold")
    slider.focus()
    page.keyboard.press("End")
    expect(
        page.get_by_text("At the slider’s threshold, 1.00:").or_(page.get_by_text("slider's threshold, 1.00:"))
    ).to_be_visible()
    page.keyboard.press("Home")
    expect(page.get_by_text("threshold, 0.00:")).to_be_visible()
    assert page.evaluate("() => window.progressSeen") == 0


def test_a_point_of_the_scatter_leads_to_the_attention_of_its_head(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Causal_map?{SMALL}")
    expect(page.get_by_text("L0H2 matters most")).to_be_visible()
    finished(page)
    plot = figure(page, "score-effect")
    x, y = plot.evaluate(
        """plot => {
            const heads = plot.data[plot.data.length - 1];
            const i = heads.customdata.indexOf("L0H2");
            const numbers = values => Array.from(values._inputArray ?? values);
            return [numbers(heads.x)[i], numbers(heads.y)[i]];
        }"""
    )
    click_figure(page, "score-effect", x, y)
    expect(page.get_by_role("heading", name="L0H2")).to_be_visible()
    expect(page.get_by_text("large effect, does not look", exact=True)).to_be_visible()
    page.get_by_role("link", name="See where it looks").click()
    expect(page.get_by_role("heading", name=re.compile("Attention of L0H2"))).to_be_visible()
