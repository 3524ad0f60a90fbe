"""Rank agreement against scipy and known answers; quadrants partition the heads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from scipy.stats import sem, spearmanr, t

from core.ablation.quadrants import QUADRANTS, quadrants
from core.heads import Head
from core.stats import SHARE, Number, estimate, rank_agreement, student_intervals, student_quantile


def test_it_is_spearman_with_an_interval_around_it():
    random = np.random.default_rng(0)
    a = random.normal(size=(6, 10))
    b = a + random.normal(size=(6, 10))
    found = rank_agreement(a, b)
    assert found.rho == pytest.approx(spearmanr(a.ravel(), b.ravel()).statistic)
    assert found.low < found.rho < found.high and found.n_heads == 60 and found.known
    # Fisher's approximation of the interval, which a bootstrap of 60 points should be near.
    error = 1.06 / np.sqrt(60 - 3)
    fisher = np.tanh(np.arctanh(found.rho) + 1.96 * error * np.array([-1, 1]))
    assert (found.low, found.high) == pytest.approx(tuple(fisher), abs=0.1)
    assert rank_agreement(a, b) == found, "the same numbers give the same interval"


def test_only_the_order_matters():
    values = np.arange(12.0).reshape(3, 4)
    up, down = rank_agreement(values, np.exp(values)), rank_agreement(values, -values)
    assert (up.rho, down.rho) == pytest.approx((1, -1))
    # However they are drawn the order is the same: four heads would have it by chance one time in twelve, and no width.
    assert np.isnan([up.low, up.high, down.low, down.high]).all()
    other = values.copy()
    other[0, :2] = other[0, 1::-1]
    nearly = rank_agreement(values, other)
    assert nearly.low < nearly.rho < 1 and nearly.low < nearly.high


def test_heads_that_are_not_measured_are_left_out():
    a, b = np.arange(9.0).reshape(3, 3), np.arange(9.0).reshape(3, 3)
    b[0] = np.nan
    assert rank_agreement(a, b).n_heads == 6


@pytest.mark.parametrize("a", [np.zeros((1, 2)), np.zeros((2, 2)), np.full((2, 2), np.nan)])
def test_no_correlation_is_no_number_and_no_warning(a, recwarn):
    found = rank_agreement(a, np.arange(float(a.size)).reshape(a.shape))
    assert not found.known and np.isnan(found.low)
    assert not recwarn.list


@pytest.mark.usefixtures("unchecked_shapes")
def test_other_heads_are_an_error():
    with pytest.raises(ValueError, match="same heads"):
        rank_agreement(np.zeros((2, 2)), np.zeros((2, 3)))


numbers = some.lists(some.floats(-1, 1) | some.just(float("nan")), min_size=6, max_size=6)


@given(some.lists(some.floats(0, 1), min_size=6, max_size=6), numbers, some.floats(0, 1), some.floats(0, 1))
def test_quadrants_hold_every_measured_head_once(scores, effects, threshold, floor):
    values, effect = np.reshape(scores, (2, 3)), np.reshape(effects, (2, 3))
    found = quadrants(values, effect, threshold, floor)
    assert set(found) == set(QUADRANTS)
    places = [tuple(place) for heads in found.values() for place in heads]
    assert sorted(places) == sorted(map(tuple, np.argwhere(~np.isnan(effect))))
    for head in found["both"]:
        assert values[head] > threshold and abs(effect[head]) > floor


def test_a_head_whose_removal_helps_matters_too():
    found = quadrants(np.array([[0.9, 0.1]]), np.array([[-0.5, -0.05]]), 0.5, 0.1)
    assert found["both"] == (Head(0, 0),) and found["neither"] == (Head(0, 1),)
    assert found["looks"] == found["matters"] == ()


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 23, 63, 1023])
def test_students_quantile_is_scipys(freedom):
    for level in (0.75, 0.975, 0.995):
        assert student_quantile(freedom, level) == pytest.approx(t.ppf(level, freedom), rel=1e-10)


def test_the_student_interval_is_scipys_and_covers_nineteen_in_twenty():
    values = np.random.default_rng(0).normal(3.0, 2.0, (2_000, 5))
    low, high = student_intervals(values)
    wanted = t.interval(0.95, 4, values.mean(-1), sem(values, axis=-1))
    np.testing.assert_allclose([low, high], wanted)
    # Three standard errors of a share of 2,000 beside 95 %.
    assert abs(np.mean((low < 3.0) & (high > 3.0)) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 2_000)


def test_what_lies_outside_the_possible_is_cut_off_and_covers_as_often():
    values = np.random.default_rng(0).beta(8, 1, (2_000, 5))
    low, high = student_intervals(values)
    least, most = student_intervals(values, SHARE)
    assert high.max() > 1 == most.max() and np.array_equal(least, np.maximum(low, 0))
    true = 8 / 9
    np.testing.assert_array_equal((least <= true) & (true <= most), (low <= true) & (true <= high))
    # A mean that rounding put outside stays in its interval.
    found = estimate(np.full(4, 1 + 1e-7), SHARE)
    assert found.low <= found.value <= found.high


def test_one_value_has_no_student_interval():
    low, high = student_intervals(np.ones((2, 1)))
    assert np.isnan(low).all() and np.isnan(high).all()


def test_a_number_turned_round_has_its_ends_turned_round_too() -> None:
    turned = Number(-0.2, -0.5, -0.1).turned
    assert turned == (0.2, 0.1, 0.5) and turned.turned == (-0.2, -0.5, -0.1)
