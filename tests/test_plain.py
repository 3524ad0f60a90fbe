"""Numbers that a person gives: those of every library are read, and nothing else passes for one."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from core.plain import finite, shown, whole


@pytest.mark.parametrize("given", [3, np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_whole_numbers_of_every_library(given: Any) -> None:
    assert whole(given) == 3 and type(whole(given)) is int
    assert finite(given) == 3.0 and type(finite(given)) is float


@pytest.mark.parametrize("given", [0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), Fraction(1, 2)])
def test_other_numbers_are_finite_and_not_whole(given: Any) -> None:
    assert finite(given) == 0.5 and type(finite(given)) is float
    assert whole(given) is None


@pytest.mark.parametrize(
    "given",
    [
        *(None, True, np.True_, torch.tensor(True), "3", b"3", np.str_("3"), 3j, [3], (3,), {3}),
        *(np.array([3, 4]), np.array([0.5, 0.5]), torch.tensor([3, 4]), float),
    ],
    ids=repr,
)
def test_what_is_no_number(given: Any) -> None:
    assert whole(given) is None and finite(given) is None


@pytest.mark.parametrize(
    "given", [float("nan"), float("inf"), -np.float64("inf"), 10**400, torch.tensor(float("nan"))], ids=repr
)
def test_what_is_not_finite(given: Any) -> None:
    assert finite(given) is None


def test_a_whole_number_is_not_only_what_looks_like_one() -> None:
    assert whole(2.0) is None and whole(np.float64(2)) is None
    assert whole(10**400) == 10**400


def test_what_is_refused_is_shown_in_one_short_line() -> None:
    assert shown("L5H7") == "'L5H7'" and shown(None) == "None"
    for long in (np.zeros((9, 9)), "x" * 1000, list(range(1000))):
        assert len(shown(long)) < 80 and "\n" not in shown(long)
