"""Every page as a person meets it: readable by axe in both themes, three screens at most, on a telephone, by keyboard alone."""

from __future__ import annotations

import base64
import json
import re
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import plotly
import pytest
import streamlit
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

import core.ui.frame
from core.behaviour import Losses
from core.figures.ablation.beside_baselines import BesideRow, beside_baselines
from core.figures.base.style import Look
from tests.browser.conftest import NewPage
from tests.browser.screens import ADDRESS, PAGES
from tests.helpers.screen import calm, figure, finished, go_back, place_of_head

pytestmark = pytest.mark.browser
SMALL = "model=two-layer&length=20&sequences=2"
GRAVE = {"moderate", "serious", "critical"}
MOST_SCREENS = 3
# Words that cover each other, or that the edge of their figure cuts.
OVERPRINTED = """() => [...document.querySelectorAll(".js-plotly-plot")].flatMap((plot) => {
    const box = plot.getBoundingClientRect();
    const shown = (text) => text.textContent.trim() && getComputedStyle(text).visibility !== "hidden" &&
        !text.closest(".hoverlayer") && text.getBoundingClientRect().width > 0;
    const texts = [...plot.querySelectorAll("svg text")].filter(shown);
    const words = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
    const outside = ({ left, right, top, bottom }) =>
        left < box.left - 1 || right > box.right + 1 || top < box.top - 3 || bottom > box.bottom + 3;
    const cut = words.filter(([, place]) => outside(place)).map(([word]) => `cut: ${word}`);
    const covered = words.flatMap(([word, a], i) => words.slice(i + 1).filter(([, b]) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3.5).map(([other]) => `${word} / ${other}`));
    const buttons = [...plot.querySelectorAll(".modebar-btn")].map((button) => button.getBoundingClientRect());
    const under = words.filter(([, a]) => buttons.some((b) =>
        Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1.5 &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3.5)).map(([word]) => `${word} / a button`);
    return [...cut, ...covered, ...under];
})"""
WIDTHS = "() => [document.documentElement.scrollWidth, document.querySelector('.stMain').scrollWidth, innerWidth]"
# Tables whose last columns lie outside their place: nobody sees that there is more.
CUT_TABLES = """() => [...document.querySelectorAll(".stMain :is(.numbers, [data-testid=stTableStyledTable])")]
    .filter((table) => table.scrollWidth > table.parentElement.clientWidth).map((table) => table.textContent)"""
# Buttons and links that do not say all their words.
CUT_LABELS = """() => [...document.querySelectorAll(".stMain :is(a, button, summary)")]
    .flatMap((each) => [each, ...each.querySelectorAll("*")])
    .filter((each) => each.clientWidth && each.scrollWidth > each.clientWidth + 1).map((each) => each.textContent)"""
HEIGHT = "() => document.querySelector('.stMain').scrollHeight"


def opened(page: Page, address: str) -> Page:
    """The page, once nothing on it moves."""
    page.goto(address)
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    calm(page)
    return page


def with_large_text(page: Page) -> Page:
    """The page in large letters, its sidebar open."""
    if page.get_by_test_id("stExpandSidebarButton").is_visible():
        page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_text("Large text").click()
    page.wait_for_function("() => getComputedStyle(document.documentElement).fontSize === '20px'")
    calm(page)
    return page


def close_sidebar(page: Page) -> None:
    """Put the sidebar away; its button is seen by whoever points at it."""
    close = page.get_by_test_id("stSidebarCollapseButton")
    close.hover()
    close.get_by_role("button").click()


def grave_findings(page: Page) -> list[tuple[str, str]]:
    """What axe calls moderate or worse, and goes on to: the rule, and where it is broken first."""
    for _ in range(20):
        found: list[dict[str, Any]] = Axe().run(page).response["violations"]
        grave = [(each["id"], str(each["nodes"][0]["html"])[:200]) for each in found if each["impact"] in GRAVE]
        if not grave:
            break
        # What is pale because it is being drawn again is so for a moment.
        page.wait_for_timeout(1000)
    return grave


