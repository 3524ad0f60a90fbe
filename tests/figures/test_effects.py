"""Figures of interventions, and the sentences and tables beside them: right numbers in the right places, in every look."""

import json
import math
from dataclasses import replace
from itertools import product

import numpy as np
import plotly.graph_objects as go
import pytest

from core.ablation.effects import Effects
from core.ablation.outcomes import Ablation, Baselines, CausalMap, PatchedIn
from core.ablation.sweep import SetCost, Sweep, assemble_sweep, sets_by_threshold, threshold_grid
from core.ablation.sweep_words import at_threshold, beyond_baselines
from core.ablation.words import (
    against_baselines,
    agreement_sentence,
    change_words,
    p_words,
    patched_in_sentence,
    sides_sentence,
    sufficiency,
    whole_and_parts,
)
from core.behaviour import Losses
from core.figures.ablation.beside_baselines import BesideRow, beside_baselines, describe_beside
from core.figures.ablation.effect_map import describe_effect_map, effect_map, effect_overlay
from core.figures.ablation.positions import describe_positions, position_losses, position_rows
from core.figures.ablation.score_effect import describe_score_effect, score_effect, score_effect_overlay
from core.figures.ablation.single_effects import describe_single_effects, single_effect_bars, single_effect_rows
from core.figures.ablation.sweep import describe_sweep, sweep_curve, sweep_overlay
from core.figures.base.labels import drawn_boxes, placed_labels
from core.figures.base.style import Look
from core.figures.replication import value_map
from core.heads import Head, every_head, heads_above, named
from core.numbers import signed
from core.probes.layout import Layout
from core.settings.experiment import Experiment
from core.settings.modes import MODES
from core.settings.request import Request
from core.settings.subject import Subject
from core.sharing.facts import causal_facts, json_text, sweep_facts
from core.stats import Number, rank_agreement
from core.transformer.card import ModelCard, ModelIdentity
from core.transformer.checks import Conformance

LOOKS = [Look(dark, large) for dark, large in product((False, True), repeat=2)]
LAYOUT = Layout(length=10, b=1)
CLEAN = Losses(first_copy=8.0, second_copy=2.0, ln_length=math.log(10))
RANDOM = np.random.default_rng(0)
SCORES = RANDOM.random((3, 4))
EFFECT = RANDOM.normal(size=(3, 4))
PARTIAL = np.where(np.arange(3)[:, None] == 2, EFFECT, np.nan)
NOTHING = np.full((3, 4), np.nan)
HEADS = (Head(0, 1), Head(1, 2))


def effects(effect: np.ndarray, estimate: np.ndarray | None = None) -> Effects:
    """Measured where `effect` is a number, with an interval of a tenth on both sides."""
    known = NOTHING if estimate is None else estimate
    return Effects(effect, effect - 0.1, effect + 0.1, known, complete=not np.isnan(effect).any())


def set_cost(rise: float) -> SetCost:
    """With an interval of a tenth on both sides."""
    return SetCost(CLEAN.second_copy + rise, Number(rise, rise - 0.1, rise + 0.1), 4)


def made_sweep(with_baselines: bool = True):
    thresholds = threshold_grid(0.1, 0.9, 0.1)
    sets = sets_by_threshold(SCORES, thresholds)
    losses = {heads: set_cost(float(len(heads))) for heads in sets}
    baselines = {heads: np.linspace(2.0, 2.4, 20) for heads in sets if heads} if with_baselines else {}
    return assemble_sweep(thresholds, sets, losses, baselines, CLEAN)


def made_ablation(second_copy: float, heads=HEADS) -> Ablation:
    clean = np.full((2, LAYOUT.n_tokens), 8.0)
    clean[:, LAYOUT.length + LAYOUT.b :] = 2.0
    ablated = clean.copy()
    # Sequences that differ, so that there is an interval with a width.
    ablated[:, LAYOUT.length + LAYOUT.b :] = second_copy + np.array([[0.01], [-0.01]])
    clean[:, 0] = ablated[:, 0] = np.nan
    return Ablation(heads, "mean", LAYOUT, clean, ablated)


def made_baselines(second_copy: float, count: int = 39) -> Baselines:
    sets = tuple((Head(layer, 0),) for layer in range(count))
    return Baselines(sets, "", np.full((count, LAYOUT.n_tokens), second_copy), LAYOUT, bound_loss=np.full(LAYOUT.n_tokens, 9.0))


