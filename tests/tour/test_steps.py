"""Each step's answer and each thing its words say, against the bundled models: one that is trained again breaks these."""

from __future__ import annotations

import re
from types import SimpleNamespace

import numpy as np
import pytest

from core.ablation.cached import ablate, random_baselines
from core.attention.cached import score_heads
from core.behaviour import Behaviour
from core.errors import BadInput
from core.heads import Head, heads_above, names
from core.settings.tour_progress import STEPS as COUNT
from core.settings.tour_progress import TourProgress
from core.sharing.address import params_of, view_from
from core.text.cached import chosen_windows_of
from core.tour import evidence
from core.tour.check import check_answer, found_for, read_answer, subject_of
from core.tour.step import Step
from core.tour.steps import MINUTES, STEPS
from core.tour.tables import plain, tour_facts
from core.verdicts.cached import judge, judged_on_text

ANSWERS = ("L1H3", "L1H5", "L0H2", "pattern", "0.16", "L1H6", "positional impostor")
CONTRAST, THRESHOLD, NEEDED, FOOLS, P, TEXT, CLAIM = STEPS
each_step = pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)


def cost(step: Step, head: Head, mode: str) -> float:
    found = ablate(subject_of(step), [head], mode, text=None)  # type: ignore[arg-type]
    return found.ablated_losses.second_copy - found.clean_losses.second_copy


def test_there_are_as_many_steps_as_an_address_knows_and_fifty_minutes() -> None:
    assert len(STEPS) == COUNT == len(ANSWERS) and MINUTES == 50


@pytest.mark.parametrize("step, answer", list(zip(STEPS, ANSWERS, strict=True)), ids=lambda part: getattr(part, "title", ""))
def test_the_answer_is_what_the_bundled_models_say(step: Step, answer: str) -> None:
    found = found_for(step)
    assert found.right == answer
    checked = check_answer(step, answer, found)
    assert checked.right and checked.sentence.startswith("Right: ")


@each_step
def test_a_link_holds_all_of_the_view_and_none_of_the_answer(step: Step) -> None:
    assert view_from(params_of(step.view)) == (step.view, [])
    assert subject_of(step).card.source == "bundled"
    if step.kind == "head":
        assert found_for(step).right not in " ".join(step.hints) + str(params_of(step.view))
        # A task that asks which of two heads names both.
        assert step is NEEDED or found_for(step).right not in plain(step.task)
    assert all(hint.endswith((".", "?")) for hint in step.hints)


@each_step
def test_the_model_does_induction_so_the_questions_have_a_sense(step: Step) -> None:
    found: Behaviour = score_heads(subject_of(step)).behaviour
    assert found.state == "present"


def test_two_heads_score_near_one_and_one_of_them_is_no_match() -> None:
    scores = score_heads(subject_of(CONTRAST))
    near_one = heads_above(scores.mean("induction"), 0.95)
    contrasts = sorted(float(scores.mean("contrast")[head]) for head in near_one)
    assert len(near_one) == 2 and contrasts[0] < 0.05 and contrasts[1] > 0.9
    assert heads_above(scores.mean("induction"), 0.4) == near_one, "no third head is bright"


def test_one_head_lies_between_the_thresholds() -> None:
    values = score_heads(subject_of(THRESHOLD)).mean("induction")
    assert names(Head(*map(int, place)) for place in np.argwhere((values > 0.3) & (values <= 0.5))) == ["L1H5"]
    # With room on both sides, so that the answer does not hang on a digit.
    assert 0.33 < values[1, 5] < 0.47


def test_what_is_said_of_a_score_agrees_with_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """`0.50` is not between 0.50 and 0.30, and 0.05 less 0.01 is not 0.05."""
    scores = {"induction": np.array([[0.4996, 0.9, 0.0539]]), "contrast": np.array([[0.3, 0.8, 0.0468]])}
    monkeypatch.setattr(evidence, "score_heads", lambda subject: SimpleNamespace(mean=scores.__getitem__))
    monkeypatch.setattr(evidence, "ablate", lambda *given, **more: SimpleNamespace(gain_lost=0.5))
    subject = subject_of(THRESHOLD)
    assert evidence.joins_below(subject).reason("L0H0") == "L0H0 scores 0.4996, between the two"
    said = evidence.highest_contrast(subject).reason("L0H2")
    assert "L0H2 scores 0.054, " in said and "on fresh ones 0.007: a contrast of 0.047," in said, said


def test_two_heads_look_at_the_token_before_and_one_of_them_matters() -> None:
    looks = score_heads(subject_of(NEEDED)).mean("previous_token")
    assert set(names(heads_above(looks, 0.4))) == {"L0H1", "L0H2"}
    assert cost(NEEDED, Head(0, 2), "mean") > 4 and abs(cost(NEEDED, Head(0, 1), "mean")) < 0.1