@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_read_by_everybody_on_every_screen(server: str, new_page: NewPage, name: str) -> None:
    page = opened(new_page(width=1400, height=900), f"{server}/{name}?{ADDRESS}")
    # Once one piece of work follows another no more.
    finished(page)
    assert page.evaluate(HEIGHT) <= MOST_SCREENS * 900
    assert grave_findings(page) == []
    page.set_viewport_size({"width": 1280, "height": 800})
    slider = page.get_by_role("slider", name="Threshold").bounding_box()
    assert slider is not None and slider["y"] + slider["height"] < 800, "the threshold is in sight"
    calm(page)
    # Columns find their widths some time after the window has another one.
    page.wait_for_function(f"() => !({CUT_TABLES})().length", timeout=5000)
    page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    page.wait_for_function("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor === 'rgb(14, 17, 23)'")
    # The browser tells the server, and the page is drawn again.
    page.wait_for_timeout(300)
    calm(page)
    assert grave_findings(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function("() => window.headscopeScreen?.narrow.matches")
    calm(page)
    document, main, window = page.evaluate(WIDTHS)
    assert document <= window and main <= window, "nothing to scroll to sideways"
    page.wait_for_function(f"() => !({OVERPRINTED})().length", timeout=5000)
    page.wait_for_function(f"() => !({CUT_TABLES})().length", timeout=5000)
    # No button and no link is cut in large letters, on a telephone or on a desk.
    with_large_text(page)
    finished(page)
    page.wait_for_function(f"() => !({CUT_LABELS})().length", timeout=5000)
    page.set_viewport_size({"width": 1400, "height": 900})
    page.wait_for_function("() => window.headscopeScreen?.narrow.matches === false")
    finished(page)
    page.wait_for_function(f"() => !({CUT_LABELS})().length", timeout=5000)


def test_a_lines_name_covers_nothing_where_the_line_is_at_the_edge(server: str, new_page: NewPage) -> None:
    page = new_page(width=1400, height=900)
    for address, name in (("Heads?threshold=0.97", "threshold 0.97"), ("Verdicts?effect_floor=0.90", "contrast floor 0.90")):
        page.set_viewport_size({"width": 1400, "height": 900})
        opened(page, f"{server}/{address}&{SMALL}")
        finished(page)
        names = page.locator(".headscope-overlay text").filter(has_text=name)
        expect(names.last).to_be_visible()
        page.wait_for_function(f"() => !({OVERPRINTED})().length", timeout=5000)
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_function("() => window.headscopeScreen?.narrow.matches")
        finished(page)
        expect(names.last).to_be_visible()
        page.wait_for_function(f"() => !({OVERPRINTED})().length", timeout=5000)


def test_on_a_telephone_the_sidebar_is_closed_and_the_cards_numbers_are_all_in_sight(server: str, new_page: NewPage) -> None:
    page = opened(new_page(width=390, height=844), f"{server}/Head_card?{SMALL}&head=L1H2")
    threshold = page.locator(".stSidebar").get_by_test_id("stSlider")
    expect(threshold).not_to_be_in_viewport()
    table = page.get_by_role("table", name="Every number of L1H2")
    expect(table).to_be_visible()
    assert table.evaluate("table => table.scrollWidth <= table.parentElement.clientWidth")
    row = table.get_by_role("row").filter(has=page.get_by_role("rowheader", name="Induction", exact=True))
    assert row.get_by_role("cell").count() == 6, "laid out anew, it is a table all the same"
    page.get_by_test_id("stExpandSidebarButton").click()
    expect(threshold).to_be_in_viewport()


def test_on_a_telephone_the_reports_table_is_all_in_sight_and_one_that_scrolls_says_so(server: str, new_page: NewPage) -> None:
    page = opened(new_page(width=390, height=844), f"{server}/Report?{SMALL}")
    finished(page)
    page.get_by_text("How many heads are above each threshold").click()
    expect(page.locator(".stMain table")).to_have_count(2)
    with_large_text(page)
    finished(page)
    expect(page.get_by_test_id("stTable").get_by_role("columnheader", name="untouched")).to_be_visible()
    page.wait_for_function(f"() => !({CUT_TABLES})().length", timeout=5000)
    # One with more columns scrolls, and shows it.
    close_sidebar(page)
    page.get_by_text("Every model of this machine").click()
    sizes = page.get_by_test_id("stTable").filter(has_text="weights").locator("xpath=.//table/..")
    expect(sizes).to_have_css("background-image", re.compile("linear-gradient"))


@pytest.mark.parametrize("model", ["two-layer", "mixture"])
def test_on_a_telephone_the_line_through_the_sweep_has_its_number(server: str, new_page: NewPage, model: str) -> None:
    # The curve's knee is beside it, and has more words.
    page = opened(new_page(width=390, height=844), f"{server}/Sweep?model={model}&length=20&sequences=2")
    finished(page)
    number = page.locator(".headscope-overlay text").filter(has_text="0.50")
    expect(number).to_be_visible()
    page.wait_for_timeout(1000)
    expect(number).to_be_visible()


def test_both_losses_are_named_however_close_they_are(browser: Browser) -> None:
    """Drawn in the page's own letters, which are taller than a browser's, and fitted as every figure on a page is."""
    page = browser.new_page()
    [letters] = (Path(streamlit.__file__).parent / "static/static/media").glob("SourceSansVF-Upright*")
    source = f"data:font/woff2;base64,{base64.b64encode(letters.read_bytes()).decode()}"
    page.set_content(f"<style>@font-face {{font-family: 'Source Sans'; src: url({source})}}</style><div id=plot></div>")
    page.evaluate("() => document.fonts.load('14px Source Sans')")
    page.add_script_tag(path=Path(plotly.__file__).parent / "package_data/plotly.min.js")
    page.add_script_tag(path=Path(core.ui.frame.__path__[0]) / "screen_fit.js")
    for look, width, (first, second) in product(
        (Look(), Look(large=True), Look(narrow=True)), (330, 640, 900), ((4.0, 3.9), (4.0, 4.0), (4.0, 2.0), (7.0, 0.1))
    ):
        rows = [BesideRow("2 heads", 3.95, np.linspace(3.9, 4.1, 20), 4.3)]
        drawn = json.loads(str(beside_baselines(rows, Losses(first, second, 1.0), look).update_layout(width=width).to_json()))
        seen = page.evaluate(
            """async (drawn) => {
                const plot = document.getElementById("plot");
                await Plotly.newPlot(plot, drawn.data, drawn.layout);
                fitWords(plot);
                const notes = [...plot.querySelectorAll(".annotation-text-g")];
                return notes.filter((note) => note.style.visibility !== "hidden").map((note) => note.textContent);
            }""",
            drawn,
        )
        assert seen == [f"untouched {second:.2f}", f"first copy {first:.2f}", "3.95"], (look, width)
    page.close()


def test_the_picked_heads_frame_leaves_its_name_free_and_no_edge_loses_its_number(server: str, new_page: NewPage) -> None:
    page = opened(new_page(width=1400, height=900), f"{server}/Circuits?model=mixture&head=L1H3")
    finished(page)
    page.wait_for_timeout(1000)
    numbers, frame, names = figure(page, "circuit").evaluate(
        """(plot) => {
            const shown = (each) => getComputedStyle(each).visibility === "visible";
            const place = (each) => each.getBoundingClientRect().toJSON();
            const ofTrace = (name, what) => [...plot.querySelectorAll(".scatterlayer .trace")]
                .filter((each) => each.__data__[0].trace.name === name).flatMap((each) => [...each.querySelectorAll(what)]);
            const words = (text) => {
                const range = document.createRange(), tspan = text.querySelector("tspan") ?? text;
                range.selectNodeContents(tspan);
                return range.getBoundingClientRect().toJSON();
            };
            return [
                [...plot.querySelectorAll(".annotation-text-g")].filter(shown).map((each) => each.textContent),
                place(ofTrace("picked", ".point")[0]),
                ofTrace("heads", "text").filter((each) => each.textContent.includes("L1H3")).map(words),
            ];
        }"""
    )
    assert sum(word.startswith("−0.") for word in numbers) == 8
    assert len(names) == 1 and (names[0]["left"] > frame["right"] or names[0]["right"] < frame["left"])


def test_on_a_telephone_every_strong_edge_has_its_number(server: str, new_page: NewPage) -> None:
    page = opened(new_page(width=390, height=844), f"{server}/Circuits?{SMALL}")
    finished(page)
    for large in (False, True):
        if large:
            with_large_text(page)
        page.wait_for_timeout(1000)
        said = figure(page, "circuit").evaluate(
            """(plot) => {
                const { _offset, _length } = plot._fullLayout.xaxis, left = plot.getBoundingClientRect().left + _offset;
                const words = [...plot.querySelectorAll(".annotation-text-g, .scatterlayer text")];
                return words.map((each) => [each.textContent, each.getBoundingClientRect(), getComputedStyle(each).visibility])
                    .filter(([, place, seen]) => seen === "visible" && place.left > left && place.right < left + _length)
                    .map(([word]) => word);
            }"""
        )
        assert sum(word.startswith("−0.") for word in said) == 4
        assert sum(word.strip().startswith("L") for word in said) == 6, "every head's name"
        assert sum(word.endswith("heads") for word in said) == 2, "both titles"


def test_a_tap_means_the_head_under_the_finger(server: str, new_page: NewPage) -> None:
    """The first one, and each after it: nothing was hovered over before."""
    page = opened(new_page(width=390, height=844, touch=True), f"{server}/Causal_map?{SMALL}")
    # Where its heads stand once nothing follows any more: a finger does not wait for a picture that moves.
    finished(page)
    named = ""
    for _ in range(3):
        named, x, y = place_of_head(page, "map", named)
        page.touchscreen.tap(x, y)
        expect(page).to_have_url(re.compile(f"head={named}"))
        calm(page)


def test_large_text_leaves_the_threshold_in_sight_of_a_projector(server: str, new_page: NewPage) -> None:
    page = with_large_text(opened(new_page(width=1920, height=1080), f"{server}/Heads?{SMALL}"))
    slider = page.get_by_role("slider", name="Threshold").bounding_box()
    assert slider is not None and slider["y"] + slider["height"] < 1080


def test_large_text_outlasts_a_reload_until_it_is_taken_back(server: str, new_page: NewPage) -> None:
    page = with_large_text(opened(new_page(), f"{server}/Heads?{SMALL}"))
    shown = "() => getComputedStyle(document.documentElement).fontSize === '%s'"
    page.reload()
    page.wait_for_function(shown % "20px")
    expect(page.get_by_role("switch", name="Large text")).to_be_checked()
    calm(page)
    page.get_by_text("Large text").click()
    page.wait_for_function(shown % "16px")
    calm(page)
    page.reload()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    finished(page)
    expect(page.get_by_role("switch", name="Large text")).not_to_be_checked()
    assert page.evaluate(shown % "16px")


@pytest.mark.parametrize(("width", "scheme"), [(390, "dark"), (1400, "light")])
def test_a_closed_sidebar_is_out_of_the_way_of_large_text_and_opens_again(
    server: str, new_page: NewPage, width: int, scheme: str
) -> None:
    page = with_large_text(opened(new_page(scheme, width, height=844), f"{server}/Heads?{SMALL}"))
    edges = "() => (({ left, right }) => [left, right])(document.querySelector('.stSidebar').getBoundingClientRect())"
    # As wide, in letters, as it is with small ones.
    page.wait_for_function(f"() => ({edges})().join() === '0,350'", timeout=5000)
    close_sidebar(page)
    page.wait_for_function(f"() => ({edges})()[1] <= 0", timeout=5000)
    page.get_by_test_id("stExpandSidebarButton").click()
    page.wait_for_function(f"() => ({edges})().join() === '0,350'", timeout=5000)
    page.get_by_text("Large text").click()
    page.wait_for_function("() => getComputedStyle(document.documentElement).fontSize === '16px'")


def seen_of(page: Page) -> dict[str, Any]:
    """What the overlays of the Heads page show, whether numbers are pale, and what the server has said of the rings."""
    found: dict[str, Any] = page.evaluate(
        """(ranked) => ({
            rings: document.querySelectorAll(".st-key-panel-heatmap .headscope-overlay circle").length / 2,
            dots: document.querySelectorAll(`${ranked} circle`).length,
            words: [...document.querySelectorAll(`${ranked} text`)].map((text) => text.textContent),
            pale: getComputedStyle(document.querySelector(".st-key-lags-answer")).opacity < 1,
            said: document.querySelector(".st-key-panel-heatmap .headscope-overlay").getAttribute("aria-label"),
        })""",
        ".st-key-panel-ranked .headscope-overlay",
    )
    return found


def test_marks_follow_the_threshold_while_it_is_dragged(server: str, new_page: NewPage) -> None:
    page = opened(new_page(width=1400, height=1400), f"{server}/Heads?{SMALL}")
    for key in ("heatmap", "ranked"):
        expect(page.locator(f".st-key-panel-{key} .headscope-overlay")).to_have_count(1)
    before = seen_of(page)
    assert before["words"] == ["threshold 0.50"] and not before["pale"]
    thumb = page.locator(".stSidebar").get_by_test_id("stSliderThumbValue").first.locator("xpath=..").bounding_box()
    assert thumb is not None
    x, y = thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 30, y, steps=3)
    page.mouse.move(8, y, steps=5)
    page.wait_for_function("() => window.headscopeSliders.Threshold < 0.05")
    dragged = seen_of(page)
    assert dragged["rings"] == dragged["dots"] > before["rings"]
    assert dragged["said"] == before["said"] and dragged["pale"], "the server knows of nothing yet"
    assert "threshold=" not in page.url
    page.mouse.up()
    expect(page).to_have_url(re.compile("threshold=0.0"))
    page.wait_for_function("() => !document.documentElement.hasAttribute('data-headscope-lags')")
    after = seen_of(page)
    assert (after["rings"], after["dots"], after["words"]) == (dragged["rings"], dragged["dots"], dragged["words"])
    assert after["said"].startswith(f"{int(after['rings'])} heads are above") and not after["pale"]


