"""Verdicts of a subject: what is measured on what, what is kept, and what the command prints."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.cli import main
from core.errors import BadInput
from core.heads import Head
from core.runtime.store import default_store
from core.settings.modes import REFERENCE_SEQUENCES
from core.settings.request import Request
from core.settings.subject import bind
from core.verdicts import cached as verdicts_cached
from core.verdicts import gather as verdicts_gather
from core.verdicts.cached import judge, matching_heads, nominees
from core.verdicts.plan import MIN_SEQUENCES, Plan, plan_for, probes_of

pytestmark = pytest.mark.usefixtures("own_store")
CIRCUIT = Request("by-construction")
TRAINED = Request("two-layer")


def test_a_new_floor_measures_only_what_now_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    before = judge(TRAINED, (12, 16), 0.5, per_length=32)
    monkeypatch.setattr("core.verdicts.gather.gather_evidence", lambda *_: pytest.fail("measured where heads look again"))
    monkeypatch.setattr("core.verdicts.gather.gather_writing", lambda *_: pytest.fail("measured what heads write again"))
    taken: list[Head] = []
    measure = verdicts_cached._total_effects
    monkeypatch.setattr(verdicts_cached, "_total_effects", lambda *given: taken.extend(given[1]) or measure(*given))
    judge(TRAINED, (12, 16), 0.9, per_length=32)
    assert len(before.called) == 4 and taken == []
    monkeypatch.setattr("core.verdicts.gather.gather_total_effects", lambda *_: pytest.fail("took a head away again"))
    again = judge(TRAINED, (12, 16), 0.4, per_length=32)
    assert again.called == before.called


def test_heads_are_judged_on_sequences_they_were_not_picked_on() -> None:
    plan = plan_for(bind(TRAINED))
    picked = {tuple(row) for probe in probes_of(plan.picking) for row in probe.tokens.tolist()}
    judged = {tuple(row) for probe in probes_of(plan.judging) for row in probe.tokens.tolist()}
    assert len(picked) == sum(subject.request.sequences for subject in plan.picking) >= MIN_SEQUENCES
    assert not picked & judged and not plan.picked_on_the_same
    assert not set(map(tuple, mean_over(plan).tolist())) & (picked | judged)


def mean_over(plan: Plan) -> np.ndarray:
    return np.concatenate([probe.control for probe in probes_of(plan.references) if probe.control is not None])


def test_what_stands_in_for_a_head_is_a_mean_over_fresh_sequences_that_heads_were_picked_on() -> None:
    plan = plan_for(bind(TRAINED))
    rows = mean_over(plan)
    assert rows.shape == (REFERENCE_SEQUENCES, max(probe.n_tokens for probe in probes_of(plan.judging)))
    assert [subject.request.sequences for subject in plan.picking] == [10, 10, 10, 10, 16, 16]
    # None repeats, and none begins as a judged one does.
    length = plan.references[0].request.length
    assert all(len(set(row[1:].tolist())) == 2 * length for row in rows)
    begins = {tuple(row[: length + 1]) for probe in probes_of(plan.judging) for row in probe.tokens.tolist()}
    assert not begins & {tuple(row[: length + 1]) for row in rows.tolist()}
    # Too few, or given ones: drawn apart.
    assert plan_for(bind(TRAINED), (12,), per_length=8).references == ()
    given = bind(CIRCUIT).at(length=8, sequences=80)
    assert plan_for(given.at(tokens=tuple(tuple(map(int, row)) for row in given.probe.tokens))).references == ()


@pytest.mark.parametrize("lengths", [(9,), (9, 12), (12, 9, 10), (5, 6, 7, 8, 9, 10, 11, 12)])
def test_sequences_are_enough_for_verdicts_and_of_the_longest_length_for_a_mean(lengths: tuple[int, ...]) -> None:
    plan = plan_for(bind(TRAINED), lengths)
    count = {n: sum(s.request.sequences for s in plan.picking if s.request.length == n) for n in lengths}
    assert sum(count.values()) >= max(MIN_SEQUENCES, 24 * len(lengths)) and count[max(lengths)] >= REFERENCE_SEQUENCES
    assert min(count.values()) >= 20


def test_means_are_read_by_the_way_and_are_the_same_where_they_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    alone: list[int] = []
    gather = verdicts_gather.gather_outputs
    monkeypatch.setattr(verdicts_gather, "gather_outputs", lambda *given: alone.append(1) or gather(*given))
    first = judge(TRAINED, (12, 16), 0.5)
    assert first.called and not alone
    verdicts_cached._outputs.clear()
    verdicts_cached._judgements.clear()
    # As after a restart where the effects of these heads were never asked for.
    bench = verdicts_cached._Bench(bind(TRAINED), plan_for(bind(TRAINED), (12, 16)))
    heads = tuple(verdict.head for verdict in first.called)
    again = verdicts_gather.gather_total_effects(bench.ready, heads, "mean")
    stored = [default_store().get(bench.key("total-effect", mode="mean", head=head.name)) for head in heads]
    assert alone == [1] and all(np.array_equal(one.arrays["total"], two) for one, two in zip(stored, again, strict=True) if one)
    assert all(stored)


def test_sequences_are_from_both_halves_of_the_ids_where_they_hold_a_copy_and_its_control() -> None:
    plan = plan_for(bind(TRAINED), (12, 16))
    assert plan.ranges == (0, 1, 0, 1) and plan.lengths == (12, 16)
    lower, upper = (
        np.concatenate([p.tokens[:, p.bos_tokens :].ravel() for p in probes_of(plan.picking)[i::2]]) for i in (0, 1)
    )
    assert lower.max() < upper.min()
    small = plan_for(bind(CIRCUIT), (12, 50))
    assert small.ranges == (-1, -1)
    narrow = plan_for(bind(replace(TRAINED, token_range=(10, 40))), (10,))
    assert narrow.ranges == (-1,) and narrow.picking[0].request.token_range == (10, 40)


def test_given_rows_are_divided_between_picking_and_judging() -> None:
    vocabulary = bind(CIRCUIT)
    rows = tuple(tuple(map(int, row)) for row in vocabulary.at(length=8, sequences=20).probe.tokens)
    plan = plan_for(vocabulary.at(length=8, tokens=rows))
    assert plan.picking[0].request.tokens == rows[::2] and plan.judging[0].request.tokens == rows[1::2]
    few = plan_for(vocabulary.at(length=8, tokens=rows[:15]))
    assert few.picked_on_the_same and few.picking[0].request.tokens == rows[:15]
    judged = judge(vocabulary.at(length=8, tokens=rows))
    assert judged.sequences == judged.effect_sequences == 10 and [verdict.label for verdict in judged.called] == ["induction"]


@pytest.mark.parametrize("length", [2, 3])
def test_nothing_is_called_at_a_length_below_four(length: int, capsys: pytest.CaptureFixture[str]) -> None:
    for asked in ((length,), (25, length)):
        with pytest.raises(BadInput, match=f"No head is called at length {length}"):
            judge(TRAINED, asked)
    assert main(["call", "--model", "two-layer", "--length", str(length), "--json"]) == 2
    assert capsys.readouterr().err.startswith("error: No head is called at length")
    with pytest.raises(BadInput, match="No head is called"):
        judge(replace(CIRCUIT, length=length, tokens=((0, *range(5, 5 + length), *range(5, 5 + length)),) * 20))


def test_four_is_enough() -> None:
    assert [verdict.label for verdict in judge(CIRCUIT, (4,), per_length=64).called] == ["induction"]


def test_absent_behaviour_is_said() -> None:
    judged = judge(Request("one-layer"), (25,), per_length=64)
    assert judged.behaviour == "absent" and judged.called == ()
    assert nominees(Request("one-layer"), (25,), per_length=64) == ()


def test_a_large_model_is_screened_and_a_small_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = nominees(TRAINED, (12,), 0.95, per_length=32)
    # No head matches at this floor, so the induction heads are among those that matter without a label.
    assert {nominee.head for nominee in whole} >= {Head(1, head) for head in range(4)}
    monkeypatch.setattr(verdicts_cached, "ALWAYS_EXACT_LAYERS", 1)
    screened = nominees(TRAINED, (12,), 0.95, per_length=32)
    assert len(screened) == 1 and screened[0].head in {nominee.head for nominee in whole}


def test_direct_effects_that_are_withheld_are_null_and_say_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from core.errors import Withheld

    def refuse(*_: object) -> None:
        raise Withheld("The parts do not add up to the logit.")

    monkeypatch.setattr("core.verdicts.attribution._followed", refuse)
    assert main(["call", "--model", "by-construction", "--length", "9", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["withheld"] == {"direct_effect": "The parts do not add up to the logit."}
    first = result["heads"][0]
    assert first["label"] == "induction" and first["role_route"] is None
    assert first["direct_effect"] == {"value": None, "low": None, "high": None} and first["total_effect"]["value"] > 0.9


def test_the_command_prints_every_number_with_its_interval(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["call", "--model", "by-construction", "--length", "20"]
    assert main([*words, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert set(result) >= {"behaviour", "delta", "stability", "heads", "unexplained", "gain", "lengths", "sequences", "mode"}
    assert result["behaviour"]["state"] == "present" and result["delta"] == 0.01 and result["unexplained"] == []
    assert result["sequences"] >= MIN_SEQUENCES and result["probe"]["lengths"] == [20] and result["mode"] == "mean"
    first = result["heads"][0]
    assert list(first)[:11] == [
        "head",
        "label",
        "role_route",
        "induction",
        "contrast",
        "rotation_contrast",
        "specificity",
        "q",
        "total_effect",
        "role_q",
        "direct_effect",
    ]
    for name in ("induction", "contrast", "rotation_contrast", "specificity", "total_effect", "direct_effect"):
        assert first[name]["low"] <= first[name]["value"] <= first[name]["high"], name
    assert first["label"] == "induction" and first["copying"]["value"] == pytest.approx(1)
    others = [row for row in result["heads"] if row["label"] == "none"]
    assert all(row["total_effect"]["value"] is None and row["role_q"] is None for row in others)
    assert main(words) == 0
    text = capsys.readouterr().out
    assert first["sentence"] in text and "behaviour PRESENT" in text and "Effects: mean ablation of one head alone" in text


def test_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(BadInput, match="contrast floor"):
        judge(CIRCUIT, floor=2)
    with pytest.raises(BadInput, match="mode"):
        judge(CIRCUIT, mode="half")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="longest length"):
        judge(CIRCUIT, (25, 5000))
    assert main(["call", "--length", "a,b"]) == 2
    assert "25,50,100" in capsys.readouterr().err


@pytest.mark.parametrize("lengths", [10, "25", ["a"], [25, 10.5], [True], [None], np.array([25.0])], ids=repr)
def test_lengths_are_a_list_of_whole_numbers(lengths: Any) -> None:
    with pytest.raises(BadInput, match=r"^Lengths are given as a list of whole numbers, such as \[25, 50, 100\], not as .*\.$"):
        judge(CIRCUIT, lengths=lengths)


@pytest.mark.parametrize("floor", ["a", "0.5", None, True, float("nan"), float("inf"), [0.5], -0.1, 1], ids=repr)
def test_a_floor_is_a_number_from_0_to_1(floor: Any) -> None:
    for ask in (judge, nominees, matching_heads):
        with pytest.raises(BadInput, match=r"^The contrast floor must be a number from 0 up to, not including, 1, not .*\.$"):
            ask(CIRCUIT, floor=floor)


@pytest.mark.parametrize("count", ["a", 0, -1, 2.5, True, [16]], ids=repr)
def test_sequences_of_a_length_are_a_whole_number(count: Any) -> None:
    with pytest.raises(BadInput, match=r"^The sequences of each length must be a whole number above 0, or None, not .*\.$"):
        judge(CIRCUIT, (20,), per_length=count)


def test_numbers_of_numpy_ask_for_the_same_verdicts() -> None:
    plain = judge(CIRCUIT, (20,), 0.25, per_length=16)
    assert judge(CIRCUIT, np.array([20, 20]), np.float64(0.25), per_length=np.int64(16)) is plain