def all_figures(look: Look):
    ablation = made_ablation(6.0)
    clean, ablated = ablation.clean.mean(0), ablation.ablated.mean(0)
    others = np.full((5, LAYOUT.n_tokens), 2.0)
    for effect in (EFFECT, PARTIAL, NOTHING):
        for estimate in (None, EFFECT + 0.1):
            yield effect_map(effects(effect, estimate), SCORES, "induction", Head(0, 1), look)
        yield score_effect(SCORES, "induction", effects(effect), 0.1, Head(0, 1), look)
    yield beside_baselines(
        [BesideRow("2 heads", 6.0, np.linspace(2, 3, 20), 7.0), BesideRow("1 head", 3.0, np.empty(0))], CLEAN, look
    )
    for baselines in (others, None, np.empty((0, LAYOUT.n_tokens))):
        yield position_losses(clean, ablated, baselines, LAYOUT, look)
    yield single_effect_bars(HEADS, np.array([0.5, -0.2]), 3.0, look)
    yield sweep_curve(made_sweep(), "mean", 0.42, look, {"zero": made_sweep(False)})
    yield sweep_curve(made_sweep(False), "mean", 0.42, look)


@pytest.mark.parametrize("look", LOOKS)
def test_every_figure_draws_in_every_look(look):
    for figure in all_figures(look):
        go.Figure(figure.to_dict())  # figures of plain data are not checked when they are shown
        assert figure.layout.font.size == look.font_size
        assert figure.layout.paper_bgcolor == look.paper and figure.layout.height > 100


def test_the_effect_map_is_symmetric_and_leaves_unmeasured_heads_empty():
    for effect in (EFFECT, PARTIAL):
        heat = effect_map(effects(effect), SCORES, "induction", None, Look()).data[0]
        np.testing.assert_array_equal(np.array(heat.z, dtype=float), effect)
        assert heat.zmax == -heat.zmin == np.nanmax(np.abs(effect))
    overlay = effect_overlay(SCORES, "induction", 0.5, Look())
    assert {(layer, head) for head, layer in overlay.parts[0]["at"]} == set(heads_above(SCORES, 0.5)) != set()
    assert "none of them measured" in describe_effect_map(effects(NOTHING, EFFECT))
    assert "4 heads measured, 0 only estimated" in describe_effect_map(effects(PARTIAL))


def test_estimated_cells_are_marked_and_only_measured_ones_have_an_interval():
    estimate = EFFECT + 5.0
    figure = effect_map(effects(PARTIAL, estimate), SCORES, "induction", None, Look())
    np.testing.assert_array_equal(np.array(figure.data[0].z, dtype=float), np.where(np.isnan(PARTIAL), estimate, PARTIAL))
    [marks] = [trace for trace in figure.data if trace.name == "estimated"]
    assert [round(y + 0.2) for y in marks.y] == [0] * 4 + [1] * 4 and set(marks.text) == {"≈"}
    assert "≈ estimated" in figure.layout.title.text
    for head, text in zip(every_head(3, 4), figure.data[-1].hovertext, strict=True):
        if head.layer == 2:
            low, high = signed(EFFECT[head] - 0.1), signed(EFFECT[head] + 0.1)
            assert f"effect {signed(EFFECT[head], 3)} nats ({low} to {high})" in text
        else:
            assert f"estimated {signed(estimate[head], 3)} nats, not measured yet" in text
    whole = effect_map(effects(EFFECT, estimate), SCORES, "induction", None, Look())
    assert not [trace for trace in whole.data if trace.name == "estimated"] and "≈" not in whole.layout.title.text
    said = describe_effect_map(effects(PARTIAL, estimate))
    assert "8 only estimated" in said and "L2H" in said and "L0H" not in said and "L1H" not in said


