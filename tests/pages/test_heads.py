"""The Heads page: what it says about a model's heads, and when."""

from collections.abc import Callable
from threading import Event
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from core.attention.cached import first_scores, score_heads
from core.attention.score_pass import measure_other_halves
from core.attention.scores import ALL_SCORES
from core.attention.tables import head_rows
from core.heads import heads_above
from core.numbers import beside, interval, share, unsigned
from core.settings.request import Request
from tests.helpers.app import SHORT, figures, open_page, overlays, sent, settled, tables


def request_for(model: str) -> Request:
    return Request(model, length=20, sequences=2)


@pytest.fixture(scope="module", autouse=True)
def measured(own_store: None) -> None:
    """A store that holds the scores of the models that are looked at here."""
    for model in ("two-layer", "one-layer"):
        score_heads(request_for(model))
    score_heads(Request("one-layer", length=20, sequences=4))


def heads(*, opened: tuple[str, ...] = (), **parameters: str) -> AppTest:
    return open_page("pages/1_Heads.py", opened=opened, **(SHORT | parameters))


def glance(at: AppTest) -> str:
    return str(at.header[0].value)


def test_the_page_shows_three_figures_a_count_and_no_banner() -> None:
    at = heads(model="two-layer")
    assert not at.exception and not at.error and not at.warning
    values = score_heads(request_for("two-layer")).mean("induction")
    assert glance(at).startswith(f"{len(heads_above(values, 0.5))} of 8 heads above 0.50; chance 0.0")
    assert [figure["data"][0]["type"] for figure in figures(at)] == ["heatmap", "scatter", "bar"]


def test_every_figure_is_described_and_says_what_it_was_measured_on() -> None:
    at = heads(model="two-layer")
    assert all(len(chart.proto.alt) > 40 for chart in at.get("plotly_chart"))
    said = [
        str(caption.value)
        for caption in at.caption
        if "Measured on tokens drawn from the whole vocabulary" in str(caption.value)
    ]
    assert len(said) == 3
    assert "2 sequences of length 20" in said[0]


def test_a_score_that_is_withheld_has_an_empty_column_and_its_reason() -> None:
    at = heads(model="two-layer", length="2", head="L1H2")
    assert (
        sum("Specificity is withheld: sequences of 2 tokens" in str(caption.value).replace("\\", "") for caption in at.caption)
        == 2
    )
    assert ["Specificity", "–", "–", "0.00"] in tables(at)["Scores of L1H2"]
    rows = head_rows(score_heads(Request("two-layer", length=2, sequences=2)), "induction", 0.5)
    assert {"specificity", "rotation_contrast"} < set(rows[0]) and len(rows) == 8


def test_the_threshold_moves_rings_and_table_and_measures_nothing(nothing_is_computed: Callable[[], None]) -> None:
    at = heads(model="two-layer", opened=("above",))
    nothing_is_computed()
    scores = score_heads(request_for("two-layer"))
    values, (low, high) = scores.mean("induction"), scores.interval("induction")
    for threshold in (0.0, 0.3, 1.0):
        at.slider(key="threshold").set_value(threshold).run()
        above = heads_above(values, threshold)
        assert not at.exception and not at.error
        assert glance(at).startswith(f"{len(above)} of 8 heads")
        [rings] = overlays(at)["heatmap"]
        assert sorted((layer, head) for head, layer in rings["at"]) == sorted(above)
        if above:
            [(heading, *rows)] = tables(at).values()
            assert heading[:3] == ["head", "Induction (prefix matching)", "Contrast"]
            between = [f"{beside(values[head], threshold)} ({interval(low[head], high[head])})" for head in above]
            assert [row[:2] for row in rows] == [[head.name, said] for head, said in zip(above, between, strict=True)]
    assert any("No head is above 1.00" in str(info.value) for info in at.info)


