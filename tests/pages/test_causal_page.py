"""The Causal map page: exact as it comes, the estimate at once, score against effect."""

from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from core.ablation.cached import causal_map, estimated_map
from core.attention.cached import score_heads
from core.heads import heads_above
from core.settings.request import Request
from core.settings.subject import bind
from core.stats import rank_agreement
from tests.helpers.app import SHORT, figures, open_page, overlays, sent

SUBJECT = bind(Request("two-layer", length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the map that is looked at here."""
    score_heads(SUBJECT)
    causal_map(SUBJECT, "mean")
    estimated_map(SUBJECT, "mean")


def page(**parameters: str) -> AppTest:
    return open_page("pages/4_Causal_map.py", **({"model": "two-layer", **SHORT} | parameters))


def test_scatter_and_both_maps_with_their_agreement() -> None:
    at = page()
    assert not at.exception and not at.error and not at.warning
    _, exact, estimate = figures(at)
    assert exact["data"][0]["type"] == estimate["data"][0]["type"] == "heatmap"
    assert exact["data"][0]["zmin"] == -exact["data"][0]["zmax"]
    effect, guess = causal_map(SUBJECT, "mean").effect, estimated_map(SUBJECT, "mean")
    said = " ".join(str(markdown.value) for markdown in at.markdown)
    assert f"{rank_agreement(guess, effect).rho:+.2f}".replace("-", "−") in said
    values = score_heads(SUBJECT).mean("induction")
    assert f"{rank_agreement(values, effect).rho:+.2f}".replace("-", "−") in said
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
        assert all(len(drawn[f"map-{key}"][0]["at"]) == above for key in ("exact", "estimate"))
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
    table = str(at.table[0].value)
    assert f"{effect:+.2f} nats" in table and "matters but does not look" in table


def test_a_map_that_is_not_there_comes_by_itself_for_a_small_model() -> None:
    at = page(seed="41", mode="zero")
    seen = set()
    for _ in range(300):
        assert not at.exception and not at.error
        seen |= {str(header.value) for header in at.subheader}
        if "Measured (exact)" in seen:
            break
        at.run()
    assert "Measured (exact)" in seen
    assert causal_map(Request("two-layer", length=20, sequences=2, seed=41), "zero").complete
