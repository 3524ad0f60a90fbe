"""The Ablation page: the set, the numbers, and other heads beside them."""

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core import numbers
from core.ablation.cached import ablate, patched_in, random_baselines, total_effect
from core.ablation.cached_map import single_effects
from core.attention.cached import score_heads
from core.figures.base.style import Look
from core.heads import Head, all_but, heads_above
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.view import View
from core.text.paragraph import PARAGRAPH, unread
from core.ui.frame.sidebar import Page
from core.ui.panels.ablation import source_of
from tests.helpers.app import SHORT, open_page, settled

SUBJECT = bind(Request("two-layer", length=20, sequences=2))


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds what the first view of the page needs."""
    heads = heads_above(score_heads(SUBJECT).mean("induction"), 0.5)
    for found in (heads, [Head(0, 2)], [Head(0, 1), Head(0, 2)]):
        ablate(SUBJECT, found, "mean")
        ablate(SUBJECT, all_but(tuple(found), 2, 4), "mean", text=None)
        random_baselines(SUBJECT, found, "mean")
        single_effects(SUBJECT, found, "mean")
        total_effect(SUBJECT, found, "mean")
        patched_in(SUBJECT, found)


def page(*, opened: tuple[str, ...] = (), **parameters: str) -> AppTest:
    return open_page("pages/3_Ablation.py", opened=opened, **({"model": "two-layer", **SHORT} | parameters))


def figures(at: AppTest) -> dict[str, dict[str, Any]]:
    return {chart.proto.id.rpartition("-")[2]: json.loads(chart.proto.spec) for chart in at.get("plotly_chart")}


def metrics(at: AppTest) -> dict[str, str]:
    return {str(metric.label): str(metric.value) for metric in at.metric}


def test_before_and_after_with_other_heads_beside() -> None:
    # All heads of layer 1 match, so nothing could be drawn beside them.
    heads = (Head(0, 2),)
    at = page(set="picked", heads="L0H2", opened=("positions", "singles"))
    assert not at.exception and not at.error and not at.warning
    result = ablate(SUBJECT, heads, "mean")
    before, after = result.clean_losses, result.ablated_losses
    shown = metrics(at)
    for label, (left, right) in (
        ("Second copy (nats)", (before.second_copy, after.second_copy)),
        ("First copy (nats)", (before.first_copy, after.first_copy)),
    ):
        [metric] = [each for each in at.metric if each.label == label]
        ends, change = [float(end) for end in str(metric.value).split(" → ")], float(str(metric.delta).split()[0])
        assert ends == pytest.approx([left, right], abs=0.005)
        assert round(ends[0] + change - ends[1], 6) == 0 or abs(change) < 0.005, "it adds up as it is written"
    assert shown["Gain lost"] == numbers.share(result.gain_lost)
    assert "Text (nats)" in shown
    said = " ".join(str(markdown.value) for markdown in at.markdown)
    beside = random_baselines(SUBJECT, heads, "mean")
    assert f"p = {beside.p(result):.3f}" in said and "the upper bound" in said
    share = total_effect(SUBJECT, heads, "mean").in_gains
    assert f"{share.value:.2f} of what the earlier copy gives it" in said and "mean ablation" in said
    assert "Put into a run without an earlier copy" in said
    assert any(str(caption.value).endswith(f"the same layers. {beside.note}") for caption in at.caption)
    assert "left in the whole model" in said
    assert set(figures(at)) == {"0", "beside", "positions"}, "one head has no parts to be beside the whole"
    assert all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))


def test_of_several_heads_each_alone_beside_all_together() -> None:
    at = page(set="picked", heads="L0H1,L0H2", opened=("singles",))
    assert not at.exception and not at.error and not at.warning
    said = " ".join(str(markdown.value) for markdown in at.markdown)
    assert "Together" in said and "one at a time" in said
    assert len(figures(at)["singles"]["data"][0]["x"]) == 4, "two heads, their sum, and both together"


def test_what_the_model_cannot_read_of_the_built_in_text_is_said_and_the_text_is_shown() -> None:
    at = page(set="picked", heads="L0H2")
    found = unread(SUBJECT, PARAGRAPH)
    assert found.unknown > 0.5 * found.tokens, "no word of this would be said"
    captions = [str(caption.value) for caption in at.caption]
    assert any(f"{found.unknown} of the text's {found.tokens} tokens are not in the vocabulary" in said for said in captions)
    assert at.text_area(key="paragraph").placeholder == PARAGRAPH and not at.text_area(key="paragraph").value
    source = source_of(Page(View(SUBJECT.request), SUBJECT, Look()), heads_above(score_heads(SUBJECT).mean("induction"), 0.5))
    text = json.loads(source.json_text())["text"]
    assert (text["unknown"], text["tokens"]) == (found.unknown, found.tokens)


def test_a_link_restores_set_and_mode() -> None:
    at = settled(page(mode="zero", set="picked", heads="L0H2"))
    assert not at.exception and not at.error
    assert (at.radio(key="mode").value, at.radio(key="set").value) == ("zero", "picked")
    result = ablate(SUBJECT, [Head(0, 2)], "zero")
    assert metrics(at)["Second copy (nats)"].endswith(f"→ {result.ablated_losses.second_copy:.2f}")
    assert any("1 head taken away: L0H2" in str(header.value) for header in at.header)


def test_typed_names_join_the_threshold() -> None:
    at = page(set="both")
    at.text_input(key="heads").set_value("l0h2, L1H9 nonsense").run()
    settled(at)
    assert not at.exception and not at.error
    warned = " ".join(str(warning.value) for warning in at.warning).replace("\\", "")
    assert "nonsense" in warned and "has no L1H9" in warned
    assert any("taken away: L0H2, " in str(header.value) for header in at.header)
    assert at.query_params["heads"] in ("L0H2", ["L0H2"])


def test_an_empty_set_says_what_to_do() -> None:
    at = page(threshold="1.00")
    assert not at.exception and not at.error and not at.metric
    assert any("lower the threshold" in str(info.value) for info in at.info)


def test_the_main_numbers_come_before_the_other_heads() -> None:
    at = page(seed="31", set="picked", heads="L0H2")
    for _ in range(200):
        if at.metric:
            break
        at.run()
    assert not at.exception and not at.error
    assert "Second copy (nats)" in metrics(at)
    settled(at)
    assert any("other set" in str(markdown.value) for markdown in at.markdown)


def test_files_hold_every_number() -> None:
    heads = heads_above(score_heads(SUBJECT).mean("induction"), 0.5)
    result = ablate(SUBJECT, heads, "mean")
    source = source_of(Page(View(SUBJECT.request), SUBJECT, Look()), result.heads)
    found = json.loads(source.json_text())
    assert (
        len(found["baseline"]["second_copy"]) == len(found["baseline"]["sets"]) == found["baseline"]["distinct"]
        and found["per_position"]["clean"][0] is None
    )
    np.testing.assert_allclose(found["loss"]["ablated"]["second_copy"], result.ablated_losses.second_copy)
    assert "ablate --model two-layer" in source.command and "--heads L1H0" in source.command


def select(at: AppTest, *selected: tuple[str, str]) -> None:
    """Run with what a browser would send: the controls as they are, and charts by id with the head selected in each."""
    states = at._tree.get_widget_states()
    for chart, head in selected:
        state = states.widgets.add()
        state.id = chart
        selection = {"points": [{"customdata": head}], "point_indices": [], "box": [], "lasso": []}
        state.string_value = json.dumps({"selection": selection})
    at._run(states)


def test_a_click_counts_once_although_the_browser_sends_it_again() -> None:
    at = page(set="picked", heads="L0H2,L1H1")

    def chart() -> str:
        return next(chart.proto.id for chart in at.get("plotly_chart") if "set-map" in chart.proto.id)

    def picked() -> str:
        return str(at.text_input(key="heads").value)

    first = chart()
    select(at, (first, "L1H3"))
    assert picked() == "L0H2,L1H1,L1H3"
    second = chart()
    # A browser that has not forgotten the first chart yet sends its selection, too, before or after the new one.
    select(at, (second, "L0H2"), (first, "L1H3"))
    assert picked() == "L1H1,L1H3"
    third = chart()
    select(at, (first, "L1H3"), (third, "L0H0"), (second, "L0H2"))
    assert picked() == "L0H0,L1H1,L1H3"
    assert len({first, second, third, chart()}) == 4


def test_a_head_clicked_twice_goes_again_and_two_quick_clicks_both_count() -> None:
    at = page(set="picked", heads="L0H2,L1H1")
    charts = [chart.proto.id for chart in at.get("plotly_chart") if "set-map" in chart.proto.id]
    select(at, (charts[0], "L1H3"))
    # The second click came before the browser had the new chart.
    select(at, (charts[0], "L0H2"))
    assert at.text_input(key="heads").value == "L1H1,L1H3"
    charts = [chart.proto.id for chart in at.get("plotly_chart") if "set-map" in chart.proto.id]
    select(at, (charts[0], "L1H3"))
    assert at.text_input(key="heads").value == "L1H1"


def test_a_click_is_not_undone_by_a_browser_that_lost_what_it_changed() -> None:
    """A run that follows at once can take what the first one sent; a poll then brings the text before the click."""
    at = page(set="picked", heads="L0H2,L1H1")
    [chart] = [chart.proto.id for chart in at.get("plotly_chart") if "set-map" in chart.proto.id]
    select(at, (chart, "L1H3"))
    at.session_state["polled"] = {"heads": "L0H2,L1H1"}
    at.text_input(key="heads").set_value("L0H2,L1H1").run()
    assert at.text_input(key="heads").value == "L0H2,L1H1,L1H3"
    at.text_input(key="heads").set_value("L0H2").run()
    at.session_state["polled"] = {"heads": "L0H2"}
    at.run()
    assert at.text_input(key="heads").value == "L0H2"
