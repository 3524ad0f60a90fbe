"""The head card: its numbers are those of the modules that define them, and planted heads are told for what they are."""

from __future__ import annotations

import json
import math
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from scipy.stats import sem, t

import core.head_card.cached as head_card_parts
from core.ablation.baselines import LEFT_OUT
from core.ablation.cached import ablate
from core.ablation.cached_map import causal_map
from core.ablation.outcomes import Baselines
from core.attention.cached import score_heads
from core.attention.scores import ALL_SCORES
from core.circuits.cached import circuit
from core.cli import main
from core.documents.head_card import card_page
from core.errors import BadInput
from core.figures.base.number_table import number_table_html, small_table_html
from core.figures.base.style import Look
from core.head_card.cached import PARTS, head_card, its_set, known_head_card
from core.head_card.card import HeadCard, PartName, Removal
from core.head_card.tables import COLUMNS, TEXT, card_facts, card_rows, score_rows, text_rows, writing_rows
from core.head_card.words import (
    alone_sentence,
    baselines_note,
    call_sentence,
    edges_sentence,
    in_set_sentence,
    interval_note,
    looks_note,
    movement_sentence,
    text_sentence,
    unmatched_sentence,
    writing_note,
)
from core.heads import Head
from core.models.built_in.circuit_spec import PlantedHead, expected_prefix_matching, standard_spec
from core.numbers import signed
from core.settings.experiment import Experiment
from core.settings.request import Request
from core.settings.subject import bind
from core.settings.text_choice import TextChoice
from core.settings.view import View
from core.sharing.address import params_of, view_from
from core.sharing.commands import card_command
from core.sharing.facts import as_json
from core.stats import Number
from core.verdicts.cached import judge, nominees
from core.verdicts.conformance import conformance
from tests.helpers.html import Page

TRAINED = Request("two-layer", length=20, sequences=3)
# The planted positional head looks 49 back: at this length it scores like an induction head.
PLANTED = Request("by-construction", length=50, sequences=2)


@pytest.fixture(scope="module")
def trained() -> HeadCard:
    """The whole card of a trained induction head."""
    conformance(bind(TRAINED))
    return card_of(View(request=TRAINED, head=Head(1, 2)))


def card_of(view: View) -> HeadCard:
    """The whole card, of the model and on the probe that the view asks for."""
    return head_card(bind(view.request), view)


def measured(part: PartName, view: View) -> Any:
    """One part of that card."""
    return PARTS[part].measure(bind(view.request), view)


def page_of(card: HeadCard, view: View) -> str:
    """The card as a page."""
    return card_page(bind(view.request), card, view)


def planted(kind: str) -> PlantedHead:
    [head] = standard_spec().of_kind(kind)
    return head


def judged_card(kind: str) -> HeadCard:
    """A planted head's card with its verdict and what taking it away alone costs."""
    head = Head(planted(kind).layer, planted(kind).head)
    view = View(request=PLANTED, head=head)
    return HeadCard(head, score_heads(PLANTED), judged=measured("judged", view), alone=measured("alone", view))


def test_every_score_is_the_score_of_that_head_and_no_other(trained: HeadCard) -> None:
    scores = score_heads(TRAINED)
    assert [line.score for line in trained.score_lines] == list(scores.names)
    for line in trained.score_lines:
        values = scores.sequences(line.score)[1, 2]
        assert line.mean == pytest.approx(float(values.mean()), abs=1e-7)
        assert line.low <= line.mean <= line.high
        assert line.place == 1 + sum(scores.mean(line.score).ravel() > scores.mean(line.score)[1, 2] + 1e-6)
    induction = trained.score_lines[0]
    assert induction.control == pytest.approx(float(scores.per_sequence["induction_control"][1, 2].mean()))
    assert induction.low < induction.mean < induction.high and induction.chance < 0.1