def test_scatter_points_are_at_their_numbers_and_clicks_name_them():
    figure = score_effect(SCORES, "induction", effects(EFFECT), 0.3, None, Look())
    clicks = figure.data[-1]
    assert len(clicks.customdata) == 12
    for x, y, head in zip(clicks.x, clicks.y, clicks.customdata, strict=True):
        assert (x, y) == (SCORES[Head.parse(head)], EFFECT[Head.parse(head)])
    assert {line.y0 for line in figure.layout.shapes} == {0.3, -0.3}
    assert len(score_effect(SCORES, "induction", effects(PARTIAL, EFFECT), 0.3, None, Look()).data[-1].customdata) == 4
    [lines] = [trace for trace in figure.data if trace.name == "95 % interval"]
    assert len(lines.y) == 3 * 12 and (lines.y[0], lines.y[1]) == pytest.approx((EFFECT[0, 0] - 0.1, EFFECT[0, 0] + 0.1))
    assert "for 4 heads" in describe_score_effect(effects(PARTIAL), "induction", 0.3)
    assert "one sequence" not in describe_score_effect(effects(PARTIAL), "induction", 0.3) + figure.layout.yaxis.title.text


def test_one_sequence_divides_no_heads_for_sure():
    one = replace(effects(EFFECT), low=NOTHING, high=NOTHING)
    figure = score_effect(SCORES, "induction", one, 0.3, None, Look())
    assert figure.layout.yaxis.title.text == "effect on one sequence (nats); dotted: ±0.30"
    assert describe_score_effect(one, "induction", 0.3).endswith("There is one sequence, so no interval.")
    beyond = int((abs(EFFECT) > 0.3).sum())
    assert 1 < beyond < 12
    assert sides_sentence(one, 0.3) == (
        f"On this one sequence {beyond} heads are beyond ±0.30 nats: without an interval no head is surely on either side."
    )


def test_how_many_heads_are_surely_on_their_side_of_the_floor_is_told():
    effect = np.array([[0.35, 0.45, -0.45, -0.35, 0.25, 0.0]])
    found = Effects(effect, effect - 0.1, effect + 0.1, np.full_like(effect, np.nan), complete=True)
    assert sides_sentence(found, 0.3) == (
        "Heads are divided by their mean effect: 4 beyond ±0.30 nats, 2 of them with the whole 95 % interval; "
        "2 within, 1 of them with the whole interval."
    )


def test_the_threshold_divides_the_scatter_without_changing_it():
    overlay = score_effect_overlay(SCORES, "induction", effects(EFFECT), 0.5, 0.3, Look())
    [line] = [part for part in overlay.parts if part["kind"] == "line"]
    assert (line["at"], line["across"]) == (0.5, "x")
    both, looks, rings = [part for part in overlay.parts if part["kind"] == "discs"]
    above = heads_above(SCORES, 0.5)
    matter = {head for head in above if abs(EFFECT[head]) > 0.3}

    def places(heads):
        return {(SCORES[head], round(EFFECT[head], 4)) for head in heads}

    assert set(both["at"]) == places(matter) and set(looks["at"]) == places(set(above) - matter)
    assert set(rings["at"]) == places(above)
    said = [part["text"] for part in overlay.parts if part["kind"] == "words"]
    counts = {text.rpartition(": ")[0]: int(text.rpartition(": ")[2]) for text in said if ": " in text}
    assert sum(counts.values()) == 12
    assert (counts["looks, large effect"], counts["looks, small effect"]) == (len(matter), len(above) - len(matter))
    assert all(f"{quadrant}: {count}" in overlay.said for quadrant, count in counts.items())


def test_names_stand_beside_their_points():
    overlay = score_effect_overlay(SCORES, "induction", effects(EFFECT), 0.5, 0.3, Look())
    named = [part for part in overlay.parts if part["kind"] == "words" and Head.parse(part["text"]) is not None]
    assert len(named) > 3
    for part in named:
        head = Head.parse(part["text"])
        assert (part["x"], part["y"]) == (SCORES[head], round(EFFECT[head], 4))
        right, down = part["shift"]
        # Off the ring, and running away from it.
        assert max(abs(right), abs(down)) >= 10 and {"start": right > 0, "end": right < 0, "middle": right == 0}[part["anchor"]]


@pytest.mark.parametrize("effect", [PARTIAL, NOTHING])
def test_heads_that_are_not_measured_are_in_no_quadrant(effect):
    overlay = score_effect_overlay(SCORES, "induction", effects(effect), 0.5, 0.3, Look())
    known = int((~np.isnan(effect)).sum())
    assert sum(int(part["text"].rpartition(": ")[2]) for part in overlay.parts if part.get("bold")) == known
    json.dumps(overlay.parts, allow_nan=False)