def test_a_number_in_the_table_is_written_on_its_side_of_the_threshold() -> None:
    best = float(np.nanmax(score_heads(request_for("two-layer")).mean("induction")))
    for threshold in (np.floor(100 * best) / 100, np.ceil(100 * best) / 100):
        at = heads(model="two-layer", threshold=f"{threshold:.2f}", opened=("above",))
        shown = f"{tables(at)} {[info.value for info in at.info]}"
        assert beside(best, threshold) in shown, "in the table, and where no head is above"


def test_moving_the_threshold_leaves_every_figure_as_it_is() -> None:
    at = heads(model="two-layer")
    # The second run is the first after the browser has confirmed the controls.
    at.slider(key="threshold").set_value(0.5).run()
    before = sent(at)
    drawn = overlays(at)
    at.slider(key="threshold").set_value(0.0).run()
    assert sent(at) == before
    assert all(overlays(at)[key] != drawn[key] for key in ("heatmap", "ranked", "distribution"))


def test_the_table_behind_a_picture_and_its_files_are_drawn_up_when_they_are_opened() -> None:
    at = heads(model="two-layer")
    assert not at.dataframe and not at.get("download_button")
    at.session_state["ranked-table"] = True
    at.session_state["distribution-files"] = True
    at.run()
    assert not at.exception
    assert [len(frame.value) for frame in at.dataframe] == [8]
    assert [button.label for button in at.get("download_button")] == ["Table as CSV", "All numbers as JSON"]
    assert any("core score --model two-layer" in str(code.value) for code in at.code)


def test_a_model_without_the_behaviour_has_a_banner_before_anything_else() -> None:
    at = heads(model="one-layer", sequences="4")
    assert not at.exception and not at.error
    [banner] = at.warning
    assert "does not do induction on this probe" in str(banner.value)
    found = score_heads(Request("one-layer", length=20, sequences=4)).behaviour
    assert share(found.e) in str(banner.value) and share(found.low) in str(banner.value)
    order = [element.type for element in at.main]
    assert order.index("warning") < order.index("header")


def test_two_sequences_are_too_few_to_say_whether_the_behaviour_is_there() -> None:
    at = heads(model="one-layer")
    assert not at.warning and any("1 more sequence is needed" in str(info.value) for info in at.info)
    assert len(figures(at)) == 3


def test_the_picture_does_not_wait_for_the_behaviour(monkeypatch: pytest.MonkeyPatch) -> None:
    """The heat map is there while the other halves are still to be measured; then the banner is, too."""
    first_scores(Request("one-layer", length=20, sequences=5))
    go = Event()

    def waiting(*arguments: Any, **options: Any) -> Any:
        assert go.wait(60)
        return measure_other_halves(*arguments, **options)

    monkeypatch.setattr("core.attention.score_pass.measure_other_halves", waiting)
    at = heads(model="one-layer", sequences="5")
    try:
        assert not at.exception and not at.warning and len(figures(at)) == 3
        assert any("two other orders" in str(markdown.value) for markdown in at.markdown)
        before = figures(at)[0]["data"][0]["z"]
    finally:
        go.set()
    at = settled(at)
    assert "does not do induction" in str(at.warning[0].value) and figures(at)[0]["data"][0]["z"] == before


def test_a_score_of_the_second_step_is_waited_for() -> None:
    at = settled(heads(model="two-layer", score="rotation_contrast", sequences="3"))
    values = score_heads(Request("two-layer", length=20, sequences=3)).mean("rotation_contrast")
    heat = figures(at)[0]["data"][0]
    np.testing.assert_allclose(_matrix(heat["z"], values.shape), values, atol=1e-6)
    assert (heat["zmin"], heat["zmax"]) == (-1, 1)


def test_a_score_that_is_withheld_says_why() -> None:
    at = settled(heads(model="two-layer", score="specificity", length="3"))
    assert not at.exception and not figures(at)
    assert any("it takes 4" in str(info.value) for info in at.info)


