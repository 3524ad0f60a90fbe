"""What moves with the threshold is drawn over figures that stay: in the right place, also when the picture is saved."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import NewPage
from tests.helpers.screen import figure, finished

pytestmark = pytest.mark.browser


@pytest.fixture
def heads(server: str, new_page: NewPage) -> Page:
    """The Heads page on a small bundled model, with an overlay on all three figures."""
    page = new_page()
    page.goto(f"{server}/Heads?model=two-layer")
    for key in ("heatmap", "ranked", "distribution"):
        expect(layer(page, key)).to_have_count(1)
    return page


def layer(page: Page, key: str) -> Locator:
    return page.locator(f".st-key-panel-{key} .js-plotly-plot .headscope-overlay")


def place_of_line(page: Page, key: str, axis: str) -> float:
    """Where the threshold line stands, in the figure's own coordinates."""
    return float(
        layer(page, key).evaluate(
            """(layer, axis) => {
                const { _fullLayout } = layer.closest(".js-plotly-plot"), along = _fullLayout[`${axis}axis`];
                return along.p2d(Number(layer.querySelector("line").getAttribute(`${axis}1`)) - along._offset);
            }""",
            axis,
        )
    )


def ringed(page: Page) -> set[tuple[int, int]]:
    """The heads that have a ring, told from where the rings are on screen."""
    places = layer(page, "heatmap").evaluate(
        """(layer) => {
            const { xaxis, yaxis } = layer.closest(".js-plotly-plot")._fullLayout;
            return [...layer.querySelectorAll("circle")].map((ring) => [
                yaxis.p2d(Number(ring.getAttribute("cy")) - yaxis._offset),
                xaxis.p2d(Number(ring.getAttribute("cx")) - xaxis._offset),
            ]);
        }"""
    )
    assert all(abs(part - round(part)) < 0.01 for place in places for part in place), "a ring is in the middle of its cell"
    return {(round(row), round(column)) for row, column in places}


def above(page: Page, threshold: float) -> set[tuple[int, int]]:
    """The heads whose drawn score is above the threshold."""
    found = figure(page, "heatmap").evaluate(
        """(plot, threshold) => plot.calcdata[0][0].z.flatMap((row, layer) =>
            [...row].flatMap((score, head) => (score > threshold ? [[layer, head]] : [])))""",
        threshold,
    )
    return {(layer, head) for layer, head in found}


def test_the_marks_are_where_the_figure_says(heads: Page) -> None:
    assert ringed(heads) == above(heads, 0.5) != set()
    assert place_of_line(heads, "ranked", "y") == pytest.approx(0.5, abs=0.003)
    assert place_of_line(heads, "distribution", "x") == pytest.approx(0.5, abs=0.003)
    expect(layer(heads, "heatmap")).to_have_attribute("aria-label", re.compile("heads are above 0.50"))


def test_a_move_of_the_threshold_moves_the_marks_and_leaves_the_figures(heads: Page) -> None:
    heads.evaluate("() => document.querySelectorAll('.js-plotly-plot').forEach((plot) => { plot.stayed = true; })")
    slider = heads.get_by_role("slider", name="Threshold")
    slider.focus()
    heads.keyboard.press("Home")
    expect(heads.get_by_role("heading", name=re.compile("heads above 0.00"))).to_be_visible()
    expect(layer(heads, "ranked").get_by_text("threshold 0.00")).to_be_visible()
    assert place_of_line(heads, "ranked", "y") == pytest.approx(0, abs=0.003)
    assert ringed(heads) == above(heads, 0.0)
    assert heads.evaluate("() => [...document.querySelectorAll('.js-plotly-plot')].every((plot) => plot.stayed)")


def test_the_marks_follow_the_figures_size(heads: Page) -> None:
    before = layer(heads, "ranked").get_attribute("width")
    heads.set_viewport_size({"width": 1000, "height": 800})
    expect(layer(heads, "ranked")).not_to_have_attribute("width", before or "")
    assert place_of_line(heads, "ranked", "y") == pytest.approx(0.5, abs=0.003)
    assert ringed(heads) == above(heads, 0.5)