def test_quadrants_differ_by_symbol_not_by_colour_alone():
    figure = score_effect(SCORES, "induction", effects(EFFECT), 0.3, None, Look())
    assert [(trace.marker.symbol, trace.marker.size) for trace in figure.data[1:3]] == [("circle", 8), ("diamond", 12)]
    both, looks, rings = [
        part
        for part in score_effect_overlay(SCORES, "induction", effects(EFFECT), 0.5, 0.3, Look()).parts
        if part["kind"] == "discs"
    ]
    assert both["shape"] == "diamond" != looks["shape"] and both["fill"] == Look().accent != looks["fill"]
    assert rings["fill"] is None and rings["pixels"] > both["pixels"]


def test_labels_do_not_cover_each_other():
    points = [(100.0, 100.0), (104.0, 101.0), (300.0, 50.0)]
    places = placed_labels(points, ["L0H0", "L0H1", "L9H9"], 14, 10, 400, 200)
    assert places[0] == "top center" and places[1] not in (None, "top center") and places[2] == "top center"
    assert placed_labels([(50.0, 50.0)] * 9, ["L0H0"] * 9, 14, 10, 100, 100).count(None) >= 4
    assert placed_labels([(5.0, 12.0)], ["L0H0"], 14, 10, 400, 200) == ["middle right"]


def test_a_name_near_the_edge_of_a_telephone_stands_on_the_side_that_has_room():
    """There a name is a fifth of the picture wide, and what lies beyond the axes is cut."""
    scores, effect, sides = np.full((3, 4), 0.1), np.zeros((3, 4)), {}
    scores[0, 0], effect[0, 0] = 0.97, 3.0
    for narrow in (False, True):
        look = Look(narrow=narrow)
        parts = score_effect_overlay(scores, "induction", effects(effect), 0.5, 0.3, look).parts
        [sides[narrow]] = [part["anchor"] for part in parts if part["kind"] == "words" and part["text"] == "L0H0"]
    assert sides == {False: "middle", True: "end"}


def test_a_name_stands_on_a_point_or_an_interval_only_where_there_is_no_other_place():
    at = [(200.0, 100.0)]

    def place(*drawn):
        return placed_labels(at, ["L0H0"], 14, 10, 400, 200, drawn)[0]

    interval = drawn_boxes(at, 8, up=[(60.0, 140.0)])
    assert place(*interval) == "middle right", "its own goes up and down"
    right = drawn_boxes([(230.0, 100.0)], 8)
    assert place(*interval, *right) == "middle left"
    everywhere = drawn_boxes(at, 8, [(100.0, 300.0)], [(0.0, 200.0)])
    assert place(*everywhere) == "top center", "and it is there all the same"
    nothing = math.nan
    assert len(drawn_boxes(at, 8, [(nothing, nothing)], [(nothing, nothing)])) == 1


def test_the_range_beside_is_all_of_the_other_sets_with_the_bound_above():
    baselines = np.arange(101.0) / 10
    rows = [BesideRow("2 heads", 6.0, baselines, 11.5)]
    figure = beside_baselines(rows, CLEAN, Look())
    [range_] = [shape for shape in figure.layout.shapes if shape.type == "rect"]
    assert range_.layer == "below", "nothing lies over the diamond"
    assert (range_.x0, range_.x1) == (0.0, 10.0), "from the smallest to the largest, no percentile"
    [dots] = [trace for trace in figure.data if trace.name == "other sets"]
    np.testing.assert_array_equal(dots.x, baselines)
    [bound] = [trace for trace in figure.data if trace.name == "all heads of these layers"]
    assert set(bound.x) == {11.5} and figure.layout.xaxis.range[1] > 11.5
    assert "101 other sets: 0.00 to 10.00, all heads of these layers: 11.50" in describe_beside(rows, CLEAN)


def test_positions_start_with_the_first_token_that_is_predicted():
    ablation = made_ablation(6.0)
    clean, ablated = ablation.clean.mean(0), ablation.ablated.mean(0)
    rows = position_rows(clean, ablated, np.full((4, LAYOUT.n_tokens), 2.5), LAYOUT)
    assert [row["position"] for row in rows] == list(range(1, LAYOUT.n_tokens))
    assert [row["copy"] for row in rows].count("first") == 10
    assert rows[-1] == {
        "position": 20,
        "copy": "second",
        "untouched": 2.0,
        "without these heads": 6.0,
        "others low": 2.5,
        "others high": 2.5,
    }
    assert "median is 2.00 nats untouched and 6.00" in describe_positions(clean, ablated, True, LAYOUT)