def test_layer_and_head_are_not_swapped() -> None:
    """L0H1 and L1H0 have nothing in common, in any part of the card."""
    scores = score_heads(TRAINED).mean("induction")
    assert abs(scores[0, 1] - scores[1, 0]) > 0.3, "this test would not see a swap"
    first, second = (card_of(View(request=TRAINED, head=head)) for head in (Head(0, 1), Head(1, 0)))
    for card, (layer, head) in ((first, (0, 1)), (second, (1, 0))):
        assert card.name == f"L{layer}H{head}"
        assert card.score_lines[0].mean == pytest.approx(scores[layer, head], abs=1e-7)
        assert card.verdict is not None and card.verdict.head == (layer, head)
        alone = ablate(TRAINED, [(layer, head)], "mean", text=None)
        assert card.alone is not None
        assert card.alone.cost == pytest.approx(alone.ablated_losses.second_copy - alone.clean_losses.second_copy, abs=1e-6)
        assert card.patterns is not None and card.movement is not None and card.edges is not None
        on_stripe = card.patterns.row.mean_on_cells(card.patterns.repeated)
        # Kept patterns may be quantised to 16 bits.
        assert on_stripe == pytest.approx(float(score_heads(TRAINED).sequences("induction")[layer, head, 0]), abs=1e-4)
        assert card.alone_baselines is not None
        # All heads of layer 1 match and are never drawn, so beside one of them stand heads of layer 0.
        assert {place[0] for sets in card.alone_baselines.sets for place in sets} == {0}
        assert (layer, head) not in {place for sets in card.alone_baselines.sets for place in sets}
    assert second.edges is not None and {edge.induction for edge in second.edges.into} == {(1, 0)} and not second.edges.out
    assert first.edges is not None and not first.edges.into


def test_the_planted_induction_head_meets_its_closed_form() -> None:
    card = judged_card("induction")
    head = planted("induction")
    assert card.score_lines[0].mean == pytest.approx(expected_prefix_matching(50, 1, head.strength), abs=1e-5)
    assert card.verdict is not None and card.verdict.label == "induction"
    assert card.score_lines[0].place <= 2
    assert card.sentence is not None and card.sentence.startswith(f"{card.name}: induction.")
    assert "Without it the right token loses" in card.sentence
    assert call_sentence(card).startswith("Matches, over")
    assert card.alone is not None and card.alone.cost > 1


def test_the_planted_impostor_is_called_one_although_its_score_is_the_highest() -> None:
    card = judged_card("positional")
    by_score = {line.score: line for line in card.score_lines}
    assert by_score["induction"].place == 1 and by_score["induction"].mean > 0.9
    assert by_score["induction"].control == pytest.approx(by_score["induction"].mean, abs=1e-4)
    assert abs(by_score["contrast"].mean) < 1e-4
    # What it looks at has no value: a mean by value is none, and has no place among the two heads' that have one.
    assert math.isnan(by_score["value_weighted"].mean) and by_score["value_weighted"].place is None
    row = next(row for row in score_rows(card) if row["what"] == "Value-weighted matching")
    assert row["value"] == row["place"] == "–"
    assert 0 < by_score["value_weighted"].among < by_score["induction"].among == 8
    assert card.verdict is not None and card.verdict.label == "positional impostor"
    assert card.sentence is not None and "it looks at a position, not at a copy" in card.sentence
    assert re.search(r"its contrast −?0\.00 \([^)]*\) lies below 0\.20", card.sentence)
    assert call_sentence(card).startswith("Does not match, over 72 sequences of lengths 25, 50 and 100: its contrast")
    assert card.alone is not None and card.alone.cost == pytest.approx(0, abs=1e-5)


def test_a_score_that_a_factor_leaves_where_it_is_does_not_move_with_it() -> None:
    found = head_card(bind(Request("by-construction", length=20, sequences=2)), View(head=Head(1, 2)))
    said = movement_sentence(found, 0.5)
    assert re.search(r"moves with length by 1\.00 \(.*\), not with seed or with the BOS\.", said), said


@pytest.mark.parametrize(
    "low,high,moves",
    [
        # Above a threshold of 0.50, and written so.
        (0.5004, 0.93, "by 0.4296 (0.5004 to 0.9300)"),
        # Told as 0.05, 0.01 and 0.05 they would not add up.
        (0.0071, 0.0539, "by 0.047 (0.007 to 0.054)"),
    ],
)
def test_what_moves_is_written_on_its_side_of_the_threshold_and_adds_up(low: float, high: float, moves: str) -> None:
    card = head_card(bind(Request("by-construction", length=20, sequences=2)), View(head=Head(1, 2)))
    assert card.movement is not None
    means = [low if setting.label == "10" else high for setting in card.movement.settings]
    scores = tuple(
        replace(each, per_sequence={**each.per_sequence, "induction": np.full_like(each.sequences("induction"), mean)})
        for each, mean in zip(card.movement.scores, means, strict=True)
    )
    said = movement_sentence(HeadCard(card.head, card.scores, movement=replace(card.movement, scores=scores)), 0.5)
    assert f"moves with length {moves}" in said, said


