"""The tests and the correction: against scipy's own, and at their stated level."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import false_discovery_control, permutation_test, ttest_1samp

from core.stats import student_intervals
from core.verdicts import significance
from core.verdicts.significance import SIGNIFICANCE, benjamini_hochberg, sign_flip_p, student_p_above

DRAWS = 10_000
# A test of its stated level stays within these in all but a millionth of such simulations.
LEVEL_BOUNDS = (0.04, 0.06)


def test_few_sequences_are_tested_by_every_pattern_of_signs() -> None:
    values = np.random.default_rng(0).normal(0.4, 1, size=(5, 7))
    for row, p in zip(values, sign_flip_p(values), strict=True):
        sums = [np.dot(signs, row) for signs in itertools.product((-1, 1), repeat=7)]
        assert p == pytest.approx(np.mean([total >= row.sum() - 1e-9 for total in sums]))


def test_many_sequences_agree_with_scipys_permutation_test() -> None:
    values = np.random.default_rng(1).normal(0.15, 1, size=(4, 64))
    for row, p in zip(values, sign_flip_p(values), strict=True):
        expected = permutation_test(
            (row,), np.mean, permutation_type="samples", n_resamples=20_000, alternative="greater", rng=np.random.default_rng(2)
        ).pvalue
        assert p == pytest.approx(expected, abs=4 * np.sqrt(expected / 9_999) + 1e-4)


def test_pieces_of_the_product_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = np.random.default_rng(3).normal(0.2, 1, size=(3, 12)), np.random.default_rng(3).normal(0.2, 1, size=(3, 20))
    exact, random = sign_flip_p(few), sign_flip_p(many)
    monkeypatch.setattr(significance, "SUMS_AT_ONCE", 3_000)
    np.testing.assert_allclose(sign_flip_p(few), exact)
    np.testing.assert_allclose(sign_flip_p(many), random, atol=0.02)


def test_ties_and_zeros_are_not_significant() -> None:
    p = sign_flip_p(np.array([[0.0] * 12, [0.1] * 12, [0.1] * 6 + [-0.1] * 6]))
    assert p[0] == 1 and p[1] == pytest.approx(2.0**-12) and p[2] > 0.5


def test_a_head_that_does_not_exist_has_no_p_and_counts_for_nothing() -> None:
    values = np.random.default_rng(4).normal(0.5, 1, size=(6, 20))
    missing = np.vstack([values, np.full((50, 20), np.nan)])
    p = sign_flip_p(missing)
    assert np.isnan(p[6:]).all()
    np.testing.assert_allclose(benjamini_hochberg(p)[:6], false_discovery_control(p[:6]))
    assert np.isnan(benjamini_hochberg(p)[6:]).all()


def test_the_correction_is_scipys() -> None:
    p = np.random.default_rng(5).uniform(size=(7, 9)) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p).ravel(), false_discovery_control(p.ravel()))
    assert benjamini_hochberg(np.empty(0)).shape == (0,)


def test_students_p_is_scipys_and_agrees_with_the_interval() -> None:
    values = np.random.default_rng(6).normal(0.3, 1, size=(40, 9))
    p, (low, high) = student_p_above(values, 0.1), student_intervals(values)
    np.testing.assert_allclose(p, ttest_1samp(values, 0.1, axis=1, alternative="greater").pvalue)
    np.testing.assert_array_equal(p < 0.025, low > 0.1)
    np.testing.assert_array_equal(1 - p < 0.025, high < 0.1)


def test_values_that_do_not_vary_are_certain_and_one_value_is_not() -> None:
    assert student_p_above(np.array([[0.5, 0.5], [0.0, 0.0]]), 0.1).tolist() == [0.0, 1.0]
    assert (
        np.isnan(student_p_above(np.array([[0.5]]), 0.1)).all() and np.isnan(student_p_above(np.full((1, 3), np.nan), 0)).all()
    )


@pytest.mark.parametrize("count", [8, 30])
def test_the_sign_flip_test_keeps_its_level(count: int) -> None:
    """Under a symmetric null with heavy tails: the share of draws with p below .05 is five in a hundred, not more, not less."""
    drawn = np.random.default_rng(7).standard_t(4, size=(DRAWS, count))
    level = float((np.concatenate([sign_flip_p(part) for part in np.split(drawn, 20)]) < SIGNIFICANCE).mean())
    print(f"sign-flip test, {count} sequences: {level:.3f} of {DRAWS} null draws below {SIGNIFICANCE}")
    assert LEVEL_BOUNDS[0] <= level <= LEVEL_BOUNDS[1]


@pytest.mark.parametrize("count", [8, 24])
def test_students_test_and_interval_keep_their_level(count: int) -> None:
    drawn = np.random.default_rng(8).normal(0.01, 0.02, size=(DRAWS, count))
    p, (low, high) = student_p_above(drawn, 0.01), student_intervals(drawn)
    level, covered = float((2 * np.minimum(p, 1 - p) < SIGNIFICANCE).mean()), float(((low < 0.01) & (high > 0.01)).mean())
    print(
        f"Student's t, {count} sequences: {level:.3f} of {DRAWS} draws beyond a level they have; interval covers {covered:.3f}"
    )
    assert LEVEL_BOUNDS[0] <= level <= LEVEL_BOUNDS[1] and level == pytest.approx(1 - covered)