@pytest.mark.parametrize(("count", "name"), [(39, "range of 39 other sets"), (1, "1 other set")])
def test_a_legend_says_how_many_other_sets_were_drawn_and_not_that_they_are_all(count, name):
    clean, ablated = (loss.mean(0) for loss in (made_ablation(6.0).clean, made_ablation(6.0).ablated))
    others, *_ = position_losses(clean, ablated, np.full((count, LAYOUT.n_tokens), 2.5), LAYOUT, Look()).data
    assert others.name == name


@pytest.mark.parametrize("look", LOOKS)
def test_the_names_of_the_two_losses_stand_clear_of_each_other(look):
    layout = beside_baselines([BesideRow("1 head", 3.9, np.empty(0))], CLEAN, look).layout
    first, second = sorted(note.yshift for note in layout.annotations if note.yref == "paper")
    # A note's box in the page's letters, and how far boxes may overlap before one is hidden.
    assert second - first >= 23 * look.scale - 3
    assert second + 23 * look.scale < layout.margin.t - look.buttons


def test_the_sweep_marks_threshold_knee_and_range():
    sweep = made_sweep()
    figure = sweep_curve(sweep, "mean", 0.42, Look())
    assert {shape.x0 for shape in figure.layout.shapes if shape.x0 == shape.x1} == {0.42}
    lines = sweep_curve(sweep, "mean", None, Look()).layout.shapes
    assert not [shape for shape in lines if shape.x0 == shape.x1], "the line is its overlay's to draw"
    [line] = [part for part in sweep_overlay(0.42, Look()).parts if part["kind"] == "line"]
    assert line["at"] == 0.42
    assert line["begins"] == pytest.approx(figure.layout.yaxis.domain[0]), "no number of the bars below is struck out"
    if sweep.knee is not None:
        assert any(f"knee {sweep.knee:.2f}" in note.text for note in figure.layout.annotations)
    [others] = [trace for trace in figure.data if "as many other heads (range)" in (trace.name or "")]
    known = [row for row in sweep.rows if row.heads]
    assert len(others.x) == 2 * len(known) and (min(others.y), max(others.y)) == (2.0, 2.4)
    assert f"{sweep.rows[0].n_heads} heads" in describe_sweep(sweep, "mean")
    assert not [
        trace for trace in sweep_curve(made_sweep(False), "mean", 0.42, Look()).data if getattr(trace, "fill", None) == "toself"
    ]


def test_bars_are_the_heads_their_sum_and_all_together():
    heads, effects = HEADS, np.array([0.2, 0.5])
    [bars] = single_effect_bars(heads, effects, 3.0, Look()).data
    assert list(bars.y) == pytest.approx([0.5, 0.2, 0.7, 3.0])
    assert [row["taken away"] for row in single_effect_rows(heads, effects, 3.0)][-2:] == ["sum of these", "all together"]
    assert "The sum is +0.70; all together +3.00" in describe_single_effects(heads, effects, 3.0)


