"""Two quantities beside each other: known answers, brute force, and nothing concluded where nothing can be."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import spearmanr

from core.figures.quantities import marks_sentence
from core.heads import Head
from core.quantities.comparison import TOP, Axis, compare, ranks, top_overlap
from core.quantities.table import QUANTITIES
from core.quantities.tables import comparison_facts, comparison_rows
from core.quantities.words import comparison_sentence, import_sentence, outliers_sentence, overlap_sentence, sentences

SHAPE = (6, 10)


def axis(name: str, values: np.ndarray, **more: str) -> Axis:
    nothing = np.full(values.shape, np.nan)
    return Axis(QUANTITIES[name], values.astype(float), nothing, nothing, np.full(len(values), np.nan), **more)


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SHAPE)


def test_correlation_overlap_and_outliers_are_what_a_reader_would_count() -> None:
    a = drawn(0)
    b = a + drawn(1)
    a[2, 3] = np.nan
    found = compare(axis("induction", a), axis("effect", b))
    known = ~np.isnan(a)
    assert found.agreement.rho == pytest.approx(spearmanr(a[known], b[known]).statistic) and found.agreement.n_heads == 59
    order = [sorted(np.argwhere(known).tolist(), key=lambda head: -values[tuple(head)]) for values in (a, b)]
    highest = [{tuple(head) for head in ordered[:TOP]} for ordered in order]
    lower = [{tuple(head) for head in ordered[-29:]} for ordered in order]
    assert found.overlap is not None and found.overlap.k == TOP
    assert {tuple(head) for head in found.overlap.shared} == highest[0] & highest[1]
    assert {tuple(head) for head in found.x_only} == highest[0] & lower[1]
    assert {tuple(head) for head in found.y_only} == highest[1] & lower[0]
    assert found.overlap.expected == pytest.approx(100 / 59)


def test_the_same_order_shares_everything_and_the_opposite_nothing() -> None:
    a = np.arange(60.0).reshape(SHAPE)
    same, opposite = compare(axis("induction", a), axis("effect", a**3)), compare(axis("induction", a), axis("effect", -a))
    assert same.agreement.rho == pytest.approx(1) and same.overlap is not None and len(same.overlap.shared) == TOP
    assert same.x_only == same.y_only == () and "No head is among the highest" in outliers_sentence(same)
    assert "highest heads of each, none are the same; chance" in overlap_sentence(opposite)
    assert opposite.agreement.rho == pytest.approx(-1) and opposite.overlap is not None and opposite.overlap.shared == ()
    assert len(opposite.x_only) == len(opposite.y_only) == TOP and opposite.overlap.p == 1


def test_p_of_an_overlap_is_counted_over_all_sets() -> None:
    heads = [Head(0, place) for place in range(9)]
    first = tuple(heads[:4])
    all_sets = list(combinations(heads, 4))
    for second in (tuple(heads[1:5]), tuple(heads[2:6]), tuple(heads[4:8])):
        found = top_overlap(first, second, 9)
        at_least = sum(len(set(first) & set(other)) >= len(found.shared) for other in all_sets)
        assert found.p == pytest.approx(at_least / len(all_sets))
        assert found.expected == pytest.approx(np.mean([len(set(first) & set(other)) for other in all_sets]))


def test_the_top_of_a_small_model_is_half_of_it() -> None:
    a = np.arange(8.0).reshape(2, 4)
    found = compare(axis("induction", a), axis("effect", a))
    assert found.overlap is not None and found.overlap.k == 4


def test_what_is_said_of_the_highest_does_not_rest_on_how_heads_are_numbered() -> None:
    """Three ones and zeros, steps, and a number whose lower half is of one height: moved about, the same heads are told."""
    random = np.random.default_rng(2)
    ones = np.zeros(60)
    ones[[7, 19, 44]] = 1
    steps, floor = np.arange(60) // 7, np.maximum(random.normal(size=60), 0.1)
    for values in (ones, steps, floor):
        first = compare(axis("induction", drawn(0)), axis("imported", values.reshape(SHAPE)))
        assert first.overlap is not None
        for _ in range(5):
            order = random.permutation(60)
            moved = compare(
                axis("induction", drawn(0).ravel()[order].reshape(SHAPE)), axis("imported", values[order].reshape(SHAPE))
            )
            assert moved.overlap is not None and (moved.overlap.k, moved.overlap.p) == (first.overlap.k, first.overlap.p)
            where = {Head(*divmod(int(old), 10)): Head(*divmod(new, 10)) for new, old in enumerate(order)}
            for told, again in (
                (first.overlap.shared, moved.overlap.shared),
                (first.x_only, moved.x_only),
                (first.y_only, moved.y_only),
            ):
                assert {where[head] for head in told} == set(again)
    assert compare(axis("induction", drawn(0)), axis("imported", ones.reshape(SHAPE))).overlap.k == 3  # type: ignore[union-attr]


def test_where_equal_heads_leave_the_highest_open_nothing_is_said_of_them() -> None:
    one = np.zeros(60)
    one[5] = 1
    found = compare(axis("induction", drawn(0)), axis("effect", one.reshape(SHAPE)))
    assert found.agreement.known and found.overlap is None and found.x_only == found.y_only == ()
    said = "Which heads are the highest of each is not said: too many are equal in Effect of removal."
    assert overlap_sentence(found) == said and outliers_sentence(found) == ""
    assert {row["among"] for row in comparison_rows(found)} == {""}
    apart = [np.repeat(values, 10).reshape(SHAPE) + 0.0 for values in ([5, 4, 3, 2, 1, 0], [0, 1, 2, 3, 4, 5])]
    assert compare(axis("induction", apart[0]), axis("effect", apart[1])).overlap is not None, "cut at ten by both"


def test_one_shared_head_is_one() -> None:
    a, b = np.arange(8.0), np.array([6, 0, 1, 2, 3, 4, 5, 7.0])
    found = compare(axis("induction", a.reshape(2, 4)), axis("effect", b.reshape(2, 4)))
    assert found.overlap is not None and len(found.overlap.shared) == 3
    b[4:7] = 0.1, 0.2, 0.3
    found = compare(axis("induction", a.reshape(2, 4)), axis("effect", b.reshape(2, 4)))
    assert "Of the 4 highest heads of each, 1 is the same (L1H3);" in overlap_sentence(found)


def test_intervals_are_over_what_was_drawn() -> None:
    def ranged(name: str) -> Axis:
        return replace(axis(name, drawn(0)), low=drawn(0) - 1, high=drawn(0) + 1)

    for x, y, said in (
        ("lift", "natural_induction", "Thin lines: 95 % intervals over windows of text."),
        ("induction", "contrast", "Thin lines: 95 % intervals over sequences."),
        ("induction", "lift", "Thin lines: 95 % intervals, across over sequences and upward over windows of text."),
        ("token_copying", "concept_copying", "Thin lines: 95 % intervals over prompts."),
    ):
        assert said in marks_sentence(compare(ranged(x), ranged(y)))
    assert "over windows of text." in marks_sentence(compare(axis("induction", drawn(1)), ranged("lift")))


def test_nothing_is_concluded_from_heads_that_another_number_picked() -> None:
    a, b = drawn(0), drawn(1)
    found = compare(axis("induction", a), axis("total_effect", b, picked="Only heads that match are measured."))
    assert not found.agreement.known and found.overlap is None and found.x_only == found.y_only == ()
    assert "Only heads that match" in comparison_sentence(found) and overlap_sentence(found) == outliers_sentence(found) == ""
    assert comparison_facts(found)["withheld"] and len(comparison_rows(found)) == 60


@pytest.mark.parametrize(("other", "said"), [("effect", "Only 2 heads have both"), ("induction", "the same quantity")])
def test_too_few_heads_and_the_same_quantity_twice_are_no_comparison(other: str, said: str) -> None:
    a = np.full(SHAPE, np.nan)
    a[0, :2] = 1, 2
    found = compare(axis("induction", a if other == "effect" else drawn(0)), axis(other, drawn(1)))
    assert said in found.withheld and sentences(found) == [comparison_sentence(found)]


def test_a_side_that_is_the_same_for_all_heads_has_no_highest(recwarn: pytest.WarningsRecorder) -> None:
    found = compare(axis("induction", drawn(0)), axis("chance", np.full(SHAPE, 0.02)))
    assert found.overlap is None and found.x_only == () and "no rank correlation" in comparison_sentence(found)
    assert not recwarn.list


def test_sentences_agree_with_the_numbers() -> None:
    found = compare(axis("induction", drawn(0)), axis("effect", drawn(0) + drawn(1)), axis("layer", drawn(2)))
    facts = comparison_facts(found)
    answer, overlap, *_ = sentences(found)
    assert f"{facts['rank_correlation']['value']:+.2f}" in answer and "over 60 heads" in answer
    assert f"Of the 10 highest heads of each, {len(facts['top']['shared'])} are the same" in overlap
    assert facts["colour"]["name"] == "layer"


def test_a_choice_of_heads_is_said() -> None:
    part = np.where(drawn(0) > 0, drawn(0), np.nan)
    mine = axis("imported", part, title="paper")
    assert f"{int((~np.isnan(part)).sum())} of 60 heads" in import_sentence([axis("effect", drawn(1)), mine])
    assert import_sentence([axis("imported", drawn(0)), axis("effect", part)]) == ""


def test_rows_have_both_ranks_and_leave_out_who_has_only_one_number() -> None:
    a, b = drawn(0), drawn(1)
    a[0, 0] = b[5, 9] = np.nan
    rows = comparison_rows(compare(axis("induction", a), axis("effect", b)))
    assert len(rows) == 58 and [row["x_rank"] for row in rows] == list(range(1, 59))
    assert not {"L0H0", "L5H9"} & {row["name"] for row in rows}
    best = max(rows, key=lambda row: row["effect"])
    assert best["y_rank"] == 1
    assert {row["among"] for row in rows} <= {"", "x only", "y only", "highest of both"}


def test_equal_values_share_their_place() -> None:
    assert ranks(np.array([[3.0, 1.0, 3.0, np.nan]])).tolist()[0][:3] == [1.5, 3.0, 1.5]
