"""Numbers as people read them."""

from __future__ import annotations


def signed(value: float, digits: int = 2) -> str:
    """`+1.25`, `−0.30`, and `0.00` without a sign for what rounds to nothing."""
    rounded = round(float(value), digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0.0:.{digits}f}"


def unsigned(value: float, digits: int = 2) -> str:
    """`1.25`, `−0.30`, and `0.00` for what rounds to nothing."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """`0.84 to 0.85`."""
    return f"{unsigned(low)} to {unsigned(high)}"
