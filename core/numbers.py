"""Numbers as people read them."""

from __future__ import annotations


def signed(value: float, digits: int = 2) -> str:
    """`+1.25`, `−0.30`, and `0.00` without a sign for what rounds to nothing."""
    rounded = round(float(value), digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0.0:.{digits}f}"


def short_count(count: int) -> str:
    """`135M` for 134,515,008."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)


def unsigned(value: float, digits: int = 2) -> str:
    """`1.25`, `−0.30`, and `0.00` for what rounds to nothing."""
    return f"{round(float(value), digits) + 0.0:.{digits}f}".replace("-", "−")


def interval(low: float, high: float) -> str:
    """`0.84 to 0.85`."""
    return f"{unsigned(low)} to {unsigned(high)}"
