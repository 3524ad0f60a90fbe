"""The Compare page: the answer first, what is missing offered and never begun, imported numbers safe and said to be local."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.attention import score_pass
from core.attention.cached import score_heads
from core.heads import Head
from core.quantities.cached import Asked, obtained
from core.quantities.comparison import compare
from core.quantities.table import QUANTITIES
from core.quantities.words import sentences
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.text_choice import TextChoice
from core.settings.view import Axes, View
from core.sharing.commands import compare_command
from core.ui.panels.compare import _open_card
from tests.helpers.app import SHORT, figures, open_page, said, settled, tables

SUBJECT = bind(Request("two-layer", length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the scores alone."""
    score_heads(SUBJECT)


def page(**parameters: str) -> AppTest:
    return settled(open_page("pages/12_Compare.py", **({"model": "two-layer", **SHORT} | parameters)))


def notes(at: AppTest) -> str:
    return " ".join(str(part.value) for part in [*at.info, *at.error, *at.caption]).replace("\\", "")


def test_the_answer_the_scatter_and_its_colour() -> None:
    at = page(x="induction", y="contrast", colour="layer", head="L1H2")
    assert not at.exception and not at.error and not at.warning
    found = compare(*(obtained(name, Asked(SUBJECT)) for name in ("induction", "contrast", "layer")))
    for sentence in sentences(found):
        assert sentence in said(at)
    [figure] = figures(at)
    clicks = figure["data"][-1]
    assert len(clicks["x"]) == 8 and clicks["customdata"][0] == "L0H0"
    place = clicks["customdata"].index("L1H2")
    assert clicks["x"][place] == pytest.approx(float(found.x.values[1, 2]))
    assert clicks["y"][place] == pytest.approx(float(found.y.values[1, 2]))
    bars = [trace for trace in figure["data"] if trace.get("marker", {}).get("showscale")]
    assert len(bars) == 1 and "Layer" in bars[0]["marker"]["colorbar"]["title"]["text"]
    assert {trace["marker"]["cmax"] for trace in figure["data"] if "cmax" in trace.get("marker", {})} == {1.0}
    assert tables(at)["Numbers of L1H2"][1][0] == QUANTITIES["induction"].title
    assert all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))


def test_every_choice_is_drawn_or_offered_and_nothing_is_begun(nothing_is_computed: Callable[[], None]) -> None:
    at = page()
    nothing_is_computed()
    for name, quantity in QUANTITIES.items():
        at.selectbox(key="y").set_value(name).run()
        if quantity.source == "concept_copying":
            assert not at.exception and "give a text with rarer words" in notes(at), "this tokenizer knows every word whole"
            continue
        assert not at.exception and not at.error, (name, at.error)
        missing = "is not measured yet" in notes(at) or "no address can hold them" in notes(at)
        assert bool(figures(at)) != missing, name
        if not figures(at) and quantity.source != "import":
            assert "is not measured yet with these settings. It takes about" in notes(at)
            assert f"Measure: {quantity.title}" in [str(button.label) for button in at.button]
    assert "imported" in at.query_params["y"]


def test_what_is_offered_is_measured_when_a_person_says_so() -> None:
    at = page(y="effect", mode="zero")
    assert not figures(at)
    settled(at.button(key="want effect").click().run())
    assert not at.exception and not at.error
    found = compare(*(obtained(name, Asked(SUBJECT, "zero")) for name in ("induction", "effect")))
    assert sentences(found)[0] in said(at) and len(figures(at)) == 1
    # A mode that was not measured is offered anew.
    at.radio(key="mode").set_value("mean").run()
    assert not figures(at) and "is not measured yet" in notes(at)


@pytest.mark.parametrize(
    "axes",
    [
        {"x": "effect", "y": "effect_low"},
        {"x": "induction", "y": "effect_high", "colour": "effect"},
        {"x": "direct_effect", "y": "copying"},
        {"x": "text_entropy", "y": "lift"},
    ],
)
def test_quantities_of_one_measurement_wait_for_it_together(axes: dict[str, str], empty_store: Path) -> None:
    at = page(**axes, windows="16", window_length="32")
    at.button(key=f"want {next(name for name in axes.values() if name != 'induction')}").click().run()
    assert not at.exception and [str(button.label) for button in at.button].count("Cancel") >= 1
    settled(at)
    assert not at.exception and len(figures(at)) == 1


