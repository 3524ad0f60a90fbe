"""Figures: right numbers in the right places, fixed scales, readable in every theme and size, nothing by colour alone."""

import copy
import csv
import io
import json
import math
import sys
from dataclasses import replace
from itertools import product
from types import ModuleType

import numpy as np
import plotly.graph_objects as go
import plotly.io
import plotly.tools
import pytest
import scipy.stats

from core.attention.example import InductionExample
from core.attention.head_scores import HeadScores
from core.attention.scores import PLACEBO_SHIFTS, SCORES
from core.attention.tables import bin_rows, head_rows, rows_above, score_bins
from core.figures.attention.arcs import describe_arcs, explain_arcs, induction_arcs
from core.figures.attention.distribution import describe_distribution, distribution_overlay, score_distribution
from core.figures.attention.heatmap import describe_heatmap, heatmap_overlay, score_heatmap
from core.figures.attention.ranked import describe_ranked, ranked_overlay, ranked_scores
from core.figures.base.memo import MOST_REMEMBERED, drawn
from core.figures.base.style import Look
from core.figures.replication import describe_values
from core.heads import Head, heads_above
from core.numbers import counted, is_or_are
from core.probes.layout import Layout
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing.csv import csv_text
from core.sharing.facts import json_text, score_facts

LOOKS = [Look(dark, large) for dark, large in product((False, True), repeat=2)]
LAYOUT = Layout(length=10, b=1)


def made_scores(n_layers: int, n_heads: int, seed: int = 0) -> HeadScores:
    """Random scores of 3 sequences; the control's induction is random, too, so contrasts have both signs."""
    random = np.random.default_rng(seed)
    shape = (n_layers, n_heads, 3)
    per_sequence = {name: random.random(shape).astype(np.float32) for name in SCORES}
    per_sequence["induction_control"] = random.random(shape).astype(np.float32)
    loss = random.random((3, LAYOUT.n_tokens)).astype(np.float32)
    return HeadScores(per_sequence, np.zeros((len(PLACEBO_SHIFTS), *shape), np.float32), loss, LAYOUT)


SIZES = {"tiny": made_scores(1, 1), "small": made_scores(2, 4), "smollm": made_scores(30, 9), "wide": made_scores(24, 32)}


@pytest.fixture(params=list(SIZES))
def scores(request: pytest.FixtureRequest) -> HeadScores:
    return SIZES[request.param]


def traces(figure: go.Figure, kind: type) -> list[go.Figure]:
    return [trace for trace in figure.data if isinstance(trace, kind)]


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", ["induction", "contrast", "entropy"])
def test_every_figure_draws_in_every_look(scores: HeadScores, name: str, look: Look) -> None:
    for figure in (
        score_heatmap(scores, name, Head(0, 0), look),
        ranked_scores(scores, name, Head(0, 0), look),
        score_distribution(scores, name, look),
    ):
        go.Figure(figure.to_dict())  # the check that showing them leaves out
        assert figure.layout.font.size == (20 if look.large else 14)
        assert figure.layout.paper_bgcolor == look.paper
        assert figure.layout.height > 100


def test_the_heat_map_shows_the_scores_on_a_fixed_scale(scores: HeadScores) -> None:
    figure = score_heatmap(scores, "induction", None, Look())
    [heat] = traces(figure, go.Heatmap)
    np.testing.assert_array_equal(heat.z, scores.mean("induction"))
    assert (heat.zmin, heat.zmax) == (0, 1)
    [heat] = traces(score_heatmap(scores, "contrast", None, Look()), go.Heatmap)
    assert (heat.zmin, heat.zmax) == (-1, 1)
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], "layer 0 belongs at the top"


def test_rings_are_on_the_heads_above_the_threshold_and_nowhere_else(scores: HeadScores) -> None:
    for threshold in (0.0, 0.45, 0.55, 1.0):
        overlay = heatmap_overlay(scores, "induction", threshold, Look())
        [rings] = overlay.parts
        wanted = set(heads_above(scores.mean("induction"), threshold))
        assert {(layer, head) for head, layer in rings["at"]} == wanted
        assert len(rings["at"]) == len(wanted)
        assert overlay.said.startswith(f"{counted(len(wanted), 'head')} {is_or_are(len(wanted))} above {threshold:.2f}")


def test_a_score_at_the_threshold_is_not_above_it() -> None:
    per_sequence = {name: np.full((1, 2, 1), 0.5, np.float32) for name in SCORES}
    same = HeadScores(per_sequence, np.zeros((len(PLACEBO_SHIFTS), 1, 2, 1)), np.zeros((1, LAYOUT.n_tokens)), LAYOUT)
    assert rows_above(same, "induction", 0.5) == []
    assert bin_rows(same, "induction", 0.5)[10] == {"from": 0.5, "to": 0.55, "above_threshold": 0, "others": 2}