def test_sentences_tell_more_from_less():
    more = against_baselines(made_ablation(6.0), made_baselines(2.1))
    cost = "hurts more than every one of 39 other sets:** +4.00 nats (95 % interval +3.87 to +4.13 over 2 sequences); "
    assert cost + "other sets +0.10 to +0.10; p = 0.025, the smallest that 39" in more
    assert "Without any head of the same layers: +7.00 nats" in more
    assert change_words(Number(1.156, 0.909, 1.403), 4, 3) == "+1.156 nats (95 % interval +0.909 to +1.403 over 4 sequences)"
    assert "+0.0004 to" in change_words(Number(0.01, 0.0004, 0.02), 4), "as many digits as tell its side of zero"
    assert change_words(Number(1.0, math.nan, math.nan), 1) == "+1.00 nats (one sequence gives no interval)"
    one_costs_more = made_baselines(2.1, count=55)
    one_costs_more.token_loss[0] += 9
    assert "hurts more than 54 of 55 other sets:** +4.00 nats" in against_baselines(made_ablation(6.0), one_costs_more)
    few = against_baselines(made_ablation(6.0), made_baselines(2.1, count=2))
    assert "hurts more than every one of 2 other sets, too few to be sure" in few and "p = 0.333" in few
    assert "does not surely hurt more than other heads" in against_baselines(made_ablation(2.1), made_baselines(2.1))
    assert "does not surely hurt more" in against_baselines(made_ablation(2.099), made_baselines(2.1)), "the same digits"
    less = against_baselines(made_ablation(2.0), made_baselines(5.0))
    assert "hurts less than every one of 39 other sets" in less and "p = 1.000, where 39 sets can give 0.025 at best" in less
    assert "hurts less than every one of 2 other sets:" in against_baselines(made_ablation(2.0), made_baselines(5.0, count=2))
    assert "+7.00 nats, the upper bound." in less
    assert "+7.00 nats, no upper bound here." in against_baselines(made_ablation(9.5), made_baselines(2.1))
    assert "+7.00 nats, the upper bound." in against_baselines(made_ablation(9.0000001), made_baselines(2.1)), "the same digits"
    assert "are none" in against_baselines(made_ablation(6.0), Baselines((), "There are none.", np.empty((0, 21)), LAYOUT))
    assert "More than the sum" in whole_and_parts(np.array([0.1, 0.2]), 3.0)
    assert "Less than the sum" in whole_and_parts(np.array([2.0, 2.0]), 2.0)
    assert "add up" in whole_and_parts(np.array([1.0, 1.0]), 2.0)
    assert "they keep 83 % of the gain by themselves" in sufficiency(made_ablation(3.0), 2)
    assert "no better than the first copy untouched: by itself it keeps nothing" in sufficiency(made_ablation(9.0), 1)
    assert sufficiency(replace(made_ablation(2.0), heads=()), 8) == "No head of this model is left to take away."
    assert "consistent with backup heads; saturation looks the same" in whole_and_parts(np.array([0.1, 0.2]), 3.0)
    assert whole_and_parts(np.array([0.94]), 0.94) == "", "one head alone is all together"
    assert "strong" in agreement_sentence(rank_agreement(SCORES, SCORES), "a and a")
    assert "(strong)" in agreement_sentence(rank_agreement(SCORES, SCORES), "a and a")
    assert "without an interval" in agreement_sentence(rank_agreement(SCORES, SCORES), "a and a")
    assert "no rank correlation" in agreement_sentence(rank_agreement(SCORES, NOTHING), "a and b")
    assert [signed(-0.001), signed(-1.0), signed(0.5)] == ["0.00", "−1.00", "+0.50"]


def swept(*costs: tuple[int, float, list[float]], thresholds: tuple[float, ...] = ()) -> Sweep:
    """Each threshold's number of heads, what they cost, and what each of as many others costs."""
    values = thresholds or tuple(0.1 * (place + 1) for place in range(len(costs)))
    sets = [tuple(Head(place, head) for head in range(count)) for place, (count, _, _) in enumerate(costs)]
    losses = {heads: set_cost(each) for heads, (_, each, _) in zip(sets, costs, strict=True)}
    beside = {heads: CLEAN.second_copy + np.array(others) for heads, (_, _, others) in zip(sets, costs, strict=True) if heads}
    few = {heads: "There are too few." for heads, others in beside.items() if not len(others)}
    return assemble_sweep(values, sets, losses, beside, CLEAN, few)


MANY, FEW = [0.0, 0.4] * 20, [0.0, 0.0]


def test_a_sweep_says_which_thresholds_have_other_sets():
    every = beyond_baselines(swept((2, 4.0, MANY), (1, 3.0, MANY)))
    assert every.startswith("**At every threshold the heads above it cost more than every other set that was drawn.**")
    assert "other sets differ most at threshold 0.10: 0.00 to +0.40 nats, where the heads above it cost +4.00" in every
    some = beyond_baselines(swept((2, 4.0, MANY), (1, 3.0, MANY), (0, 0.0, [])))
    assert some.startswith("**At every threshold with heads above it these cost more than every other set that was drawn.**")
    lacking = beyond_baselines(swept((14, 6.0, []), (2, 4.0, MANY), (1, 3.0, MANY), (0, 0.0, [])))
    assert lacking.startswith(
        "**At every threshold that has other sets to compare with (2 of 3) the heads above it cost more than every other set"
    )
    assert "At threshold 0.10 there is nothing to compare with: There are too few." in lacking


