"""The Sensitivity page: panels of the highest heads, one threshold through all, and what it means in sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.attention.cached import sensitivity
from core.settings.request import Request
from core.settings.subject import bind
from tests.helpers.app import SHORT, open_page, overlays, sent

SUBJECT = bind(Request("two-layer", length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    sensitivity(SUBJECT, "induction")


def page(**parameters: str) -> AppTest:
    return open_page("pages/9_Sensitivity.py", **({"model": "two-layer", **SHORT} | parameters))


def figure(at: AppTest) -> dict[str, Any]:
    [chart] = at.get("plotly_chart")
    assert len(chart.proto.alt) > 40
    return json.loads(chart.proto.spec)


def test_panels_threshold_and_sentences() -> None:
    at = page(threshold="0.90")
    assert not at.exception and not at.error
    found = figure(at)
    heads = sensitivity(SUBJECT, "induction").top(6)
    assert len(found["data"]) == 3 * len(heads)
    drawn = overlays(at)["sensitivity"]
    lines = [part for part in drawn if part["kind"] == "line"]
    assert [(line["at"], line["axes"][1]) for line in lines] == [
        (0.9, "y" if row == 0 else f"y{row * len(heads) + 1}") for row in range(3)
    ]
    # Each panel's filled points are the means above the line, in the order of the panels.
    filled = [part for part in drawn if part["kind"] == "discs"]
    for points, trace in zip(filled, found["data"], strict=True):
        assert points["axes"] == [trace["xaxis"], trace["yaxis"]]
        assert points["at"] == [[at, pytest.approx(mean, abs=1e-4)] for at, mean in enumerate(trace["y"]) if mean > 0.9]
    assert any(points["at"] for points in filled) and not all(points["at"] for points in filled)
    assert str(at.header[0].value).startswith("At 0.90,")
    assert any("length" in str(text.value) and "moves most" in str(text.value) for text in at.markdown)


def test_the_threshold_measures_nothing(nothing_is_computed: Callable[[], None]) -> None:
    at = page(threshold="0.50")
    at.slider(key="threshold").set_value(0.8).run()
    before = sent(at)
    nothing_is_computed()
    at.slider(key="threshold").set_value(0.2).run()
    assert not at.exception and not at.error and str(at.header[0].value).startswith("At 0.20,")
    assert sent(at) == before, "only the overlay moves"


def test_the_picked_head_has_a_panel() -> None:
    names = {trace["name"] for trace in figure(page(head="L0H3"))["data"]}
    assert "L0H3" in names


def test_what_is_not_there_yet_is_measured_with_progress() -> None:
    at = page(seed="5")
    for _ in range(300):
        if at.get("plotly_chart"):
            break
        assert not at.exception and not at.error
        at.run()
    assert len(figure(at)["data"]) >= 6


def test_the_number_of_the_heads_page_is_of_the_picked_head() -> None:
    for parameters, name in (({}, sensitivity(SUBJECT, "induction").top(1)[0].name), ({"head": "L0H1"}, "L0H1")):
        said = [str(caption.value) for caption in page(**parameters).caption]
        assert any(caption.startswith(f"{name} has ") and "on the Heads page" in caption for caption in said), said
