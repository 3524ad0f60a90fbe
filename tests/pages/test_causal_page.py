"""The Causal map page: measured as it comes, marked where it is not, and no conclusion before it is whole."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.ablation.cached_map import causal_map, screened_map
from core.ablation.words import map_sentence
from core.attention.cached import score_heads
from core.heads import heads_above
from core.numbers import signed
from core.settings.request import Request
from core.settings.subject import bind
from core.stats import rank_agreement
from tests.helpers.app import SHORT, figures, open_page, overlays, said, sent, tables

SUBJECT = bind(Request("two-layer", length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the map that is looked at here."""
    score_heads(SUBJECT)
    causal_map(SUBJECT, "mean")


def page(**parameters: str) -> AppTest:
    return open_page("pages/4_Causal_map.py", **({"model": "two-layer", **SHORT} | parameters))


def test_the_map_with_its_headline_and_the_scatter() -> None:
    at = page()
    assert not at.exception and not at.error and not at.warning
    _, shown = figures(at)
    assert shown["data"][0]["type"] == "heatmap" and shown["data"][0]["zmin"] == -shown["data"][0]["zmax"]
    found = causal_map(SUBJECT, "mean")
    assert map_sentence(found, 8) in said(at) and "matters most" in said(at)
    values = score_heads(SUBJECT).mean("induction")
    assert f"{rank_agreement(values, found.effect).rho:+.2f}".replace("-", "−") in said(at)
    assert not any("≈" in str(caption.value) for caption in at.caption), "nothing is estimated in two layers"
    assert all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))


def test_threshold_and_floor_move_lines_and_compute_nothing(nothing_is_computed: Callable[[], None]) -> None:
    at = page()

    nothing_is_computed()
    values = score_heads(SUBJECT).mean("induction")
    at.slider(key="threshold").set_value(0.5).run()
    before = sent(at)
    for threshold in (0.0, 0.83, 1.0):
        at.slider(key="threshold").set_value(threshold).run()
        assert not at.exception and not at.error
        above = len(heads_above(values, threshold))
        drawn = overlays(at)
        assert len(drawn["map"][0]["at"]) == above
        line, *_ = drawn["score-effect"]
        rings = [part for part in drawn["score-effect"] if part["kind"] == "discs"][-1]
        assert (line["at"], len(rings["at"])) == (threshold, above)
        assert sent(at) == before, "only the overlay moves"
    at.number_input(key="floor").set_value(5.0).run()
    assert not at.exception and not at.error
    assert {5.0, -5.0} <= {shape.get("y0") for shape in figures(at)[0]["layout"]["shapes"]}


def test_the_picked_head_has_both_numbers_and_its_quadrant() -> None:
    at = page(head="L0H2")
    effect = causal_map(SUBJECT, "mean").effect[0, 2]
    table = str(tables(at)["Numbers of L0H2"])
    low, high = (end[0, 2] for end in causal_map(SUBJECT, "mean").interval)
    assert f"{effect:+.2f} nats" in table and "large effect, does not look" in table
    assert f"{signed(low)} to {signed(high)}" in table


def test_on_one_sequence_nothing_is_told_as_sure() -> None:
    request = Request("two-layer", length=20, sequences=1)
    causal_map(request, "mean")
    score_heads(request)
    at = page(sequences="1", head="L0H2")
    assert not at.exception and not at.error
    assert "nothing is sure, and what is counted here is of this one sequence" in said(at)
    [caption] = [str(caption.value) for caption in at.caption if "On this one sequence" in str(caption.value)]
    assert "no head is surely on either side" in caption
    table = str(tables(at)["Numbers of L0H2"])
    assert "on this one sequence it" in table and "so it" not in table
    assert "Heads are divided by their mean effect" in " ".join(str(caption.value) for caption in page().caption)


def test_a_map_that_is_not_there_comes_by_itself() -> None:
    at = page(seed="41", mode="zero")
    seen = []
    for _ in range(300):
        assert not at.exception and not at.error
        seen.append(said(at))
        if "matters most" in seen[-1]:
            break
        assert "rank correlation" not in seen[-1], "nothing is concluded before the map is whole"
        at.run()
    assert "matters most" in seen[-1] and any("Nothing is concluded before" in words for words in seen)
    assert causal_map(Request("two-layer", length=20, sequences=2, seed=41), "zero").complete


def test_of_a_larger_model_estimates_are_marked_and_nothing_is_concluded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.ablation.cached_map.ALWAYS_EXACT_LAYERS", 1)
    monkeypatch.setattr("core.ui.components.results.ALWAYS_EXACT_LAYERS", 1)
    subject = bind(Request("two-layer", length=20, sequences=2, seed=43))
    part = screened_map(subject, "mean")
    assert not part.complete
    # The rest never ends here.
    monkeypatch.setattr("core.ui.components.results.await_job", lambda *given, **more: None)
    at = page(seed="43")
    assert not at.exception and not at.error
    assert f"{int(part.measured.sum())} of 8 heads are measured so far" in said(at)
    assert len(figures(at)) == 1 and "rank correlation" not in said(at) and "matters most" not in said(at)
    [marks] = [trace for trace in figures(at)[0]["data"] if trace.get("name") == "estimated"]
    assert len(marks["x"]) == 8 - int(part.measured.sum())
    assert any("≈: estimated from the gradient" in str(caption.value) for caption in at.caption)