def test_the_effect_floor_follows_its_own_slider_and_what_it_decides_turns_pale(server: str, new_page: NewPage) -> None:
    page = opened(new_page(width=1400, height=1400), f"{server}/Verdicts?{SMALL}")
    finished(page)
    words = page.locator(".st-key-panel-intervals .headscope-overlay text")
    expect(words).to_have_text("contrast floor 0.20")
    answer = page.locator(".st-key-floor-lags-answer")
    expect(answer).to_have_css("opacity", "1")
    # The sidebar's threshold decides nothing here.
    page.evaluate("() => { document.documentElement.dataset.headscopeLags = 'Threshold'; }")
    expect(answer).to_have_css("opacity", "1")
    thumb = page.locator(".stMain").get_by_test_id("stSliderThumbValue").first.locator("xpath=..").bounding_box()
    assert thumb is not None
    x, y = thumb["x"] + thumb["width"] / 2, thumb["y"] + thumb["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 80, y, steps=4)
    expect(words).not_to_have_text("contrast floor 0.20")
    dragged = words.text_content()
    assert dragged is not None
    assert float(answer.evaluate("element => getComputedStyle(element).opacity")) < 1 and "effect_floor=" not in page.url
    page.mouse.up()
    expect(page).to_have_url(re.compile("effect_floor="))
    expect(answer).to_have_css("opacity", "1")
    # The page that is drawn anew says what was dragged to; the one before can stay beside it for a moment.
    expect(words).to_have_text(dragged)


@pytest.mark.parametrize(
    ("name", "panel", "leads_to"),
    [
        ("Heads", "heatmap", "Heads"),
        ("Heads", "ranked", "Heads"),
        ("Causal_map", "map", "Causal_map"),
        ("Verdicts", "intervals", "Verdicts"),
        ("Head_card", "choose", "Head_card"),
        ("Compare", "comparison", "Head_card"),
    ],
)
def test_a_head_of_every_picture_by_keyboard_and_by_mouse(
    server: str, new_page: NewPage, name: str, panel: str, leads_to: str
) -> None:
    page = opened(new_page(), f"{server}/{name}?{SMALL}")
    plot = figure(page, panel)
    expect(plot).to_have_attribute("tabindex", "0")
    plot.focus()
    for key in ("ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
    said = page.locator(".st-key-screen").get_by_role("status")
    expect(said).to_have_text(re.compile(r"^L\dH\d"))
    head = (said.text_content() or "")[:4]
    expect(plot.locator(".hoverlayer .hovertext")).to_contain_text(head)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(rf"/{leads_to}\?.*head={head}(&|$)"))
    if leads_to == name and panel != "choose":
        calm(page)
        other, x, y = place_of_head(page, panel, apart_from=head)
        page.mouse.move(x, y)
        page.mouse.click(x, y)
        expect(page).to_have_url(re.compile(rf"[?&]head={other}(&|$)"))


def test_what_is_pressed_is_picked_however_quickly(server: str, new_page: NewPage) -> None:
    # Plotly looks under a mouse at most every 50 ms: a quick press would mean what was passed on the way.
    page = opened(new_page(), f"{server}/Heads?{SMALL}")
    plot = figure(page, "ranked")
    expect(plot).to_have_attribute("tabindex", "0")
    keys = "for (const key of keys) plot.dispatchEvent(new KeyboardEvent('keydown', { key, bubbles: true }));"
    plot.evaluate(f"(plot, keys) => {{ plot.focus(); {keys} }}", ["ArrowRight", "ArrowRight", "ArrowRight", "Enter"])
    expect(page).to_have_url(re.compile(r"[?&]head=L\dH\d(&|$)"))
    third = page.locator(".st-key-screen").get_by_role("status").text_content() or ""
    expect(page).to_have_url(re.compile(rf"[?&]head={third[:4]}(&|$)"))
    calm(page)
    passed, *on_the_way = place_of_head(page, "ranked", apart_from=third[:4])
    meant, *there = place_of_head(page, "ranked", apart_from=passed)
    page.mouse.move(*on_the_way)
    expect(plot.locator(".hoverlayer .hovertext")).to_contain_text(passed)
    # However slow the machine: no time passes.
    page.evaluate("() => { const now = Date.now(); Date.now = () => now; }")
    page.mouse.move(*there)
    page.mouse.down()
    page.mouse.up()
    expect(page).to_have_url(re.compile(rf"[?&]head={meant}(&|$)"))


@pytest.mark.parametrize(("name", "panel"), [("Verdicts", "intervals"), ("Circuits", "circuit"), ("Text", "text-scatter")])
def test_a_head_is_picked_again_after_going_back(server: str, new_page: NewPage, name: str, panel: str) -> None:
    # The browser remembers a click on a figure that stays as it was, and takes the next one on that head for taking it back.
    page = opened(new_page(), f"{server}/{name}?{SMALL}")
    finished(page)
    for _ in range(2):
        head, x, y = place_of_head(page, panel, apart_from="")
        page.mouse.move(x, y)
        page.mouse.click(x, y)
        expect(page).to_have_url(re.compile(rf"[?&]head={head}(&|$)"))
        go_back(page)
        expect(page).not_to_have_url(re.compile("head="))
        calm(page)


def test_the_page_that_is_shown_and_the_link_with_the_focus_are_told_apart(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Heads?{SMALL}")
    current, other = (page.locator(".stSidebar").get_by_role("link", name=name, exact=True) for name in ("Heads", "Attention"))
    expect(current).to_have_attribute("aria-current", "page")
    assert other.get_attribute("aria-current") is None
    page.keyboard.press("Tab")
    other.focus()
    looks = "link => [getComputedStyle(link).outlineStyle, getComputedStyle(link).boxShadow === 'none']"
    assert (other.evaluate(looks), current.evaluate(looks)) == (["solid", True], ["none", False])


def test_less_motion_is_asked_for_and_given(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.emulate_media(reduced_motion="reduce")
    opened(page, f"{server}/Heads?{SMALL}")
    page.wait_for_function(
        """() => [...document.querySelectorAll("*")].every((element) => {
            const { transitionDuration, animationDuration } = getComputedStyle(element);
            return `${transitionDuration}, ${animationDuration}`.split(", ").every((seconds) => parseFloat(seconds) < 0.001);
        })"""
    )


@pytest.mark.parametrize("name", ["Heads", "Ablation"])
def test_no_page_jumps_with_the_threshold(server: str, new_page: NewPage, name: str) -> None:
    page = opened(new_page(width=1400, height=900), f"{server}/{name}?{SMALL}")
    finished(page)
    before = page.evaluate(HEIGHT)
    for key in ("End", "Home"):
        page.get_by_role("slider", name="Threshold").focus()
        page.keyboard.press(key)
        expect(page).to_have_url(re.compile("threshold=1.00" if key == "End" else "threshold=0.00"))
        calm(page)
        assert page.evaluate(HEIGHT) == before


def test_long_work_is_cancelled_and_begun_again(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Verdicts?model=smollm2-135m&length=25&sequences=2")
    work = page.get_by_test_id("stVerticalBlock").filter(has_text="Testing every head on several lengths").last
    cancel = work.get_by_role("button", name="Cancel")
    # What comes before it may take its time on a busy machine.
    expect(cancel).to_be_visible()
    cancel.click()
    expect(page.get_by_text("You cancelled this computation")).to_be_visible()
    page.get_by_role("button", name="Start again").click()
    expect(cancel).to_be_visible()
    cancel.click()
    expect(page.get_by_text("You cancelled this computation")).to_be_visible()