def test_quantities_of_other_orders_wait_together_with_the_banner(empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go, measure = threading.Event(), score_pass.measure_other_halves
    monkeypatch.setattr(score_pass, "measure_other_halves", lambda *given: (go.wait(60), measure(*given))[1])
    at = open_page("pages/12_Compare.py", model="two-layer", **SHORT, x="rotation_contrast", y="specificity")
    try:
        assert not at.exception and "Cancel" in [str(button.label) for button in at.button]
    finally:
        go.set()
    settled(at)
    assert not at.exception and len(figures(at)) == 1


def test_what_the_picked_head_reads_of_the_others() -> None:
    at = page(x="previous_token", y="k_composition", head="L1H2")
    settled(at.button(key="want k_composition").click().run())
    found = compare(*(obtained(name, Asked(SUBJECT, reader=Head(1, 2))) for name in ("previous_token", "k_composition")))
    assert sentences(found)[0] in said(at) and "K-composition (read by L1H2)" in said(at)
    # Another reader is other work, and is offered anew; in the first layer nobody reads.
    at.selectbox(key="head").set_value("L0H1").run()
    assert not at.exception and "is in the first layer" in notes(at) + said(at)


def test_numbers_of_a_paper() -> None:
    at = page(y="imported", colour="induction")
    assert not figures(at) and "no address can hold them" in notes(at) and "Layer, head" not in said(at)
    names = ["L0H0", "L0H1", "L1H0", "L1H1", "L1H2"]
    text = "head,<img src=x onerror=alert(1)>\n" + "\n".join(f"{name},{index}" for index, name in enumerate(names))
    at.text_area(key="pasted_numbers").set_value(text).run()
    assert not at.exception and not at.error
    assert "5 of 8 heads have a number" in notes(at) and "of 5 of 8 heads: which ones was decided elsewhere" in said(at)
    [figure] = figures(at)
    assert figure["data"][-1]["customdata"] == names and figure["data"][-1]["y"] == [0, 1, 2, 3, 4]
    raw = str(at.get("plotly_chart")[0].proto.spec)
    assert "<img" not in raw and "&lt;img" in raw
    assert not any(re.search(r"(?<!\\)<img", str(part.value)) for part in [*at.markdown, *at.caption])
    assert "pasted" not in str(dict(at.query_params)) and "imported" in at.query_params["y"]


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("layer,head,value\n9,9,1", "There is no head L9H9"),
        ("hello", "The columns must be"),
        ("L0H1,1\nL0H1,2", "more than one number"),
        ("L0H1,NaN\nL0H2,1", "no number: 'NaN'"),
    ],
)
def test_bad_numbers_are_one_sentence_and_lose_nothing(text: str, wrong: str) -> None:
    at = page(x="induction", y="contrast")
    at.text_area(key="pasted_numbers").set_value(text).run()
    assert not at.exception and len(at.error) == 1 and wrong in notes(at)
    assert len(figures(at)) == 1, "what does not need them is still there"
    assert at.text_area(key="pasted_numbers").value == text


def test_a_click_leads_to_the_card() -> None:
    at = page()
    # What a click tells, without a browser.
    at.session_state["head"] = "L1H3"
    at.session_state["card_wanted"] = True
    at.run()
    assert not at.exception
    assert any("L1H3" in str(title.value) for title in at.title)
    assert callable(_open_card) and Head(1, 3).name == "L1H3"


def test_a_withheld_number_says_why() -> None:
    at = page(length="3", y="specificity")
    assert not at.exception and "withheld" in notes(at) and not figures(at)


def test_the_command_names_what_the_numbers_depend_on_and_nothing_else() -> None:
    view = View(head=Head(1, 2), text=TextChoice("passages", windows=24))
    reader, text = "--head L1H2", "--corpus passages --windows 24 --window-length 128"
    for name in QUANTITIES:
        command = compare_command(replace(view, axes=Axes("induction", name)))
        assert (reader in command) == (name[1:] == "_composition" or name == "path_patch_drop"), name
        assert (text in command) == (QUANTITIES[name].source in ("text", "concept_copying")), name