def test_an_impostor_costs_no_more_than_others_and_none_of_them_is_called() -> None:
    """The induction head and its previous-token head are never drawn; equal costs that differ by rounding are told as equal."""
    card = judged_card("positional")
    view = View(request=PLANTED, head=card.head)
    card = replace(card, alone_baselines=measured("alone_baselines", view))
    assert "no more than other heads" in alone_sentence(card)
    assert card.alone_baselines is not None
    assert card.alone_baselines.distinct == len(card.alone_baselines.sets) == 5 and "all 5 sets" in baselines_note(card)
    assert "Beside" not in baselines_note(card), "there is one note"
    two = baselines_note(replace(card, in_set_baselines=replace(card.alone_baselines, note="Another note.")))
    assert two.startswith("Beside it alone: Layer by layer") and "Beside its set: Another note." in two
    alike = f"A sample of 39 of the 420 sets with as many heads in each layer. {LEFT_OUT}"
    told = baselines_note(replace(card, in_set_baselines=replace(card.alone_baselines, note=alike)))
    assert told.count(LEFT_OUT) == 1 and "Beside its set: A sample of 39 of the 420 sets with as many heads in each" in told
    # What random heads cost stands in one place, and it is not the verdict's.
    assert card.sentence is not None and "random" not in card.sentence and "random" not in call_sentence(card)


@pytest.mark.parametrize(
    "beside,verdict", [(0.003, "no more than"), (0.02, "less than"), (-0.003, "no more than"), (-0.02, "more than")]
)
def test_costs_that_read_the_same_are_told_as_equal(trained: HeadCard, beside: float, verdict: str) -> None:
    layout = trained.scores.layout
    loss = np.full((20, layout.n_tokens), trained.scores.losses().second_copy + beside)
    baselines = Baselines(((Head(1, 0),),) * 20, "", loss, layout)
    card = replace(trained, alone=Removal((Head(1, 2),), np.zeros(3)), alone_baselines=baselines)
    others = "every one of 20 other heads" if verdict in ("less than", "more than") else "other heads"
    assert f"costs 0.00 nats, {verdict} {others} (" in alone_sentence(card)
    few = replace(card, alone_baselines=Baselines(((Head(1, 0),),), "", loss[:1], layout))
    unsure = (
        "than the only other set (−0.02 to −0.02, too few to be sure; p = 0.500, the smallest that 1 set" in alone_sentence(few)
    )
    assert unsure == (verdict == "more than")


def test_a_cost_among_others_is_within_their_range(trained: HeadCard) -> None:
    """Sixteen of eighteen others may cost less: that is not 'no more than other heads'."""
    layout = trained.scores.layout
    loss = np.full((20, layout.n_tokens), trained.scores.losses().second_copy) + np.linspace(-0.1, 0.02, 20)[:, None]
    baselines = Baselines(((Head(1, 0),),) * 20, "", loss, layout)
    card = replace(trained, alone=Removal((Head(1, 2),), np.zeros(3)), alone_baselines=baselines)
    assert "costs 0.00 nats, within the range of other heads (−0.10 to +0.02, 20 sets; p = " in alone_sentence(card)


def test_a_head_that_one_other_outdoes_costs_more_than_all_others_but_one(trained: HeadCard) -> None:
    layout = trained.scores.layout
    loss = np.full((55, layout.n_tokens), trained.scores.losses().second_copy) + np.linspace(0.2, -0.1, 55)[:, None]
    card = replace(trained, alone=Removal((Head(1, 2),), np.full(3, 0.198)))
    card = replace(card, alone_baselines=Baselines(((Head(1, 0),),) * 55, "", loss, layout))
    assert "costs +0.20 nats, more than 54 of 55 other heads (−0.10 to +0.20; p = 0.036, where" in alone_sentence(card)


