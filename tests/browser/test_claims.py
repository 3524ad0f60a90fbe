"""Verdicts, circuits, report and sensitivity in a real browser: links, clicks, switches, and a page to take along."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import NewPage
from tests.helpers.screen import calm, click_figure, count_progress, figure, finished, go_back

pytestmark = pytest.mark.browser
SMALL = "model=two-layer&length=20&sequences=2"
REPORT = re.compile("The report, beside two-layer")


def opened(page: Page, address: str, heading: str | re.Pattern[str]) -> Page:
    """Open a page and wait for a heading of it."""
    page.goto(address)
    expect(page.get_by_role("heading", name=heading).first).to_be_visible()
    return page


def report_table(page: Page) -> Locator:
    """The report's own table."""
    return page.get_by_test_id("stTable").filter(has_text="taken away")


def test_verdicts_gain_their_costs_and_the_floor_moves_the_count(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Verdicts?{SMALL}", "4 of 8 heads are induction heads")
    expect(page.get_by_role("listitem").filter(has_text="L1H2: induction")).to_have_text(
        re.compile(r"contrast 0\.\d\d .* Without it the right token loses \d\.\d{3} \(")
    )
    finished(page)
    count_progress(page)
    page.get_by_role("slider", name="Contrast floor").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("heading", name="None of 8 heads is shown to be an induction head")).to_be_visible()
    expect(page).to_have_url(re.compile("effect_floor=0.90"))
    page.keyboard.press("Home")
    expect(page.get_by_role("heading", name="4 of 8 heads are induction heads")).to_be_visible()
    assert page.evaluate("() => window.progressSeen") == 0


