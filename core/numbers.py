"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

# What stands for a number that there is not.
NOTHING = "–"
_MOST_DIGITS = 5


def signed(value: float, digits: int = 2) -> str:
    """`+1.25`, `−0.30`, `0.00` without a sign for what rounds to nothing, and a dash for no number."""
    if math.isnan(value):
        return NOTHING
    rounded = round(float(value), digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0.0:.{digits}f}"


def counted(count: int, what: str) -> str:
    """`1 head`, `5 heads`: how many there are of what."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def is_or_are(count: int) -> str:
    """What `counted` is followed by: `1 head is`, `5 heads are`."""
    return "is" if count == 1 else "are"


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


def interval(low: float, high: float, digits: int = 2) -> str:
    """`0.84 to 0.85`; a dash for no numbers."""
    if math.isnan(low) or math.isnan(high):
        return NOTHING
    return f"{unsigned(low, digits)} to {unsigned(high, digits)}"


def with_interval(value: float, low: float, high: float, *levels: float, digits: int = 2) -> str:
    """`0.91 (0.90 to 0.92)`, with as many digits as show on which side of each of `levels` an end lies.

    Without an interval the number alone.
    """
    digits = digits_beside((low, high), levels, digits)
    return unsigned(value, digits) + ("" if math.isnan(low) else f" ({interval(low, high, digits)})")


def digits_beside(ends: Iterable[float], levels: Sequence[float], digits: int = 2) -> int:
    """The fewest digits, `digits` at least, with which no end is written as a level that it is not.

    An end that `_MOST_DIGITS` do not tell from a level is that level but for rounding: then as many as usual.
    """
    apart = [(end, level) for end in ends for level in levels if end != level and not math.isnan(end)]
    enough = (more for more in range(digits, _MOST_DIGITS + 1) if all(round(a, more) != round(b, more) for a, b in apart))
    return next(enough, digits)


def beside(value: float, *levels: float, digits: int = 2) -> str:
    """`0.499` beside the level 0.50, which `0.50` would seem to have reached; a dash for no number."""
    return unsigned(value, digits_beside((value,), levels, digits))


def digits_that_add_up(first: float, change: float, last: float, digits: int = 2) -> int:
    """The fewest digits, `digits` at least, with which `first` and `change` make `last` as they are written, too.

    Where `_MOST_DIGITS` do not make them, as many as usual.
    """
    enough = (
        more
        for more in range(digits, _MOST_DIGITS + 1)
        if round(round(first, more) + round(change, more), more) == round(last, more)
    )
    return next(enough, digits)


def signed_interval(low: float, high: float, digits: int = 2) -> str:
    """`−0.10 to +0.25`; a dash for no numbers."""
    if math.isnan(low) or math.isnan(high):
        return NOTHING
    return f"{signed(low, digits)} to {signed(high, digits)}"


def signed_with_interval(value: float, low: float, high: float, digits: int = 2) -> str:
    """`+0.30 (+0.10 to +0.50)`, with as many digits as show on which side of zero an end lies.

    Without an interval the number alone.
    """
    digits = digits_beside((low, high), (0.0,), digits)
    return signed(value, digits) + ("" if math.isnan(low) else f" ({signed_interval(low, high, digits)})")


def at_most(value: float, digits: int = 2) -> str:
    """`0.03` for 0.0206: what is said to be no more must not be less than it is."""
    # What lies above a digit by rounding alone is that digit.
    return unsigned(math.ceil(round(value * 10**digits, 6)) / 10**digits, digits)


def share(value: float, *levels: float) -> str:
    """`69 %`, `−9 %`, `0 %` for what rounds to nothing, and a dash for no number; with digits as `with_interval` has them."""
    digits = digits_beside((100 * value,), [100 * level for level in levels], 0)
    return NOTHING if math.isnan(value) else f"{unsigned(100 * value, digits)} %"