def test_clicks_carry_the_head_that_is_drawn_there(scores: HeadScores) -> None:
    clicks = score_heatmap(scores, "induction", None, Look()).data[-1]
    assert [list(place) for place in zip(clicks.y, clicks.x, strict=True)] == [
        list(Head.parse(head)) for head in clicks.customdata
    ]
    assert clicks.marker.opacity == clicks.selected.marker.opacity == clicks.unselected.marker.opacity == 0
    clicks = ranked_scores(scores, "induction", None, Look()).data[-1]
    values = scores.mean("induction")
    assert len(clicks.customdata) == values.size
    np.testing.assert_allclose(clicks.y, [values[Head.parse(head)] for head in clicks.customdata])
    assert list(clicks.y) == sorted(clicks.y, reverse=True)


def test_the_picked_head_is_framed(scores: HeadScores) -> None:
    assert not score_heatmap(scores, "induction", None, Look()).layout.shapes
    layer, head = scores.n_layers - 1, scores.n_heads - 1
    shapes = score_heatmap(scores, "induction", Head(layer, head), Look()).layout.shapes
    assert {(s.x0 + 0.5, s.y0 + 0.5) for s in shapes} == {(head, layer)}
    overlay = traces(ranked_scores(scores, "induction", Head(layer, head), Look()), go.Scatter)
    assert [part.y[0] for part in overlay if part.name == "picked"] == [scores.mean("induction")[layer, head]]


@pytest.mark.parametrize("threshold", [0.01, 0.5, 1.0])
def test_threshold_and_chance_are_lines_with_words(threshold: float) -> None:
    shown = (SIZES["small"], "induction")
    chance = SCORES["induction"].chance(LAYOUT)
    figure = ranked_scores(*shown, None, Look())
    assert [shape.y0 for shape in figure.layout.shapes] == [chance]
    assert [note.text for note in figure.layout.annotations] == [f"chance {chance:.2f}"]
    for overlay, across in (
        (ranked_overlay(*shown, threshold, Look()), "y"),
        (distribution_overlay(*shown, threshold, Look()), "x"),
    ):
        assert [(part["across"], part["at"]) for part in overlay.parts if part["kind"] == "line"] == [(across, threshold)]
        [name] = [part for part in overlay.parts if part["kind"] == "words" and "threshold" in part["text"]]
        assert name["text"] == f"threshold {threshold:.2f}"
        assert name[across] == threshold


def test_the_two_lines_names_make_way_for_each_other() -> None:
    scores = SIZES["small"]
    chance = SCORES["induction"].chance(LAYOUT)

    def aside(threshold: float) -> float:
        [name] = [part for part in ranked_overlay(scores, "induction", threshold, Look()).parts if part["kind"] == "words"]
        return float(name["shift"][1])

    assert aside(chance + 0.01) < 0 < aside(chance - 0.01)
    assert aside(0.9) == 0


def test_heads_above_the_threshold_are_marked_where_they_stand(scores: HeadScores) -> None:
    values = scores.mean("induction")
    above = heads_above(values, 0.6)
    overlay = ranked_overlay(scores, "induction", 0.6, Look()).parts
    [dots] = [part for part in overlay if part["kind"] == "discs"]
    drawn = ranked_scores(scores, "induction", None, Look()).data[0]
    assert dots["at"] == [(x, round(y, 4)) for x, y in zip(drawn.x, drawn.y, strict=True)][: len(above)]
    names = [part["text"] for part in overlay if part["kind"] == "words"][1:]
    # Where the axis names every head, none is named in the picture.
    assert names == ([head.name for head in above[:12]] if values.size > 40 else [])


@pytest.mark.parametrize("name", ["induction", "contrast"])
def test_the_bars_of_heads_above_are_marked_up_to_the_bars_height(scores: HeadScores, name: str) -> None:
    threshold = 0.33
    _edges, _below, above = score_bins(scores.mean(name), name, threshold)
    [boxes] = [part for part in distribution_overlay(scores, name, threshold, Look()).parts if part["kind"] == "boxes"]
    bars = score_distribution(scores, name, Look()).data[0]
    height = dict(zip([round(float(x), 6) for x in bars.x], bars.y, strict=True))
    marked = 0
    for left, right, bottom, top in boxes["at"]:
        centre = round((left + right) / 2, 6)
        assert top == height[centre]
        assert right - left == pytest.approx(bars.width)
        marked += top - (0 if bottom == "bottom" else bottom)
    assert marked == above.sum()
    assert boxes["stroke"][0] != boxes["fill"], "not by colour alone"