@pytest.mark.parametrize(
    "change,parts",
    [
        ({"head": Head(1, 1)}, {"own_effect", "patterns", "alone", "alone_baselines", "in_set", "edges"}),
        ({"threshold": 0.99}, {"in_set", "in_set_baselines"}),
        ({"score": "previous_token"}, {"in_set", "in_set_baselines", "movement"}),
        ({"experiment": Experiment(mode="zero")}, {"alone", "alone_baselines", "in_set", "in_set_baselines", "edges"}),
        ({"experiment": Experiment(effect_floor=0.9)}, {"judged", "own_effect", "edges", "on_text"}),
        ({"text": TextChoice(windows=8)}, {"on_text"}),
        ({"text": TextChoice(edges="tenths")}, set()),
    ],
)
def test_only_people_who_ask_for_the_same_share_a_job(change: dict, parts: set[str]) -> None:
    """What a part depends on names its job: too little, and one person would be given another's head."""
    view = View(request=TRAINED, head=Head(1, 2))
    other = replace(view, **change)
    subject = bind(TRAINED)
    assert {name for name, part in PARTS.items() if part.depends(subject, view) != part.depends(subject, other)} == parts


def test_a_head_that_matters_and_does_not_match_says_so_with_the_number_of_the_verdicts() -> None:
    """A card that is cited must not call a head nothing which another page lists as one that matters."""
    listed = {nominee.head: nominee.total_effect for nominee in nominees(TRAINED)}
    assert listed, "the model has such a head"
    for head in (*listed, Head(0, 3), Head(1, 2)):
        view = View(request=TRAINED, head=head)
        card = HeadCard(head, score_heads(TRAINED), judged=measured("judged", view), own_effect=measured("own_effect", view))
        said = unmatched_sentence(card)
        if head in listed:
            assert card.own_effect == pytest.approx(listed[head])
            assert said.startswith("It matters, though it does not match.") and f"{listed[head].value:.3f}" in said
        else:
            assert said == ""
        [row] = [row for row in writing_rows(card) if row["what"] == "Total effect"]
        assert card.own_effect is not None and row["value"] == signed(card.own_effect.value, 3)
        assert (row["place"] == "–") == (head != Head(1, 2))
        facts = card_facts(bind(TRAINED), card, replace(view, experiment=replace(view.experiment, mode="zero")))
        assert facts["own_total_effect"] == card.own_effect._asdict()
        # Costs are as the view asks, verdicts always of the mean.
        assert card.judged is not None and facts["judged_on"]["gain"] == card.judged.gain._asdict()
        assert (facts["mode"], facts["judged_on"]["mode"], facts["judged_on"]["effect_sequences"]) == ("zero", "mean", 24)


def test_a_dash_for_what_a_head_writes_has_its_reason_on_the_card_its_page_and_its_command(
    trained: HeadCard, capsys: pytest.CaptureFixture[str]
) -> None:
    assert writing_note(trained) == "" and not any(row["value"] == "–" for row in writing_rows(trained))
    request = Request("one-layer", length=20, sequences=4)
    view = View(request=request, head=Head(0, 1))
    card = HeadCard(Head(0, 1), score_heads(request), judged=measured("judged", view))
    said = writing_note(card)
    assert [row["value"] for row in writing_rows(card)[:2]] == ["–", "–"]
    assert said == (
        "Its total and direct effect have no number: the behaviour is absent, so there is no gain to measure them in."
    )
    assert said in " ".join(Page(page_of(card, view)).text)
    assert card.judged is not None and trained.judged is not None and trained.verdict is not None
    unsure = replace(card, judged=replace(card.judged, behaviour="weak"))
    assert "the model gains nothing sure from the repeat, so there is no gain" in writing_note(unsure)
    verdicts = tuple(
        replace(verdict, direct_effect=Number(math.nan, math.nan, math.nan), copying=math.nan)
        for verdict in trained.judged.verdicts
    )
    withheld = replace(trained, judged=replace(trained.judged, verdicts=verdicts, withheld="Its parts do not add up."))
    assert writing_note(withheld) == (
        "Its direct effect has no number. Its parts do not add up. "
        "Its copying has no number: this model's weights do not show it."
    )
    assert main(["card", "--model", "one-layer", "--length", "20", "--sequences", "4", "--head", "L0H1"]) == 0
    assert said in capsys.readouterr().out.splitlines()


def test_every_interval_is_students_over_sequences_as_on_the_other_pages(trained: HeadCard) -> None:
    """Of a few sequences a bootstrap is too narrow: of four, one of five misses what it should hold."""
    scores = score_heads(bind(TRAINED))
    for line in trained.score_lines:
        values = scores.sequences(line.score)[trained.head].astype(float)
        possible = np.clip(student(values), *ALL_SCORES[line.score].possible)
        assert (line.low, line.high) == pytest.approx(possible, abs=1e-6), line.score
    assert trained.alone is not None
    assert trained.alone.interval == pytest.approx(student(trained.alone.change), abs=1e-9)
    assert all(math.isnan(end) for end in replace(trained.alone, change=np.array([0.3])).interval)
    equal = replace(trained.alone, change=np.full(5, 0.25))
    assert equal.interval == (0.25, 0.25)