def test_a_saved_picture_holds_the_marks_and_the_figure_on_screen_stays(heads: Page, tmp_path: Path) -> None:
    panel = heads.locator(".st-key-panel-ranked")
    shapes = "() => document.querySelector('.st-key-panel-ranked .js-plotly-plot').layout.shapes.length"
    before = heads.evaluate(shapes)
    panel.get_by_test_id("stPopoverButton").click()
    with heads.expect_download(timeout=90_000) as download:
        heads.get_by_role("button", name="Picture as SVG").click()
    download.value.save_as(tmp_path / "ranked.svg")
    saved = (tmp_path / "ranked.svg").read_text()
    assert "threshold 0.50" in saved
    # A file travels without its page.
    words = " ".join(re.sub(r"<[^>]+>", " ", saved).split())
    assert "Measured on" in words and "core score" in words
    assert heads.evaluate(shapes) == before
    kept = "() => JSON.stringify(document.querySelector('.st-key-panel-ranked .js-plotly-plot').layout)"
    assert "Measured on" not in heads.evaluate(kept)


def test_marks_in_one_of_several_plots_lie_on_its_points(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Sensitivity?model=two-layer&length=20&sequences=2&threshold=0.80")
    expect(layer(page, "sensitivity")).to_have_count(1)
    # On screen: where each panel's points above the threshold are drawn, and where its overlay is.
    # The overlay is drawn anew whenever the plot is: what is looked at is what is there at one moment.
    points, drawn = page.wait_for_function(
        """() => {
            const layer = document.querySelector(".st-key-panel-sensitivity .js-plotly-plot .headscope-overlay");
            if (!layer) return null;
            const plot = layer.closest(".js-plotly-plot"), box = plot.getBoundingClientRect();
            const middle = (element) => {
                const { x, y, width, height } = element.getBoundingClientRect();
                return [Math.round(x + width / 2 - box.x), Math.round(y + height / 2 - box.y)];
            };
            const points = [...plot.querySelectorAll(".scatterlayer .point")].filter((point) => point.__data__.y > 0.8);
            return [points.map(middle), [...layer.querySelectorAll("circle")].map(middle)];
        }"""
    ).json_value()
    assert len(points) > 10
    assert all(any(abs(x - a) < 2 and abs(y - b) < 2 for a, b in drawn) for x, y in points), (points, drawn)
    assert len(drawn) == len(points)
    lines = page.wait_for_function(
        """() => {
            const layer = document.querySelector(".st-key-panel-sensitivity .js-plotly-plot .headscope-overlay");
            if (!layer) return null;
            const { _fullLayout } = layer.closest(".js-plotly-plot");
            const axes = Object.keys(_fullLayout).filter((name) => /^yaxis\\d*$/.test(name)).map((name) => _fullLayout[name]);
            return [...layer.querySelectorAll("line")].map((line) => {
                const y = Number(line.getAttribute("y1"));
                const own = axes.find(({ _offset, _length }) => y >= _offset && y <= _offset + _length);
                return own.p2d(y - own._offset);
            });
        }"""
    ).json_value()
    assert lines == [pytest.approx(0.8, abs=0.01)] * 3


def test_the_scatter_stays_while_its_heads_change_sides(server: str, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{server}/Causal_map?model=two-layer&length=20&sequences=2")
    expect(page.get_by_text("L0H2 matters most")).to_be_visible()
    finished(page)
    figure(page, "score-effect").evaluate("plot => { plot.stayed = true; }")
    assert place_of_line(page, "score-effect", "x") == pytest.approx(0.5, abs=0.003)
    expect(layer(page, "score-effect").locator("circle[fill=none]")).to_have_count(4)
    page.get_by_role("slider", name="Threshold").focus()
    page.keyboard.press("End")
    expect(layer(page, "score-effect").get_by_text("looks, large effect: 0")).to_be_visible()
    expect(layer(page, "score-effect").locator("circle[fill=none]")).to_have_count(0)
    assert place_of_line(page, "score-effect", "x") == pytest.approx(1.0, abs=0.003)
    assert page.evaluate("() => document.querySelector('.st-key-panel-score-effect .js-plotly-plot').stayed")