def test_a_sweep_is_no_surer_than_an_ablation_of_the_same_heads():
    few = beyond_baselines(swept((2, 4.0, FEW), (1, 3.0, FEW)))
    assert few.startswith(
        "**At every threshold the heads above it cost more than every other set that was drawn, too few to be"
    )
    assert "At no threshold do the other sets differ in what they cost, 0.00 nats; the heads above 0.10 cost +4.00." in few
    assert "p = 0.333, the smallest that 2 sets can give" in few
    nearly = beyond_baselines(swept((1, 3.0, [*MANY, 9.0])))
    assert "the heads above it cost more than nearly all other sets." in nearly and "every other set" not in nearly
    assert "do not surely cost more than other heads do" in beyond_baselines(swept((1, 0.2, MANY)))
    assert "cost less than every other set that was drawn" in beyond_baselines(swept((1, 0.2, [1.0] * 40)))
    mixed = beyond_baselines(swept((3, 5.0, FEW), (2, 4.0, MANY), (2, 4.0, MANY), (1, 0.2, MANY)))
    assert mixed.startswith(
        "**Of the 4 thresholds with other sets to compare with, at 2 the heads above it cost more than every other set that "
        "was drawn; at 1 the heads above it cost more than every other set that was drawn, too few to be sure; at 1 the heads "
        "above it do not surely cost more than other heads do.**"
    )
    assert p_words(1.0, 0.5, 1) == "p = 1.000, where 1 set can give 0.500 at best"


def test_a_sweep_says_why_there_is_nothing_to_compare_with():
    none = beyond_baselines(swept((0, 0.0, []), (0, 0.0, [])))
    assert none.startswith("**No head is above any threshold of this sweep,** 0.10 to 0.20") and "stays at 2.00 nats" in none
    too_few = beyond_baselines(swept((4, 6.0, []), (3, 5.0, [])))
    assert "the heads above a threshold cost +5.00 to +6.00 nats" in too_few and too_few.endswith("There are too few.")
    not_yet = beyond_baselines(made_sweep(False))
    assert "beside them yet" in not_yet and "**" not in not_yet, "nothing in bold that may still change"
    one = replace(swept((1, 3.0, MANY)).rows[0], others=None)
    assert beyond_baselines(replace(made_sweep(), rows=(one,))).startswith("1 head set has no other sets beside it yet.")


def test_the_slider_says_where_it_lies_beside_a_sweep():
    found = swept((2, 4.0, FEW), (1, 3.0, []), thresholds=(0.05, 0.95))
    two, one, other = found.rows[0].heads, found.rows[1].heads, (Head(7, 7),)
    said = at_threshold(found, 0.3, two)
    assert "2 heads, second-copy loss 2.00 → **6.00 nats**, +4.00 nats (95 % interval +3.90 to +4.10 over 4 sequences)" in said
    assert "without as many other heads 2.00 to 2.00, p = 0.333, the" in said
    assert at_threshold(found, 0.95, one).endswith("(95 % interval +2.90 to +3.10 over 4 sequences).")
    assert at_threshold(replace(found, n_sequences=1), 0.95, one).endswith("+3.00 nats (one sequence gives no interval).")
    assert "0 heads, so nothing is taken away: the second-copy loss stays at **2.00 nats**." in at_threshold(found, 1.0, ())
    assert "1 head, below where this sweep begins, 0.05" in at_threshold(found, 0.01, other)
    assert "1 head, above where this sweep ends, 0.95" in at_threshold(found, 0.97, other)
    assert "1 head, a set that lies between two points of this sweep" in at_threshold(found, 0.5, other)


