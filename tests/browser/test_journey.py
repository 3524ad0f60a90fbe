"""The first journey, in a real browser: a link, a threshold, a head, another page, and back."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Page, expect

from core.figures.base.style import Look
from tests.browser.conftest import NewPage
from tests.helpers.screen import calm, click_figure, go_back, only

pytestmark = pytest.mark.browser
HEAT_MAP = ".st-key-heatmap .js-plotly-plot"
COUNT = re.compile(r"(\d+) of (\d+) heads above (\d\.\d\d)")


@pytest.fixture
def heads(server: str, new_page: NewPage) -> Page:
    """The Heads page on a small bundled model."""
    page = new_page()
    open_heads(page, f"{server}/Heads?model=two-layer")
    return page


def open_heads(page: Page, address: str) -> None:
    page.goto(address)
    expect(only(page.locator(HEAT_MAP))).to_be_visible()


def count_on(page: Page) -> tuple[int, int, float]:
    """Heads above the threshold, all heads, and the threshold, as the page says."""
    text = page.get_by_role("heading", name=COUNT).text_content() or ""
    found = COUNT.search(text)
    assert found is not None
    return int(found[1]), int(found[2]), float(found[3])


def click_cell(page: Page, layer: int, head: int) -> None:
    """Click in the middle of a head's cell of the heat map."""
    click_figure(page, "heatmap", head, layer)


def test_home_shows_the_live_picture_the_behaviour_and_the_self_check(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(server)
    expect(page.locator(".st-key-arcs .js-plotly-plot, .js-plotly-plot").first).to_be_visible()
    expect(page.get_by_text("Induction is present")).to_be_visible()
    expect(page.get_by_text("This machine computes the known answers")).to_be_visible()
    page.get_by_role("link", name="Heads: which heads do it?").click()
    expect(only(page.locator(HEAT_MAP))).to_be_visible()


def test_a_click_in_the_heat_map_picks_the_head_and_the_address_says_so(heads: Page) -> None:
    click_cell(heads, 1, 2)
    expect(heads.get_by_role("heading", name="L1H2: layer 1, head 2")).to_be_visible()
    expect(heads).to_have_url(re.compile(r"[?&]head=L1H2(&|$)"))
    click_cell(heads, 0, 3)
    expect(heads.get_by_role("heading", name="L0H3: layer 0, head 3")).to_be_visible()
    expect(heads).to_have_url(re.compile(r"[?&]head=L0H3(&|$)"))


def test_the_picked_head_opens_in_the_attention_view(heads: Page) -> None:
    click_cell(heads, 1, 1)
    heads.get_by_role("link", name="See where it looks").click()
    expect(heads.get_by_role("heading", name=re.compile("Attention of L1H1"))).to_be_visible()
    expect(heads).to_have_url(re.compile(r"/Attention\?.*head=L1H1"))
    assert "model=two-layer" in heads.url


def test_the_threshold_moves_the_count_without_measuring_again(heads: Page) -> None:
    before, total, threshold = count_on(heads)
    assert (total, threshold) == (8, 0.5)
    slider = heads.get_by_role("slider", name="Threshold")
    slider.focus()
    heads.keyboard.press("Home")
    expect(heads.get_by_role("heading", name=re.compile("heads above 0.00"))).to_be_visible()
    everything, _, _ = count_on(heads)
    assert everything > before > 0
    heads.keyboard.press("End")
    expect(heads.get_by_role("heading", name="0 of 8 heads above 1.00")).to_be_visible()
    expect(heads).to_have_url(re.compile("threshold=1.00"))
    expect(heads.get_by_text("Measuring every head")).to_have_count(0)


def test_a_copied_link_restores_everything_on_a_fresh_server(fresh_server: str, new_page: NewPage) -> None:
    page = new_page()
    query = "model=two-layer&length=40&sequences=3&seed=7&bos=never&tokens=2:300&score=contrast&threshold=0.27&head=L1H2"
    open_heads(page, f"{fresh_server}/Heads?{query}")
    expect(page.get_by_role("heading", name="L1H2: layer 1, head 2")).to_be_visible()
    assert count_on(page)[2] == 0.27
    measured = page.get_by_text("Measured on tokens").first.text_content() or ""
    for part in ("ids 2 to 299", "3 sequences of length 40", "no BOS", "seed 7"):
        assert part in measured
    assert sorted(page.url.partition("?")[2].replace("%3A", ":").split("&")) == sorted(query.split("&"))
    page.reload()
    expect(page.get_by_role("heading", name="L1H2: layer 1, head 2")).to_be_visible()


def test_controls_survive_a_change_of_page_and_the_back_button(heads: Page) -> None:
    heads.get_by_role("spinbutton", name="Seed").fill("11")
    heads.get_by_role("spinbutton", name="Seed").press("Enter")
    expect(heads).to_have_url(re.compile("seed=11"))
    expect(heads.get_by_text("seed 11").first).to_be_visible()
    heads.get_by_role("link", name="Home", exact=True).click()
    expect(heads.get_by_role("heading", name="Where to go next")).to_be_visible()
    expect(heads.get_by_role("spinbutton", name="Seed")).to_have_value("11")
    expect(heads).to_have_url(re.compile(r":\d+/\?.*seed=11"))
    go_back(heads)
    expect(only(heads.locator(HEAT_MAP))).to_be_visible()
    expect(heads.get_by_role("spinbutton", name="Seed")).to_have_value("11")
    go_back(heads)
    expect(heads.get_by_role("spinbutton", name="Seed")).to_have_value("0")
    expect(heads.get_by_role("heading", name="Heads of two-layer")).to_be_visible()
    heads.evaluate("() => history.forward()")
    expect(heads.get_by_role("spinbutton", name="Seed")).to_have_value("11")


def saved_picture(page: Page, kind: str, width: int, folder: Path) -> Path:
    """The heat map as the page saves it in a window of that width."""
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function("narrow => window.headscopeScreen?.narrow.matches === narrow", arg=width == 390)
    calm(page)
    panel = page.locator(".st-key-panel-heatmap")
    # On a busy machine the picture may not have been drawn yet, and the page would say just that.
    expect(panel.locator('.modebar-btn[data-attr="toImage"], .modebar-btn[data-title^="Download plot"]')).to_have_count(1)
    if not page.get_by_role("button", name="Picture as PNG").is_visible():
        panel.get_by_test_id("stPopoverButton").click()
    with page.expect_download(timeout=90_000) as download:
        page.get_by_role("button", name=f"Picture as {kind.upper()}").click()
    saved = folder / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == f"headscope-two-layer-heatmap.{kind}"
    expect(page.get_by_role("button", name="Table as CSV")).to_be_visible()
    return saved


def test_a_picture_is_saved_in_the_browser_light_and_with_its_words(server: str, new_page: NewPage, tmp_path: Path) -> None:
    page = new_page(color_scheme="dark")
    open_heads(page, f"{server}/Heads?model=two-layer")
    header = saved_picture(page, "png", 390, tmp_path).read_bytes()[:24]
    assert header.startswith(b"\x89PNG")
    assert int.from_bytes(header[16:20]) > 1500, "a telephone's screen is narrow, and its pictures are as sharp as others"
    saved = saved_picture(page, "svg", 1400, tmp_path)
    words = " ".join(" ".join(ElementTree.parse(saved).getroot().itertext()).split())
    assert "Measured on" in words and "python -m core score --model two-layer" in words, words
    dark, light = (colours_of(Look(dark=dark)) for dark in (True, False))
    drawn = set(re.findall(r"rgb\(\d+, \d+, \d+\)", saved.read_text()))
    assert drawn & light and not drawn & dark
    assert page.evaluate(f"() => document.querySelector('{HEAT_MAP}')._fullLayout.paper_bgcolor") == Look(dark=True).paper
    page.wait_for_function(f"() => document.querySelector('{HEAT_MAP}').layout.paper_bgcolor === '{Look(dark=True).paper}'")


def colours_of(look: Look) -> set[str]:
    """As a picture's file has them."""
    colours = (look.ink, look.paper, look.faint, look.muted, look.accent, look.second)
    return {f"rgb({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))})" for colour in colours}


def test_tables_are_saved_as_csv_and_json(heads: Page, tmp_path: Path) -> None:
    heads.locator(".st-key-panel-ranked").get_by_test_id("stPopoverButton").click()
    with heads.expect_download() as download:
        heads.get_by_role("button", name="Table as CSV").click()
    download.value.save_as(tmp_path / "table.csv")
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0].startswith("name,layer,head,induction,contrast") and len(lines) == 9
    with heads.expect_download() as download:
        heads.get_by_role("button", name="All numbers as JSON").click()
    download.value.save_as(tmp_path / "scores.json")
    assert json.loads((tmp_path / "scores.json").read_text())["behaviour"]["state"] == "present"