def test_marks_are_a_small_part_of_what_their_figures_are() -> None:
    scores = SIZES["smollm"]
    for figure, overlay in (
        (score_heatmap(scores, "induction", None, Look()), heatmap_overlay(scores, "induction", 0.5, Look())),
        (ranked_scores(scores, "induction", None, Look()), ranked_overlay(scores, "induction", 0.5, Look())),
    ):
        assert len(json.dumps(overlay.parts)) < 0.1 * len(figure.to_json())


def test_a_remembered_figure_is_drawn_once_and_says_the_same_each_time() -> None:
    made = []

    def draw(scores: HeadScores, look: Look, *, head: Head | None = None) -> go.Figure:
        made.append(score_heatmap(scores, "induction", head, look))
        return made[-1]

    scores, look = SIZES["small"], Look()
    first, second = drawn(draw, scores, look), drawn(draw, copy.deepcopy(scores), Look())
    assert first is second and len(made) == 1, "equal results of another session are the same picture"
    assert first.to_json() == score_heatmap(scores, "induction", None, look).to_json()
    changed = copy.deepcopy(scores)
    changed.per_sequence["induction"][0, 0, 0] += 0.001
    others = [drawn(draw, changed, look), drawn(draw, scores, Look(dark=True)), drawn(draw, scores, look, head=Head(0, 0))]
    assert len({id(figure) for figure in (first, *others)}) == 4
    for other in range(MOST_REMEMBERED):
        drawn(go.Figure, layout={"title": {"text": str(other)}})
    drawn(draw, scores, look)
    assert len(made) == 5, "as many as may be kept came after it"


