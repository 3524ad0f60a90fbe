"""Numbers as people read them: enough digits to show what is claimed of them."""

from __future__ import annotations

import math

import pytest

from core.numbers import at_most, share, with_interval


@pytest.mark.parametrize(
    "number,levels,written",
    [
        ((0.03, 0.012, 0.0493), (), "0.03 (0.01 to 0.05)"),
        ((0.03, 0.012, 0.0493), (0.05,), "0.030 (0.012 to 0.049)"),
        ((0.04, 0.031, 0.0514), (0.05,), "0.040 (0.031 to 0.051)"),
        ((0.04, 0.031, 0.05), (0.05,), "0.04 (0.03 to 0.05)"),
        ((0.91, 0.9, 0.92), (0.2,), "0.91 (0.90 to 0.92)"),
        # Nothing but rounding lies between this end and the level.
        ((0.01, 1e-9, 0.02), (0.0,), "0.01 (0.00 to 0.02)"),
        ((0.5, math.nan, math.nan), (0.5,), "0.50 (–)"),
    ],
)
def test_an_end_is_written_on_its_side_of_a_level(
    number: tuple[float, float, float], levels: tuple[float, ...], written: str
) -> None:
    assert with_interval(*number, *levels) == written


def test_a_share_is_written_on_its_side_of_a_level() -> None:
    assert (share(0.253), share(0.253, 0.25), share(0.2496, 0.25), share(0.25, 0.25)) == ("25 %", "25.3 %", "24.96 %", "25 %")


def test_what_is_no_more_than_a_number_is_not_more() -> None:
    assert (at_most(0.0206), at_most(0.02), at_most(0.1 + 0.2), at_most(0.0)) == ("0.03", "0.02", "0.30", "0.00")
