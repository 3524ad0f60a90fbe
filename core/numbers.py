"""Numbers as people read them."""

from __future__ import annotations

import math

# What stands for a number that there is not.
NOTHING = "–"


def signed(value: float, digits: int = 2) -> str:
    """`+1.25`, `−0.30`, `0.00` without a sign for what rounds to nothing, and a dash for no number."""
    if math.isnan(value):
        return NOTHING
    rounded = round(float(value), digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0.0:.{digits}f}"


def short_count(count: int) -> str:
    """`135M` for 134,515,008."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def unsigned(value: float, digits: int = 2) -> str:
    """`1.25`, `−0.30`, `0.00` for what rounds to nothing, and a dash for no number."""
    if math.isnan(value):
        return NOTHING
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """`0.84 to 0.85`; a dash for no numbers."""
    if math.isnan(low) or math.isnan(high):
        return NOTHING
    return f"{unsigned(low)} to {unsigned(high)}"


def signed_interval(low: float, high: float, digits: int = 2) -> str:
    """`−0.10 to +0.25`; a dash for no numbers."""
    if math.isnan(low) or math.isnan(high):
        return NOTHING
    return f"{signed(low, digits)} to {signed(high, digits)}"


def share(value: float) -> str:
    """`69 %`, `−9 %`, `0 %` for what rounds to nothing, and a dash for no number."""
    return NOTHING if math.isnan(value) else f"{round(100 * float(value)) + 0} %".replace("-", "−")