def student(values: np.ndarray) -> tuple[float, float]:
    low, high = t.interval(0.95, len(values) - 1, values.mean(), sem(values))
    return float(low), float(high)


def test_the_share_is_what_the_set_costs_with_it_less_without_it(trained: HeadCard) -> None:
    view = View(request=TRAINED, head=Head(1, 2))
    heads = its_set(bind(TRAINED), view)
    assert (1, 2) in heads and len(heads) > 1
    rest = tuple(head for head in heads if head != (1, 2))
    whole, without = (ablate(TRAINED, found, "mean", text=None).ablated_losses.second_copy for found in (heads, rest))
    assert trained.in_set is not None and trained.in_set.share is not None
    assert trained.in_set.whole.heads == heads
    assert trained.in_set.share.cost == pytest.approx(whole - without, abs=1e-6)
    assert f"Its set of {len(heads)} costs" in in_set_sentence(trained)


def test_the_share_is_what_the_two_costs_make_as_they_are_written(trained: HeadCard) -> None:
    assert trained.in_set is not None and trained.in_set.rest is not None and trained.in_set.share is not None
    parts = {"whole": 0.0539, "rest": 0.0071}
    made = {name: replace(getattr(trained.in_set, name), change=np.full(3, cost)) for name, cost in parts.items()}
    in_set = replace(trained.in_set, **made)
    said = in_set_sentence(replace(trained, in_set=in_set))
    assert "costs +0.054 nats" in said and said.endswith("+0.007, so its share of the set is +0.047."), said


def test_a_head_that_is_not_in_the_set_is_added_to_it_and_one_alone_has_no_set() -> None:
    view = View(request=TRAINED, head=Head(0, 3))
    assert (0, 3) in its_set(bind(TRAINED), view) and len(its_set(bind(TRAINED), view)) > 1
    picked = replace(view, experiment=Experiment(source="picked", heads=(Head(1, 1),)))
    assert its_set(bind(TRAINED), picked) == ((0, 3), (1, 1))
    alone = replace(view, threshold=0.99)
    assert its_set(bind(TRAINED), alone) == ((0, 3),)
    in_set = measured("in_set", alone)
    assert in_set.rest is None and in_set.share is None
    card = HeadCard(Head(0, 3), score_heads(TRAINED), in_set=in_set)
    assert "so the set is L0H3 alone" in in_set_sentence(card)


def test_what_another_page_has_measured_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    request = replace(TRAINED, seed=4)
    view = View(request=request, head=Head(1, 1))
    before = measured("alone", view)
    known = causal_map(request, "mean")
    monkeypatch.setattr(head_card_parts, "ablate", lambda *_, **__: pytest.fail("ablated again"))
    taken = measured("alone", view)
    np.testing.assert_allclose(taken.change, known.losses[1, 1] - known.clean)
    np.testing.assert_allclose(taken.change, before.change, atol=1e-6)