def test_the_picked_head_shows_every_score_beside_chance() -> None:
    at = heads(model="two-layer", head="L1H2")
    assert any("L1H2: layer 1, head 2" in str(markdown.value) for markdown in at.markdown)
    heading, first, *others = tables(at)["Scores of L1H2"]
    scores = score_heads(request_for("two-layer"))
    value, (low, high) = scores.mean("induction")[1, 2], scores.interval("induction")
    wanted = ["Induction (prefix matching)", f"{value:.2f}", f"{low[1, 2]:.2f} to {high[1, 2]:.2f}"]
    assert first[:3] == wanted and len(others) == len(ALL_SCORES) - 1
    assert heading == ["score", "value", "95 % interval", "chance"]
    assert any("Student's t over 2 sequences" in str(caption.value) for caption in at.caption)
    alone = heads(model="two-layer", head="L1H2", sequences="1")
    assert {row[2] for row in tables(alone)["Scores of L1H2"][1:]} == {"–"}
    assert any("One sequence gives no interval" in str(caption.value) for caption in alone.caption)
    assert figures(at)[0]["layout"]["shapes"]


def test_a_long_table_of_heads_is_a_grid_to_sort_in() -> None:
    at = settled(heads(model="mixture", threshold="0", opened=("above",)))
    assert not at.exception and not tables(at)
    [grid] = at.dataframe
    assert list(grid.value.columns)[:3] == ["name", "induction", "contrast"] and len(grid.value) == 24


def test_contrast_has_a_scale_around_zero() -> None:
    heat = figures(heads(model="two-layer", score="contrast"))[0]["data"][0]
    assert (heat["zmin"], heat["zmax"]) == (-1, 1)


def test_large_text_reaches_the_figures() -> None:
    at = heads(model="two-layer", head="L1H2")
    at.toggle(key="large_text").set_value(True).run()
    assert not at.exception and not at.error
    assert all(figure["layout"]["font"]["size"] == 20 for figure in figures(at))


def test_scores_that_are_not_there_yet_are_measured_with_progress_and_then_shown() -> None:
    at = heads(model="two-layer", seed="77")
    for _ in range(200):
        if figures(at):
            break
        assert not at.exception and not at.error
        at.run()
    values = score_heads(Request("two-layer", length=20, sequences=2, seed=77)).mean("induction")
    np.testing.assert_allclose(_matrix(figures(at)[0]["data"][0]["z"], values.shape), values, atol=1e-6)


def _matrix(z: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A matrix as plotly writes it: nested lists, or typed bytes in base64."""
    import base64

    if isinstance(z, dict):
        kind = {"f4": np.float32, "f8": np.float64}[z["dtype"]]
        return np.frombuffer(base64.b64decode(z["bdata"]), kind).reshape(shape)
    return np.asarray(z)


def test_on_long_sequences_scores_of_whole_rows_are_measured_once_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.attention.score_pass.WHOLE_ROWS_WITHIN_TOKENS", 40)
    asked = Request("two-layer", length=20, sequences=2, seed=5)
    at = settled(heads(model="two-layer", seed="5", head="L1H0", threshold="0"))
    said = [str(caption.value) for caption in at.caption]
    assert any("take longer than all others" in each for each in said)
    assert first_scores(asked).later, "nobody has looked"
    at = settled(heads(model="two-layer", seed="5", head="L1H0", threshold="0", opened=("above",)))
    assert not at.exception and not any("take longer" in str(caption.value) for caption in at.caption)
    values = score_heads(asked).mean("entropy")
    table = tables(at)["Heads above 0.00"]
    [row] = [row for row in table if row[0] == "L1H0"]
    assert row[table[0].index("Entropy")] == unsigned(values[1, 0])
    at = settled(heads(model="two-layer", seed="6", score="value_weighted"))
    found = score_heads(Request("two-layer", length=20, sequences=2, seed=6)).mean("value_weighted")
    np.testing.assert_allclose(_matrix(figures(at)[0]["data"][0]["z"], found.shape), found, atol=1e-6)