def test_an_address_cannot_bring_in_anything_from_elsewhere(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Heads?model=![x](https://example.org/x.png)&length=<img src=https://example.org/y.png>")
    expect(page.get_by_text("There is no model called")).to_be_visible()
    expect(page.get_by_text("length must be a whole number")).to_be_visible()
    # This server's own links may carry the words in their query; nothing may lead or load from there.
    host = "new URL(e.src || e.href, location.href).host"
    elsewhere = f"() => [...document.querySelectorAll('img, a')].filter(e => {host} === 'example.org')"
    assert page.evaluate(f"() => ({elsewhere})().length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_follow_the_theme(server: str, new_page: NewPage, scheme: str) -> None:
    page = new_page(color_scheme=scheme)
    open_heads(page, f"{server}/Heads?model=two-layer")
    background = "() => getComputedStyle(document.querySelector('.stApp')).backgroundColor"
    paper = f"() => document.querySelector('{HEAT_MAP}')?._fullLayout?.paper_bgcolor"
    page.wait_for_function(f"() => ({paper})() === '{'#0e1117' if scheme == 'dark' else '#ffffff'}'")
    assert page.evaluate(background) == ("rgb(14, 17, 23)" if scheme == "dark" else "rgb(255, 255, 255)")


def test_a_head_can_be_picked_with_the_keyboard_alone(heads: Page) -> None:
    picker = heads.get_by_role("combobox", name="Picked head")
    picker.focus()
    heads.keyboard.type("L1H3")
    heads.keyboard.press("Enter")
    expect(heads.get_by_role("heading", name="L1H3: layer 1, head 3")).to_be_visible()


def test_large_text_enlarges_page_and_figures(heads: Page) -> None:
    heads.get_by_text("Large text").click()
    heads.wait_for_function(f"() => document.querySelector('{HEAT_MAP}')?._fullLayout?.font.size === 20")
    assert heads.evaluate("() => getComputedStyle(document.documentElement).fontSize") == "20px"