def test_a_whole_card_is_at_hand_and_costs_no_model(trained: HeadCard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.models.load.load_model", lambda *_, **__: pytest.fail("loaded a model"))
    view = View(request=TRAINED, head=Head(1, 2))
    subject = bind(TRAINED)
    again = known_head_card(subject, view, score_heads(subject))
    assert again.complete and card_facts(subject, again, view) == card_facts(subject, trained, view)


def test_a_card_of_nothing_but_scores_is_a_card(trained: HeadCard) -> None:
    view = View(request=replace(TRAINED, seed=77), head=Head(1, 2))
    card = known_head_card(bind(view.request), view, score_heads(view.request))
    assert not card.complete and card.sentence is None and not card.missing
    assert {row["what"] for row in card_rows(card)} == {"Induction", "Previous token", "Duplicate token", "Current token"} | {
        "First token",
        "Entropy",
        "Contrast",
        "Rotation contrast",
        "Specificity",
        "Value-weighted matching",
    }
    text = page_of(card, view)
    assert "Not measured yet." in text and "<h1>L1H2 of two-layer</h1>" in text


def test_a_score_that_is_withheld_stands_on_the_card_with_its_reason() -> None:
    view = View(request=Request("two-layer", length=2, sequences=2), head=Head(1, 2))
    subject = bind(view.request)
    card = known_head_card(subject, view, score_heads(subject))
    rows = {row["what"]: row["value"] for row in score_rows(card)}
    assert [what for what, value in rows.items() if value == "–"] == ["Rotation contrast", "Specificity"]
    why = "Specificity is withheld: sequences of 2 tokens have no other order"
    assert why in looks_note(card) and why in page_of(card, view)
    facts = card_facts(subject, card, view)
    assert why in facts["withheld"]["specificity"] and "specificity" not in facts["scores"]


def test_a_card_where_no_verdict_is_possible_has_the_rest() -> None:
    # Nothing is called on three tokens, and what that would take cannot be told either.
    card = card_of(View(request=Request("two-layer", length=3, sequences=2, token_range=(10, 13)), head=Head(1, 0)))
    assert "No head is called at length 3" in card.missing["judged"] and card.verdict is None
    assert card.alone is not None and card.in_set is not None


def test_one_part_that_cannot_be_had_leaves_the_others() -> None:
    request = Request("two-layer", length=20, sequences=1)
    card = card_of(View(request=request, head=Head(1, 2), experiment=Experiment(mode="resample")))
    assert set(card.missing) == {"alone", "alone_baselines", "in_set", "in_set_baselines"}
    assert all("at least 2 sequences" in why for why in card.missing.values())
    assert card.complete and card.verdict is not None and card.edges is not None and card.edges.mode == "mean"
    assert "at least 2 sequences" in page_of(card, View(request=request, head=Head(1, 2)))
    assert interval_note(card).startswith("One sequence alone gives no interval. ")


def test_edges_are_those_of_the_circuit(trained: HeadCard) -> None:
    found = circuit(TRAINED)
    assert trained.edges is not None
    assert trained.edges.into == tuple(edge for edge in found.edges if edge.induction == (1, 2)) != ()
    previous = card_of(View(request=TRAINED, head=found.previous[0]))
    assert previous.edges is not None and not previous.edges.into
    assert previous.edges.out == tuple(edge for edge in found.edges if edge.previous == found.previous[0])
    assert previous.edges.out[0].drop > 0.3 and "feeds" in edges_sentence(previous)


def test_a_path_that_does_not_matter_is_not_said_to_be_what_a_head_finds_its_place_through() -> None:
    card = judged_card("positional")
    said = edges_sentence(replace(card, edges=measured("edges", View(request=PLANTED, head=card.head))))
    assert said.startswith("No path into it matters by itself; the strongest is ") and "finds" not in said


def test_paths_are_told_as_surely_as_their_intervals_are(trained: HeadCard) -> None:
    assert trained.edges is not None
    [edge, *_] = trained.edges.into
    assert f"{trained.name} finds what it looks for through" in edges_sentence(trained)
    wide = replace(edge, low=edge.drop - 1, high=edge.drop + 1)
    said = edges_sentence(replace(trained, edges=replace(trained.edges, into=(wide,))))
    assert f"{trained.name} seems to find what it looks for through" in said and "More sequences would tell." in said
    small = replace(wide, patched=wide.clean)
    assert "No path into it is shown to matter by itself" in (
        edges_sentence(replace(trained, edges=replace(trained.edges, into=(small,))))
    )


def test_a_head_that_is_in_no_circuit_has_its_edges_measured() -> None:
    called = {verdict.head for verdict in judge(TRAINED).called}
    found = circuit(TRAINED)
    head = next(Head(0, head) for head in range(4) if (0, head) not in (*found.previous, *called))
    edges = measured("edges", View(request=TRAINED, head=head))
    assert {edge.induction for edge in edges.out} == called and all(edge.previous == head for edge in edges.out)
    assert max(edge.drop for edge in edges.out) < 0.2


def test_a_previous_token_heads_own_score_is_followed() -> None:
    view = View(request=TRAINED, head=circuit(TRAINED).previous[0])
    card = card_of(view)
    assert card.verdict is not None and card.verdict.label == "previous token"
    assert card.own_movement is not None and card.own_movement.score == "previous_token"
    assert card.own_movement.of(card.head, "seed")[0].mean > 0.5
    # The threshold is one of another score.
    assert "threshold" not in movement_sentence(card, 0.5) and "moves" in movement_sentence(card, 0.5)
    facts = card_facts(bind(TRAINED), card, view)
    assert facts["movement"] and not any("above_threshold" in row for row in facts["movement"])


@pytest.mark.parametrize(
    "view,says",
    [
        (View(request=TRAINED), "name it"),
        (View(request=TRAINED, head=Head(5, 7)), "There is no head L5H7"),
        (View(request=TRAINED, head=Head(1, 4)), "There is no head L1H4"),
        (View(request=replace(TRAINED, tokens=((0, 5, 6, 5, 6),)), head=Head(1, 2)), "drawn tokens"),
    ],
)
def test_what_no_card_can_be_about_is_said(view: View, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        card_of(view)


def test_every_part_has_its_place_on_the_card() -> None:
    assert set(PARTS) == set(get_args(PartName))
    # What takes few passes is there before what takes many, and edges after the calls that say between whom.
    assert list(PARTS)[:3] == ["patterns", "in_set", "alone"] and list(PARTS).index("judged") < list(PARTS).index("edges")
    assert set(PARTS) <= set(HeadCard.__dataclass_fields__)


def test_the_page_stands_alone_and_says_everything(trained: HeadCard) -> None:
    view = View(request=TRAINED, head=Head(1, 2))
    text = page_of(trained, view)
    page = Page(text)
    for tag, name, value in page.attributes:
        assert name not in ("src", "href", "srcset", "action", "data"), (tag, name, value)
        assert "//" not in value, (tag, name, value)
    library = max(page.scripts, key=len)
    assert all(not re.search(r"https?://|import\s*\(", script) for script in page.scripts if script is not library)
    assert "default-src 'none'" in text
    assert sum(script.count("Plotly.newPlot(") for script in page.scripts if script is not library) == 4
    said = " ".join(page.text)
    assert trained.sentence is not None and trained.sentence in said
    for row in card_rows(trained):
        assert row["what"] in said and row["value"] in said
    address = re.search(r"/Head_card\?(\S+)", said)
    assert address is not None
    assert view_from(dict(pair.split("=") for pair in address[1].split("&"))) == (view, [])
    assert params_of(view)["head"] == "L1H2"


def test_tokens_and_names_are_escaped(trained: HeadCard) -> None:
    evil = "<img src=x onerror=alert(1)>"
    assert trained.patterns is not None
    patterns = replace(trained.patterns, tokens=(evil, "</script>", *trained.patterns.tokens[2:]))
    subject = bind(TRAINED)
    named_so = replace(subject, identity=replace(subject.identity, card=replace(subject.card, name=evil)))
    page = Page(card_page(named_so, replace(trained, patterns=patterns), View(request=TRAINED, head=Head(1, 2))))
    assert not any(tag == "img" or name == "onerror" for tag, name, _ in page.attributes)
    figures = "".join(script for script in page.scripts if "Plotly.newPlot(" in script and len(script) < 1_000_000)
    assert re.search(r"img.{1,6}src=x", figures), "the token must be in the figure"
    # Plotly reads labels as HTML: the token must be escaped for it, and the script must not end early.
    unescaped = figures.replace("\\u003c", "<").replace("\\u003e", ">")
    assert "<img" not in unescaped and "</script>" not in unescaped
    table = number_table_html([{"group": evil, "what": evil, "meaning": evil, "value": evil}], {"value": evil}, evil, Look())
    assert "<img" not in table and table.count("&lt;img") == 7
    table = small_table_html([{"what": evil}], {"what": evil}, evil, Look(), {"what": evil})
    assert "<img" not in table and table.count("&lt;img") == 5


def test_absent_behaviour_comes_first_on_the_page(trained: HeadCard) -> None:
    scores = trained.scores
    absent = replace(scores, token_loss=np.full_like(scores.token_loss, 9.0))
    assert absent.behaviour.state == "absent"
    page = Page(page_of(replace(trained, scores=absent), View(request=TRAINED, head=Head(1, 2))))
    said = " ".join(page.text)
    assert said.index("does not do induction on this probe") < said.index("What it is")
    present = Page(page_of(trained, View(request=TRAINED, head=Head(1, 2))))
    assert "does not do induction" not in " ".join(present.text)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    out, err = capsys.readouterr()
    return status, out, err


def test_the_command_prints_the_card_and_writes_the_page(
    trained: HeadCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    view = View(request=TRAINED, head=Head(1, 2))
    words = shlex.split(card_command(view, None, "--html", str(tmp_path / "card.html")))
    assert words[:4] == ["python", "-m", "core", "card"]
    status, out, _ = run(capsys, *words[3:])
    assert status == 0 and out.count("\n") == 1
    result = json.loads(out)
    facts = as_json(card_facts(bind(TRAINED), trained, view))
    assert {name: result[name] for name in facts} == facts
    assert result["verdict"]["label"] == "induction" and result["model"]["name"] == "two-layer" and result["missing"] == {}
    assert result["html"] == str(tmp_path / "card.html")
    assert trained.sentence is not None and trained.sentence in Page((tmp_path / "card.html").read_text()).text
    assert list(tmp_path.iterdir()) == [tmp_path / "card.html"]
    status, out, _ = run(capsys, *[word for word in words[3:] if word != "--json"])
    assert status == 0 and trained.sentence in out and "chance" in out


def test_the_command_repeats_what_is_not_at_its_default(trained: HeadCard) -> None:
    experiment = Experiment(mode="zero", source="picked", heads=(Head(1, 1),), effect_floor=0.3)
    view = View(request=TRAINED, head=Head(1, 2), score="contrast", threshold=0.25, experiment=experiment)
    assert trained.in_set is not None
    command = card_command(view, trained.in_set.whole.heads)
    named = ",".join(f"L{layer}H{head}" for layer, head in trained.in_set.whole.heads)
    for words in ("--head L1H2", "--mode zero", "--threshold 0.25", "--score contrast", "--floor 0.30", f"--set {named}"):
        assert words in command


@pytest.mark.parametrize(
    "words,says",
    [
        ("", "--head"),
        ("--head seven", "named like"),
        ("--head L9H9", "There is no head L9H9"),
        ("--head L1H2,L1H1", "about one head"),
        ("--head L1H2 --threshold 7", "--threshold: must be a number from 0 to 1, not '7'"),
        ("--head L1H2 --floor nan", "--floor: must be a number from 0 to 1, not 'nan'"),
        ("--head L1H2 --set L8H8", "There is no head L8H8"),
        ("--head L1H2 --html /", "is a folder"),
        ("--head L1H2 --tokens missing.json", "cannot be read"),
    ],
)
def test_bad_input_is_one_line(words: str, says: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "card", "--model", "two-layer", "--json", *words.split())
    lines = err.strip().splitlines()
    assert status == 2 and not out and len(lines) == 1 and lines[0].startswith("error: ") and says in lines[0]


def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "notes.html"
    mine.write_text("<p>my notes</p>")
    status, _, err = run(capsys, "card", "--model", "two-layer", "--head", "L1H2", "--html", str(mine))
    assert status == 2 and "left alone" in err and mine.read_text() == "<p>my notes</p>"


def test_columns_are_those_of_every_row(trained: HeadCard) -> None:
    for row in card_rows(trained):
        assert {"group", "what", "meaning", *COLUMNS} == set(row) and all(isinstance(cell, str) for cell in row.values())
    by_name = {row["what"]: row for row in card_rows(trained)}
    assert by_name["Induction"]["control"] != "–" and by_name["Previous token"]["control"] == "–"
    assert " to " in by_name["Alone"]["interval"] and " to " in by_name["Alone"]["control"]


def test_text_stands_beside_random_tokens_in_the_one_table(trained: HeadCard) -> None:
    assert trained.on_text is not None
    rows = {row["what"]: row for row in text_rows(trained)}
    assert [row for row in card_rows(trained) if row["group"] == TEXT] == text_rows(trained)
    found = trained.on_text.natural
    natural = rows["Natural induction"]
    assert natural["value"] == f"{found.mean('natural_induction')[1, 2]:.2f}"
    assert natural["meaning"].endswith(f"({trained.score_lines[0].mean:.2f})")
    controls = [found.mean(name)[1, 2] for name in ("distance_control", "key_control")]
    assert natural["control"] == f"{max(controls):.2f}" and rows["Lift"]["control"] == "–"
    said = text_sentence(trained)
    assert said.startswith(("On text too", "Random only", "Undecided on text", "Text only", "Matches neither"))
    assert "on which heads are judged; the table has that of all of them, 64 windows of 128 tokens of words" in said
    facts = as_json(card_facts(bind(TRAINED), trained, View(request=TRAINED, head=Head(1, 2))))
    assert facts["on_text"]["measures"]["natural_induction"]["value"] == pytest.approx(found.mean("natural_induction")[1, 2])