def test_files_hold_plain_json(monkeypatch):
    identity = ModelIdentity(ModelCard("tiny", "test", 3, 4, 8, 2, 100, 64, 1000, "bundled"), "ab")
    subject = Subject(Request("tiny", length=10, sequences=3), identity, "cpu")
    monkeypatch.setattr("core.sharing.facts.conformance", lambda _: Conformance(10, ()))
    partly = CausalMap("mean", PARTIAL[..., None].repeat(3, -1) + np.arange(3) / 10, np.zeros(3))
    found = json.loads(json_text(causal_facts(subject, "mean", CLEAN, partly, None)))
    assert found["effect"][0][0] is found["low"][0][0] is None and found["effect"][2][0] == pytest.approx(EFFECT[2, 0] + 0.1)
    assert found["low"][2][0] < found["effect"][2][0] < found["high"][2][0]
    assert found["measured"][0][0] is False and found["measured"][2][0] is True and found["estimate"] is None
    found = json.loads(json_text(causal_facts(subject, "mean", CLEAN, partly, EFFECT)))
    assert found["effect"][0][0] == pytest.approx(EFFECT[0, 0]) and found["measured"][0][0] is False
    found = json.loads(json_text(sweep_facts(subject, "mean", "induction", made_sweep(False))))
    assert found["rows"][0]["baseline_low"] is found["rows"][0]["p"] is None and found["mode"] == "mean"
    found = json.loads(json_text(sweep_facts(subject, "mean", "induction", made_sweep())))
    row = found["rows"][0]
    assert (row["baseline_low"], row["baseline_high"], row["p"], row["smallest_p"]) == (2.0, 2.4, 1 / 21, 1 / 21)
    rise = row["n_heads"]
    assert row["second_copy_change"] == pytest.approx({"value": rise, "low": rise - 0.1, "high": rise + 0.1})


def test_a_click_adds_a_head_or_takes_it_out():
    above = (Head(1, 1), Head(1, 2))
    start = Experiment()
    more = start.toggled(Head(0, 3), above)
    assert (more.source, more.chosen(above)) == ("both", ((0, 3), (1, 1), (1, 2)))
    assert more.toggled(Head(0, 3), above).chosen(above) == above
    fewer = start.toggled(Head(1, 1), above)
    assert (fewer.source, fewer.heads) == ("picked", ((1, 2),))
    assert fewer.toggled(Head(1, 1), above).chosen(above) == above
    assert fewer.toggled(Head(1, 2), above).chosen(above) == ()
    remembered = replace(start, heads=(Head(2, 2),))
    assert remembered.chosen(above) == above, "heads picked by hand wait while the threshold decides"
    assert named(more.chosen(above)) == "L0H3,L1H1,L1H2"


def test_numbers_stand_in_the_cells_of_narrow_maps_only_while_they_fit() -> None:
    """Two maps beside each other leave sixteen heads twenty pixels each, in which numbers run into one another."""
    for n_heads, written in ((8, True), (16, False)):
        values = np.full((2, n_heads), 0.25)
        for figure in (
            value_map(values, "recorded", 0.5, Look()),
            effect_map(effects(values, np.full_like(values, np.nan)), values, "induction", None, Look()),
        ):
            assert any(trace.name == "values" for trace in figure.data) == written


@pytest.mark.parametrize("mode", MODES)
def test_heads_are_enough_by_themselves_only_where_the_others_do_not_say_where_to_look(mode):
    for loss, share, by_themselves in (
        (1.9, "all of the gain", "keep all of the gain by themselves"),
        (3.0, "83 % of the gain", "keep 83 % of the gain by themselves"),
        (7.0, "only 17 % of the gain", "need other heads"),
        (9.0, "nothing of the gain", "by themselves they keep nothing of the gain"),
    ):
        said = sufficiency(replace(made_ablation(loss), mode=mode), 2)
        assert share in said and f"{loss:.2f} nats" in said
        held = mode == "pattern"
        assert (by_themselves in said, "left in the whole model" in said) == (not held, not held)
        assert ("looking where it looked with all heads there, what these 2 heads move" in said) == held
        assert ("does not say whether these heads are enough by themselves" in said) == held
    assert ("whether this head is enough by itself" in sufficiency(replace(made_ablation(3.0), mode=mode), 1)) == held


def test_more_than_all_is_told_as_all():
    clean = np.full(3, 2.0)
    put_in = PatchedIn(HEADS, clean, corrupted=clean + 6, patched=clean - 0.1)
    assert "of the +6.00 that the earlier copy itself gives: all of it." in patched_in_sentence(put_in)
    assert "gives: 98 %." in patched_in_sentence(replace(put_in, patched=clean + 0.1))