def test_a_figure_is_shown_while_another_thread_imports_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session whose table needs pandas must not break the pictures of the sessions beside it."""
    monkeypatch.setitem(sys.modules, "pandas", ModuleType("pandas"))
    with pytest.raises(AttributeError):
        go.Figure(go.Heatmap(z=[[1.0]]))
    scores, look = SIZES["smollm"], Look()
    for figure in (
        score_heatmap(scores, "induction", Head(0, 0), look),
        ranked_scores(scores, "induction", Head(0, 0), look),
        score_distribution(scores, "induction", look),
    ):
        shown = plotly.tools.return_figure_from_figure_or_data(figure, validate_figure=True)
        assert json.loads(plotly.io.to_json(shown, validate=False)) == json.loads(json.dumps(figure.to_dict()))


def test_a_figure_of_plain_data_is_a_whole_figure_to_who_looks_into_it() -> None:
    figure = score_heatmap(SIZES["small"], "induction", None, Look())
    copied = copy.deepcopy(figure)
    assert copied.to_dict() == figure.to_dict() and copied == figure
    assert figure.layout.yaxis.title.text == "layer" and figure.data[-1].name == "heads"
    assert not hasattr(figure, "nonsense")


@pytest.mark.parametrize("name", ["induction", "contrast"])
@pytest.mark.parametrize("threshold", [0.0, 0.33, 1.0])
def test_the_distribution_counts_every_head_once(scores: HeadScores, name: str, threshold: float) -> None:
    values = scores.mean(name)
    edges, below, above = score_bins(values, name, threshold)
    assert below.sum() + above.sum() == values.size
    assert above.sum() == len(heads_above(values, threshold))
    assert len(edges) == len(below) + 1
    rows = bin_rows(scores, name, threshold)
    assert sum(row["above_threshold"] for row in rows) == above.sum()
    [bars] = traces(score_distribution(scores, name, Look()), go.Bar)
    np.testing.assert_array_equal(bars.y, below + above)


def test_descriptions_say_what_the_pictures_show(scores: HeadScores) -> None:
    values = scores.mean("induction")
    count, best = len(heads_above(values, 0.6)), values.max()
    assert f"at {best:.2f}" in describe_heatmap(scores, "induction")
    assert f"down to {values.min():.2f}" in describe_ranked(scores, "induction")
    assert f"Histogram of {SCORES['induction'].title}" in describe_distribution(scores, "induction")
    for overlay in (heatmap_overlay, ranked_overlay, distribution_overlay):
        said = overlay(scores, "induction", 0.6, Look()).said
        assert said.startswith("1 head is above" if count == 1 else f"{count} heads are above")


def test_a_score_beside_the_threshold_is_told_on_its_side_of_it() -> None:
    scores = SIZES["small"]
    values = np.full((2, 4), 0.5004)
    near = replace(scores, per_sequence={**scores.per_sequence, "induction": np.repeat(values[..., None], 3, axis=-1)})
    assert "L0H0 0.5004, " in heatmap_overlay(near, "induction", 0.5, Look()).said
    assert "Highest: L0H0 0.5004, " in describe_values(values, "scores", 0.5)


def test_tables_hold_every_head_with_contrast_beside_the_score(scores: HeadScores) -> None:
    rows = head_rows(scores, "previous_token", 0.5)
    assert len(rows) == scores.n_layers * scores.n_heads
    assert list(rows[0])[:5] == ["name", "layer", "head", "previous_token", "contrast"]
    assert set(list(rows[0])[3:-3]) == {*scores.names, *scores.withheld}
    assert list(rows[0])[-3:] == ["previous_token_low", "previous_token_high", "above_threshold"]
    for row in rows:
        values = scores.sequences("previous_token")[row["layer"], row["head"]].astype(float)
        low, high = scipy.stats.t.interval(0.95, len(values) - 1, values.mean(), scipy.stats.sem(values))
        # No share of attention is below 0 or above 1.
        wanted = pytest.approx((max(low, 0.0), min(high, 1.0)), abs=1e-6)
        assert (row["previous_token_low"], row["previous_token_high"]) == wanted
    found = list(csv.DictReader(io.StringIO(csv_text(rows))))
    assert [float(row["previous_token"]) for row in found] == [row["previous_token"] for row in rows]
    assert csv_text([]) == ""
    assert csv_text([{"a": math.nan, "b": np.float64("nan"), "c": None, "d": 0.5}]) == "a,b,c,d\n,,,0.5\n"


def test_the_json_says_what_it_was_measured_on() -> None:
    scores = SIZES["small"]
    subject = bind(Request("two-layer", length=10, sequences=3))
    found = json.loads(json_text(score_facts(subject, scores)))
    assert found["probe"] == {
        "length": 10,
        "sequences": 3,
        "seed": 0,
        "bos": "auto",
        "has_bos": True,
        "token_range": [0, 512],
        "n_tokens": 21,
        "warnings": [],
        "dtype": "float32",
        "device": subject.device,
    }
    np.testing.assert_allclose(found["scores"]["contrast"], scores.mean("contrast"), rtol=1e-6)
    assert found["model"]["name"] == "two-layer" and found["model"]["weights_digest"] == subject.identity.weights_digest
    assert found["conformance"] == {"length": 10, "passed": True, "withheld": [], "remarks": []}


def made_example(tokens: list[str]) -> InductionExample:
    """A perfect induction head on `[BOS] + r + r` of two tokens."""
    pattern = np.zeros((5, 5), np.float32)
    pattern[3, 2] = pattern[4, 3] = 1.0
    return InductionExample("tiny", Head(1, 0), tuple(tokens), pattern, Layout(2, 1), 3)


@pytest.mark.parametrize("look", LOOKS)
def test_the_arcs_point_from_the_second_copy_to_the_token_after_the_first(look: Look) -> None:
    figure = induction_arcs(made_example(["<s>", "</script>", "<b>", "</script>", "<b>"]), look)
    figure.to_json(validate=True)
    arcs = [shape for shape in figure.layout.shapes if shape.type == "path"]
    assert len(arcs) == 2
    [arrow] = [note for note in figure.layout.annotations if note.showarrow]
    assert arrow.x == 2
    assert all("<" not in note.text for note in figure.layout.annotations), "tokens are text, not markup"


@pytest.mark.parametrize("narrow", [False, True])
def test_on_a_telephone_every_token_of_the_arcs_stands_upright_in_a_box_that_holds_it(narrow: bool) -> None:
    figure = induction_arcs(made_example(["<s>", "yesterday", "crayon", "yesterday", "crayon"]), Look(narrow=narrow))
    words = [note for note in figure.layout.annotations if note.text in ("yesterday", "crayon")]
    assert len(words) == 4 and all(note.textangle == (-90 if narrow else 0) for note in words)
    box = next(shape for shape in figure.layout.shapes if shape.type == "rect")
    low, high = figure.layout.yaxis.range
    height = (box.y1 - box.y0) / (high - low) * (figure.layout.height - 16)
    assert height > (9 * 0.55 * 13 if narrow else 13 * 1.2)


def test_the_arcs_are_explained_in_words() -> None:
    example = made_example(["<s>", "one", "two", "one", "two"])
    assert "reads “one” for the second time and gives 100 % of its attention to “two”" in explain_arcs(example)
    assert "with weight 1.00" in describe_arcs(example)


def test_ink_can_be_read_on_paper() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for look in LOOKS:
        paper = luminance(look.paper)
        for colour, least in ((look.ink, 7.0), (look.accent, 4.5), (look.second, 4.5), (look.muted, 3.0)):
            low, high = sorted((luminance(colour), paper))
            assert (high + 0.05) / (low + 0.05) >= least, (look, colour)
