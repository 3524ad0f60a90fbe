"""The rule, clause by clause, on evidence made for it: every condition decides, and sentences agree with their numbers."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import numpy as np
import pytest

from core.behaviour import State
from core.heads import Head
from core.stats import UNKNOWN, Number, estimate
from core.verdicts.evidence import Effects, Evidence, joined
from core.verdicts.judge import Verdict, judge_heads
from core.verdicts.judgement import Judgement
from core.verdicts.matching import contrast_q_values, matching
from core.verdicts.nominees import nominated, unexplained
from core.verdicts.roles import DELTA, roles, shares_of_gain
from core.verdicts.stability import Stability, jaccard, stability
from core.verdicts.words import nominee_sentence, route_words, sentence, stability_words
from tests.helpers.judging import made_effects, made_evidence

TRUE_HEAD = {"induction": 0.95, "contrast": 0.9, "rotation_contrast": 0.85, "specificity": 0.7}


def evidence_of(*heads: dict[str, float], n: int = 64) -> Evidence:
    """Evidence of one layer with these heads; what is not named is 0."""
    names = sorted({"induction", *(name for head in heads for name in head)})
    return made_evidence(np.random.default_rng(0), n, **{name: [head.get(name, 0.0) for head in heads] for name in names})


def verdict_of(
    head: dict[str, float],
    total: float = 0.2,
    direct: float = 0.1,
    *,
    behaviour: State | None = "present",
    floor: float = 0.2,
) -> Verdict:
    effects = made_effects(np.random.default_rng(1), [total], [direct])
    [verdict] = judge_heads(evidence_of(head), effects, behaviour, floor)
    return verdict


def judgement_of(*verdicts: Verdict, behaviour: State | None = "present", withheld: str = "") -> Judgement:
    known = Stability(Number(0.9, 0.8, 1.0), {25: 1.0, 50: 0.8}, {"lower": 0.75, "upper": 1.0})
    gain = Number(10.0, 9.5, 10.5)
    return Judgement(
        verdicts, behaviour, (behaviour,), (25, 50), 64, 0.2, gain, "mean", 24, False, known, withheld
    )  # fmt: skip


@pytest.mark.parametrize(
    "change,label",
    [
        ({}, "induction"),
        # Fires at a fixed distance.
        ({"rotation_contrast": 0.0}, "none"),
        # Looks as much beside the successor.
        ({"specificity": 0.0}, "none"),
        ({"specificity": -0.3, "duplicate_token": 0.6}, "duplicate token"),
        # As much on fresh tokens.
        ({"contrast": 0.0, "rotation_contrast": 0.0}, "positional impostor"),
        ({"contrast": 0.19}, "positional impostor"),
        ({"contrast": 0.3, "rotation_contrast": 0.1}, "none"),
        # Misses the floor, and four fifths of what it has above chance go with the copy.
        ({"induction": 0.31, "contrast": 0.19}, "none"),
        # About half does: which, cannot be shown.
        ({"induction": 0.4, "contrast": 0.19}, "none"),
        ({"induction": 0.5, "contrast": 0.19}, "positional impostor"),
        ({"induction": 0.21, "contrast": 0.1}, "none"),
        ({"contrast": 0.25, "rotation_contrast": 0.25, "specificity": 0.02}, "induction"),
    ],
)
def test_a_head_matches_only_where_every_condition_holds(change: dict[str, float], label: str) -> None:
    assert verdict_of(TRUE_HEAD | change).label == label


@pytest.mark.parametrize(
    "name,label,floor",
    [("previous_token", "previous token", 0.4), ("duplicate_token", "duplicate token", 0.4), ("sink", "sink", 0.6)],
)
def test_other_labels_are_above_chance_by_their_floor(name: str, label: str, floor: float) -> None:
    # Chance is .02 here: the score itself must be above the floor by that much more.
    assert verdict_of({name: floor + 0.03}).label == label
    assert verdict_of({name: floor + 0.01}).label == "none"


def test_a_raised_floor_makes_no_impostor_of_a_head_that_follows_the_copy() -> None:
    verdict = verdict_of(TRUE_HEAD, floor=0.95)
    assert verdict.label == "none"
    told = sentence(verdict, replace(judgement_of(verdict), floor=0.95))
    assert "Does not match: its contrast 0.90" in told and "does not lie wholly above the floor 0.95" in told


def test_a_contrast_that_few_sequences_made_is_not_called() -> None:
    evidence = evidence_of(TRUE_HEAD)
    lucky = np.where(np.arange(64) < 20, 0.9, 0.0)[None, None]
    found = matching(replace(evidence, contrast=lucky))
    assert found.q[0, 0] < 0.05 and found.contrast.low[0, 0] < 0.2 < found.contrast.value[0, 0] < found.contrast.high[0, 0]
    assert not found.above(0.2).any() and found.above(0.1).all()


def test_significance_is_asked_of_all_heads_together() -> None:
    """With five sequences no p is below 1/32: one head alone can pass, one of many cannot."""
    five = np.full((1, 1, 5), 0.5)
    assert contrast_q_values(five)[0, 0] == pytest.approx(1 / 32)
    many = np.concatenate([five, np.random.default_rng(0).normal(size=(1, 9, 5))], axis=1)
    assert contrast_q_values(many)[0, 0] > 0.05


@pytest.mark.parametrize(
    "total,direct,label,route",
    [
        (0.2, 0.11, "induction", "direct"),
        (0.2, 0.02, "induction", "direct"),
        (-0.2, -0.02, "anti-induction", "direct"),
        (0.2, 0.0, "induction", "through later layers"),
        (0.2, -0.1, "induction", "through later layers"),
        (-0.2, -0.11, "anti-induction", "direct"),
        (-0.2, 0.1, "anti-induction", "through later layers"),
        (0.0, 0.1, "matching, no effect", None),
        (0.009, 0.1, "matching, no effect", None),
        (0.01, 0.1, "undecided", None),
        (-0.01, 0.0, "undecided", None),
        (0.011, 0.1, "induction", "direct"),
    ],
)
def test_the_role_is_what_removal_does(total: float, direct: float, label: str, route: str | None) -> None:
    verdict = verdict_of(TRUE_HEAD, total, direct)
    assert (verdict.label, verdict.role_route) == (label, route)
    assert verdict.total_effect.value == pytest.approx(total, abs=1e-3)


def test_a_head_without_effect_that_writes_something_says_what_makes_up_for_it() -> None:
    written, silent = verdict_of(TRUE_HEAD, 0.0, 0.1), verdict_of(TRUE_HEAD, 0.0, 0.0)
    assert written.label == silent.label == "matching, no effect"
    told = sentence(replace(written, last_layer=False), judgement_of(written))
    assert re.search(r"no effect, though what it writes itself is worth 0\.100 \(.*\): later layers make up for it", told)
    assert "though" not in sentence(silent, judgement_of(silent))


def test_later_layers_are_named_of_no_head_of_the_last_one() -> None:
    told = [
        replace(verdict_of(TRUE_HEAD, direct=direct), last_layer=last) for direct in (0.0, 0.02, 0.11) for last in (False, True)
    ]
    assert [route_words(verdict) for verdict in told] == [
        "through later layers",
        "through what follows it",
        *["in part direct"] * 2,
        *["direct"] * 2,
    ]
    assert {verdict.role_route for verdict in told} == {"direct", "through later layers"}
    for direct in (0.0, 0.02, 0.3):
        last = verdict_of(TRUE_HEAD, direct=direct)
        assert "later layers" not in sentence(last, judgement_of(last))
        earlier = replace(last, last_layer=False)
        assert "later layers" in sentence(earlier, judgement_of(earlier))


def test_roles_are_corrected_over_the_matching_heads() -> None:
    """The same head is sure alone and not among thirty that have nothing to show."""
    random = np.random.default_rng(3)
    noise = random.normal(size=(1, 31, 24))
    noise -= noise.mean(-1, keepdims=True)
    total = DELTA + 0.02 * noise
    # At the edge: p a little below .05.
    total[0, 0] += 0.02 * noise[0, 0].std(ddof=1) / math.sqrt(24) * 2.2
    effects = Effects(10 * total, 0 * total, np.full(24, 10.0) + 0.1 * noise[0, 1], np.repeat(8, 24))
    shares = shares_of_gain(effects, "present")
    alone = np.zeros((1, 31), dtype=bool)
    alone[0, 0] = True
    assert roles(shares, alone)[Head(0, 0)].label == "induction"
    among = roles(shares, np.ones((1, 31), dtype=bool))[Head(0, 0)]
    assert among.label == "undecided" and among.q > 0.05 and among.total_effect.low > DELTA


def test_effects_are_shares_of_the_gain_at_the_same_length() -> None:
    gain = np.array([10.0, 10.1, 9.9, 20.0, 20.2, 19.8])
    total = np.array([1.0, 1.0, 1.0, 4.0, 4.0, 4.0])[None, None]
    shares = shares_of_gain(Effects(total, total, gain, np.array([8, 8, 8, 16, 16, 16])), "present")
    np.testing.assert_allclose(shares.total[0, 0], [0.1, 0.1, 0.1, 0.2, 0.2, 0.2])
    assert shares.gain.value == pytest.approx(15.0)


def test_a_length_without_a_gain_has_no_share_and_an_absent_behaviour_none() -> None:
    gain = np.array([10.0, 10.1, 9.9, 0.5, -0.5, 0.1])
    total = np.ones((1, 1, 6))
    effects = Effects(total, total, gain, np.array([8, 8, 8, 16, 16, 16]))
    assert shares_of_gain(effects, "present").total.shape[-1] == 3
    assert not shares_of_gain(effects, "absent").any
    verdict = verdict_of(TRUE_HEAD, behaviour="absent")
    assert verdict.label == "undecided" and verdict.total_effect is not None and math.isnan(verdict.total_effect.value)
    told = sentence(verdict, judgement_of(verdict, behaviour="absent"))
    assert told.endswith("the behaviour is absent, so there is nothing to take away.")


def test_a_direct_effect_that_is_withheld_takes_the_route_and_nothing_else() -> None:
    effects = made_effects(np.random.default_rng(1), [0.2], [np.nan])
    [verdict] = judge_heads(evidence_of(TRUE_HEAD), effects, "present", 0.2)
    assert verdict.label == "induction" and verdict.role_route is None and math.isnan(verdict.direct_effect.value)
    told = sentence(verdict, judgement_of(verdict, withheld="Its parts do not add up to the logit."))
    assert "by which route is not said (Its parts do not add up to the logit)" in told


def test_heads_that_do_not_exist_are_nobodys() -> None:
    evidence = evidence_of(TRUE_HEAD, {}, TRUE_HEAD)
    gone = replace(
        evidence,
        **{name: np.where(np.arange(3)[:, None] == 1, np.nan, getattr(evidence, name)) for name in (
            "induction", "contrast", "rotation_contrast", "specificity_by_offset", "previous_token", "duplicate_token", "sink"
        )},
    )  # fmt: skip
    effects = made_effects(np.random.default_rng(1), [0.2, np.nan, 0.2], [0.1, np.nan, 0.1])
    verdicts = judge_heads(gone, effects, "present", 0.2)
    assert [(verdict.name, verdict.label) for verdict in verdicts] == [("L0H0", "induction"), ("L0H2", "induction")]
    with_them = stability(gone, contrast_q_values(gone.contrast), 0.2, resamples=5)
    assert with_them.resampled.value == 1


def test_heads_that_matter_without_a_label_are_nominated() -> None:
    evidence = evidence_of(TRUE_HEAD, {}, {}, {}, {"previous_token": 0.9})
    effects = made_effects(np.random.default_rng(1), [0.2, 0.1, 0.005, -0.05, 0.3], [0.0] * 5)
    verdicts = judge_heads(evidence, effects, "present", 0.2)
    assert unexplained(verdicts) == (Head(0, 1), Head(0, 2), Head(0, 3))
    found = nominated(shares_of_gain(effects, "present"), unexplained(verdicts))
    assert [nominee.name for nominee in found] == ["L0H1", "L0H3"]
    assert all(nominee.p < 0.05 and abs(nominee.total_effect.value) > DELTA for nominee in found)
    assert "L0H1: matters, does not match. Without it the right token loses 0.100 (" in nominee_sentence(found[0])
    assert "Without it the right token gains 0.050 (" in nominee_sentence(found[1])
    assert nominated(shares_of_gain(effects, "absent"), unexplained(verdicts)) == ()


def test_intervals_stay_where_shares_of_attention_can_lie() -> None:
    evidence = evidence_of(TRUE_HEAD, n=8)
    rare = np.where(np.arange(8) < 1, 0.2, 0.0)[None, None]
    evidence = replace(evidence, contrast=1 - rare, sink=rare, induction=1 - rare)
    [verdict] = judge_heads(evidence, made_effects(np.random.default_rng(1), [0.2], [0.1]), "present", 0.2)
    assert estimate(rare[0, 0]).low < 0 and estimate(1 - rare[0, 0]).high > 1
    assert verdict.contrast.high == verdict.induction.high == 1 and verdict.sink.low == 0


def test_as_many_digits_as_the_claim_needs() -> None:
    """`surely above 0` beside an end of 0.000, or `beyond ±0.01` beside one of 0.010, would read as a contradiction."""
    verdict = replace(verdict_of(TRUE_HEAD), total_effect=Number(0.011, 0.01002, 0.012), role_route="direct")
    verdict = replace(verdict, direct_effect=Number(0.0004, 0.0003, 0.0005), contrast=Number(0.23, 0.2004, 0.26))
    told = sentence(verdict, judgement_of(verdict))
    assert "loses 0.01100 (0.01002 to 0.01200)" in told and "contrast 0.230 (0.200 to 0.260)" not in told
    assert "contrast 0.2300 (0.2004 to 0.2600)" in told and "worth 0.0004 (0.0003 to 0.0005)" in told


# Stability.


def test_stability_says_what_hangs_on_the_sequences() -> None:
    """One head is sure everywhere; another only at the longer length, so half of the sequences do not have it."""
    evidence = evidence_of(TRUE_HEAD, TRUE_HEAD)
    weak = evidence.contrast.copy()
    weak[0, 1, evidence.lengths == 8] -= 0.85
    mixed = replace(evidence, contrast=weak)
    found = stability(mixed, contrast_q_values(mixed.contrast), 0.2)
    assert matching(mixed).above(0.2).all()
    assert found.lengths == {8: 0.5, 16: 1.0} and found.token_ranges == {}
    sure = stability(evidence, contrast_q_values(evidence.contrast), 0.2)
    assert sure.resampled == (1.0, 1.0, 1.0) and set(sure.lengths.values()) == {1.0}


def test_stability_over_resamples_is_that_of_a_head_at_the_edge() -> None:
    """A head whose interval just clears the floor loses it in about half of all resamples."""
    evidence = evidence_of(TRUE_HEAD, TRUE_HEAD)
    random = np.random.default_rng(5)
    noise = random.normal(size=64)
    noise = (noise - noise.mean()) / noise.std(ddof=1)
    edge = evidence.contrast.copy()
    edge[0, 1] = 0.2 + 0.1 * noise + 0.1 * 2.0 / 8
    mixed = replace(evidence, contrast=edge)
    found = stability(mixed, contrast_q_values(mixed.contrast), 0.2).resampled
    assert matching(mixed).above(0.2).all() and 0.6 < found.value < 0.9 and (found.low, found.high) == (0.5, 1.0)


def test_halves_of_the_ids_are_compared_where_sequences_are_from_them() -> None:
    evidence = evidence_of(TRUE_HEAD, TRUE_HEAD)
    parts = np.tile([0, 1], 32)
    weak = evidence.contrast.copy()
    weak[0, 1, parts == 1] -= 0.85
    mixed = replace(evidence, contrast=weak, ranges=parts)
    assert stability(mixed, contrast_q_values(mixed.contrast), 0.2).token_ranges == {"lower": 1.0, "upper": 0.5}


def test_jaccard() -> None:
    a, b = np.array([[True, True, False]]), np.array([[True, False, False]])
    assert jaccard(a, b) == 0.5 and jaccard(a, a) == 1 and jaccard(a & ~a, b & ~b) == 1 and jaccard(a, b & ~b) == 0


def test_parts_of_evidence_are_joined_and_taken_apart() -> None:
    one, other = evidence_of(TRUE_HEAD, n=8), evidence_of({}, n=4)
    both = joined([one, other])
    assert both.n_sequences == 12 and both.specificity_by_offset.shape == (6, 1, 1, 12)
    np.testing.assert_array_equal(both.of(np.arange(8, 12)).contrast, other.contrast)


# Sentences.


def _numbers(text: str) -> list[float]:
    return [float(number.replace("−", "-")) for number in re.findall(r"[−-]?\d+\.\d+", text)]


@pytest.mark.parametrize(
    "head,total,direct,says",
    [
        (TRUE_HEAD, 0.2, 0.11, ["loses 0.200 (0.200 to 0.200)", ", directly: what it writes itself is worth 0.110"]),
        (
            TRUE_HEAD,
            0.2,
            0.02,
            [", in part directly: what it writes itself is worth 0.020", "the rest goes through what follows it"],
        ),
        (
            TRUE_HEAD,
            0.1,
            0.3,
            [", directly: what it writes itself is worth 0.300", "more than is lost: what follows it makes"],
        ),
        (TRUE_HEAD, -0.2, -0.02, ["gains 0.200", ", in part directly: what it writes itself is worth −0.020"]),
        (TRUE_HEAD, 0.2, 0.0, ["through what follows it: what it writes itself is worth", "not surely above 0"]),
        (TRUE_HEAD, -0.2, 0.1, ["gains 0.200 (0.200 to 0.200)", "through what follows it", "not surely below 0"]),
        (TRUE_HEAD, 0.0, 0.1, ["within ±0.01: no effect"]),
        (TRUE_HEAD, 0.01, 0.1, ["neither surely beyond ±0.01 nor surely within: undecided"]),
        (TRUE_HEAD | {"rotation_contrast": 0.0}, 0, 0, ["Does not match", "so it looks a fixed distance back, not at a copy"]),
        (TRUE_HEAD | {"specificity": -0.1}, 0, 0, ["Does not match", "does not lie wholly above 0"]),
        (
            TRUE_HEAD | {"contrast": 0.0, "rotation_contrast": 0.0},
            0,
            0,
            ["Scores 0.95", "(chance 0.02), but 0.95 on fresh tokens too: it looks at a position, not at a copy"],
        ),
        ({"previous_token": 0.98}, 0, 0, ["Looks at the token just before: 0.98 (0.98 to 0.98), chance 0.02"]),
        ({}, 0, 0, ["None of the other labels holds: contrast"]),
    ],
)
def test_every_clause_has_its_number_and_agrees_with_it(
    head: dict[str, float], total: float, direct: float, says: list[str]
) -> None:
    verdict = verdict_of(head, total, direct)
    told = sentence(verdict, judgement_of(verdict))
    assert told.startswith(f"L0H0: {verdict.label}. ")
    for text in says:
        assert text in told, told
    known = [
        round(value, digits)
        for digits in (2, 3, 4, 5, 6)
        for found in vars(verdict).values()
        if isinstance(found, Number)
        for value in (*found, *(-number for number in found))
        if not math.isnan(value)
    ]
    # Nothing is said that no number of the verdict says: its numbers, the floors and what is left on fresh tokens.
    fresh = round(verdict.induction.value - verdict.contrast.value, 2)
    for number in _numbers(told):
        assert any(abs(number - other) < 1e-9 for other in (*known, 0.2, DELTA, 0.02, fresh)), (number, told)


def test_a_head_of_which_little_is_on_fresh_tokens_is_no_impostor_and_is_told_why_it_is_not_called() -> None:
    verdict = verdict_of(TRUE_HEAD | {"induction": 0.3, "contrast": 0.19})
    told = sentence(verdict, judgement_of(verdict))
    assert verdict.label == "none" and "looks at a position" not in told
    assert "Does not match: its contrast 0.19 (" in told and "does not lie wholly above the floor 0.20" in told


def test_stability_in_words() -> None:
    verdict = verdict_of(TRUE_HEAD)
    told = stability_words(judgement_of(verdict))
    assert "0.90 (0.80 to 1.00) over resampled sequences" in told and "1.00 at 25, 0.80 at 50" in told
    assert "0.75 on the lower half, 1.00 on the upper half" in told
    assert stability_words(judgement_of(verdict_of({}))) == ""


def test_nothing_has_no_estimate() -> None:
    assert all(map(math.isnan, estimate(np.empty(0)))) and all(map(math.isnan, UNKNOWN))