def test_a_head_of_the_label_map_leads_to_its_attention(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Verdicts?{SMALL}", "Every head's label")
    expect(page.get_by_role("link", name="See where it looks")).to_have_count(0)
    click_figure(page, "labels", 3, 1)
    expect(page).to_have_url(re.compile(r"[?&]head=L1H3(&|$)"))
    expect(page.get_by_text("Placebo offsets of L1H3")).to_be_visible()
    page.get_by_role("link", name="See where it looks").click()
    expect(page.get_by_role("heading", name=re.compile("Attention of L1H3"))).to_be_visible()


def test_a_head_of_the_circuit_is_picked_pruned_and_looked_at(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Circuits?{SMALL}", "Who feeds whom")
    name, x, y = figure(page, "circuit").evaluate(
        """plot => {
            const heads = plot.data[plot.data.length - 1];
            const numbers = values => Array.from(values._inputArray ?? values);
            return [heads.customdata[1], numbers(heads.x)[1], numbers(heads.y)[1]];
        }"""
    )
    click_figure(page, "circuit", x, y)
    expect(page).to_have_url(re.compile(rf"[?&]head={name}(&|$)"))
    expect(page.get_by_text(f"Without {name} the circuit")).to_be_visible()
    page.get_by_role("link", name="See where it looks").click()
    expect(page.get_by_role("heading", name=re.compile(f"Attention of {name}"))).to_be_visible()


def test_hovering_an_edge_tells_both_numbers(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Circuits?{SMALL}", "Who feeds whom")
    x, y = figure(page, "circuit").evaluate(
        """plot => {
            plot.scrollIntoView({ block: "center", behavior: "instant" });
            const points = plot.data.find(trace => trace.name === "edges");
            const numbers = values => Array.from(values._inputArray ?? values);
            const { xaxis, yaxis } = plot._fullLayout, box = plot.getBoundingClientRect();
            return [box.x + xaxis._offset + xaxis.c2p(numbers(points.x)[3]),
                    box.y + yaxis._offset + yaxis.c2p(numbers(points.y)[3])];
        }"""
    )
    page.mouse.move(x - 3, y)
    page.mouse.move(x, y)
    expect(page.locator(".hoverlayer .hovertext")).to_have_text(
        re.compile(r"L0H\d → L1H\d.*prefix matching .* when this path is cut.*K-composition .*, random ")
    )


def test_a_correction_changes_the_live_numbers_and_stays_when_the_page_is_left(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Report?{SMALL}", REPORT)
    finished(page)
    expect(report_table(page)).not_to_contain_text("corrected")
    # The words beside a switch are what a person clicks; the switch itself is drawn over an input that cannot be seen.
    page.get_by_text("BOS in front", exact=True).click()
    expect(report_table(page)).to_contain_text("two-layer, corrected, log-probability")
    row = report_table(page).get_by_role("row").nth(1).get_by_role("cell").all_text_contents()
    # Its heads stand beside each number: a BOS changes which are taken away.
    own, corrected = (float(row[place].split(" (")[0].replace("−", "-")) for place in (4, 6))
    assert own != corrected
    expect(page).to_have_url(re.compile("correct_bos=true"))
    page.get_by_role("link", name="Heads", exact=True).click()
    expect(page.get_by_role("heading", name="Heads of two-layer")).to_be_visible()
    page.get_by_role("link", name="Report", exact=True).click()
    expect(report_table(page)).to_contain_text("two-layer, corrected, log-probability")
    expect(page.get_by_role("switch", name="BOS in front")).to_be_checked()
    expect(page).to_have_url(re.compile("correct_bos=true"))


def test_a_model_of_the_scale_table_opens_in_heads_and_back_leads_back(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Report?{SMALL}&threshold=0.40", REPORT)
    page.get_by_text("Every model of this machine").click()
    calm(page)
    page.get_by_role("link", name="by-construction").click()
    expect(page.get_by_role("heading", name="Heads of by-construction")).to_be_visible()
    expect(page.get_by_role("heading", name=re.compile(r"^L1H\d: layer 1"))).to_be_visible()
    for part in ("model=by-construction", "length=20", "threshold=0.40", "head=L1H"):
        expect(page).to_have_url(re.compile(part))
    go_back(page)
    expect(page.get_by_role("heading", name=REPORT)).to_be_visible()
    expect(page).to_have_url(re.compile("model=two-layer"))


def test_the_report_is_taken_along_as_one_page(server: str, new_page: NewPage, tmp_path: Path, browser: Browser) -> None:
    page = opened(new_page(), f"{server}/Report?{SMALL}", REPORT)
    with page.expect_download() as download:
        page.get_by_role("button", name="The report as one page").click()
    saved = tmp_path / "report.html"
    download.value.save_as(saved)
    assert download.value.suggested_filename == "headscope-two-layer-report.html"
    alone = new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(saved.as_uri())
    expect(alone.get_by_role("heading", name="Induction heads: the report beside two-layer")).to_be_visible()
    expect(alone.get_by_role("heading", name="How does the score change with model scale?")).to_be_visible()
    expect(alone.get_by_role("cell", name="by-construction (set by hand)")).to_be_visible()
    figures = alone.locator(".js-plotly-plot")
    expect(figures.locator(".main-svg").first).to_be_visible()
    assert figures.count() >= 9 and all(figures.nth(i).locator(".main-svg").count() for i in range(figures.count()))
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [saved.as_uri()]


def test_the_threshold_of_the_sensitivity_page_measures_nothing(server: str, new_page: NewPage) -> None:
    page = opened(new_page(), f"{server}/Sensitivity?{SMALL}&threshold=0.27", re.compile(r"^At 0\.27, 4 of 8 heads"))
    finished(page)
    count_progress(page)
    page.get_by_role("slider", name="Threshold").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("heading", name=re.compile(r"^At 1\.00, 0 of 8 heads"))).to_be_visible()
    expect(page).to_have_url(re.compile("threshold=1.00"))
    assert page.evaluate("() => window.progressSeen") == 0


def test_copied_links_restore_everything_on_a_fresh_server(fresh_server: str, new_page: NewPage) -> None:
    verdicts = new_page()
    opened(
        verdicts,
        f"{fresh_server}/Verdicts?{SMALL}&head=L1H2&effect_floor=0.90",
        "None of 8 heads is shown to be an induction head",
    )
    expect(verdicts.get_by_text("Placebo offsets of L1H2")).to_be_visible()
    circuits = opened(new_page(), f"{fresh_server}/Circuits?{SMALL}&head=L0H3&mode=zero", "Circuits in two-layer")
    expect(circuits.get_by_role("radio", name="Zero")).to_be_checked()
    expect(circuits.get_by_role("combobox", name="Picked head")).to_have_value("L0H3")
    report = opened(new_page(), f"{fresh_server}/Report?{SMALL}&correct_bos=true&recorded=gpt2-small", REPORT)
    expect(report.get_by_role("switch", name="BOS in front")).to_be_checked()
    expect(report.get_by_role("switch", name="Loss in nats")).not_to_be_checked()
    expect(report_table(report)).to_contain_text("two-layer, corrected, log-probability")
    expect(report.get_by_text("GPT-2 small, induction, as recorded")).to_be_visible()
    sensitivity = new_page()
    address = f"{fresh_server}/Sensitivity?{SMALL}&threshold=0.27"
    opened(sensitivity, address, re.compile(r"^At 0\.27, 4 of 8 heads"))
    for page, query in ((verdicts, "effect_floor=0.90"), (circuits, "mode=zero"), (report, "recorded=gpt2-small")):
        assert query in page.url and "model=two-layer" in page.url