def test_three_ways_of_taking_it_away_cost_more_than_four_nats_and_the_fourth_nothing() -> None:
    costs = {mode: cost(FOOLS, Head(0, 2), mode) for mode in FOOLS.choices}
    assert abs(costs.pop("pattern")) < 0.05
    assert len(costs) == 3 and min(costs.values()) > 4
    assert FOOLS.view.experiment.heads == (Head(0, 2),)


def test_p_is_counted_and_not_copied() -> None:
    subject = subject_of(P)
    alone, beside = ablate(subject, ["L1H5"], text=None), random_baselines(subject, ["L1H5"], "mean")
    others = [ablate(subject, heads, text=None).ablated_losses.second_copy for heads in beside.sets]
    as_much = sum(loss >= alone.ablated_losses.second_copy - 1e-6 for loss in others)
    assert f"{(as_much + 1) / (len(others) + 1):.2f}" == ANSWERS[4]
    assert f"{as_much} of {len(others)} other heads" in found_for(P).teaches
    assert cost(P, Head(1, 5), "mean") > 0.05, "the loss rises a little"
    # In truth it is an induction head: the cost alone is no evidence, and the sentence must not say that it does nothing.
    assert judge(subject).of(Head(1, 5)).label == "induction"


@pytest.mark.parametrize("typed, count", [("0.05", 0), ("0.11", 1), ("0.12", None), ("0.50", None), ("0.53", 9), ("1", 18)])
def test_what_is_said_of_a_wrong_p_is_true(typed: str, count: int | None) -> None:
    """Of p = 0.12 beside 18 sets it was said that one of them costs as much, which gives 0.105."""
    said = check_answer(P, typed).sentence
    assert f"where {count} of 18 other sets" in said if count is not None else "over 19: never" in said


def test_a_score_over_several_lengths_says_so() -> None:
    """The card beside it has 0.03 at one length, where the check says 0.04."""
    assert check_answer(CLAIM, "previous token").sentence.endswith("over lengths 25, 50 and 100.")


def test_four_heads_match_and_a_fifth_does_it_on_text_alone() -> None:
    subject = subject_of(TEXT)
    judged = judged_on_text(subject, chosen_windows_of(subject, TEXT.view.text))
    assert len(judged.matching) == len(judged.labelled("on text too")) == 4
    assert names(judged.labelled("text only")) == ["L1H6"] and judged.random[1, 6] < 0.1 < judged.judged.low[1, 6]


def test_the_claim_is_true_of_its_number_and_false_of_the_head() -> None:
    subject = subject_of(CLAIM)
    assert f"{score_heads(subject).mean('induction')[1, 2]:.2f}" == "1.00"
    for length in (10, 25, 49, 51, 100):
        assert score_heads(subject.at(length=length)).mean("induction")[1, 2] < 0.1
    assert set(CLAIM.choices) >= {judge(subject).of(Head(1, 2)).label, "induction"}


@each_step
def test_every_wrong_answer_is_told_why_by_a_number(step: Step) -> None:
    found, card = found_for(step), subject_of(step).card
    answers = {
        "head": [Head(layer, head).name for layer in range(card.n_layers) for head in range(card.n_heads)],
        "number": ["0.01", "0.05", "0.1", "0.5", "1"],
        "choice": list(step.choices),
    }[step.kind]
    for answer in answers:
        checked = check_answer(step, answer, found)
        assert checked.right == (answer == found.right)
        assert re.search(r"\d\.\d\d|\d of \d", checked.sentence), checked.sentence
        assert checked.sentence.count(".") - len(re.findall(r"\d\.\d", checked.sentence)) == 1, "one sentence"


def test_what_is_no_answer_is_not_told_a_right_one() -> None:
    """The example was L1H3, which is the first task's answer."""
    for step in STEPS:
        with pytest.raises(BadInput) as caught:
            read_answer(step, "?")
        assert step.kind == "choice" or found_for(step).right not in str(caught.value)


def test_facts_hide_the_answers_unless_they_are_asked_for() -> None:
    hidden, shown = tour_facts()["steps"], tour_facts(answers=True)["steps"]
    assert [step.get("answer") for step in hidden] == [None] * COUNT
    assert [step["answer"] for step in shown] == list(ANSWERS)
    assert all(step["teaches"].endswith(".") for step in shown)


def test_progress_counts_a_step_once_and_in_order() -> None:
    progress = TourProgress(2).with_done(3).with_done(1).with_done(3)
    assert progress == TourProgress(2, (1, 3))
