"""Statistics that several topics share: the interval of a mean, which is Student's t, and one rank correlation.

scipy is imported where it is used: a first screen needs none of it.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# The bootstrap over heads is in every tick of some pages, and its interval needs no third digit.
AGREEMENT_RESAMPLES = 1_000
_NO_WIDTH = 1e-9

# Where a quantity can lie at all: shares of attention and probabilities; one of them less another; sizes; and the rest.
Range = tuple[float, float]
SHARE: Range = (0.0, 1.0)
DIFFERENCE_OF_SHARES: Range = (-1.0, 1.0)
SIZE: Range = (0.0, math.inf)
ANYWHERE: Range = (-math.inf, math.inf)


def student_intervals(
    values: Float[np.ndarray, "*what sequences"], possible: Range = ANYWHERE
) -> tuple[Float[np.ndarray, "*what"], Float[np.ndarray, "*what"]]:
    """Lower and upper ends of the 95 % Student-t interval of each mean over the last axis; NaN for fewer than two values.

    possible: what lies outside is cut off, for no mean can be there, and what is left covers as often.
    """
    exact, count = values.astype(np.float64), values.shape[-1]
    mean = np.asarray(exact.mean(-1))
    if count < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    reach = student_quantile(count - 1) * exact.std(-1, ddof=1) / math.sqrt(count)
    # Rounding may put a mean itself a hair outside; it stays in its interval.
    least, most = np.minimum(possible[0], mean), np.maximum(possible[1], mean)
    return np.maximum(mean - reach, least), np.minimum(mean + reach, most)


class Number(NamedTuple):
    """A mean and its 95 % interval; NaN for what is not measured or withheld."""

    value: float
    low: float
    high: float

    @property
    def turned(self) -> Number:
        """The same with the sign the other way round: what is lost as what is gained."""
        return Number(-self.value, -self.high, -self.low)

    def surely_beside(self, level: float) -> bool:
        """Whether the whole interval lies where the mean does: above `level`, or not; never without an interval."""
        if math.isnan(self.low) or math.isnan(self.high):
            return False
        return (self.low > level) == (self.value > level) == (self.high > level)


UNKNOWN = Number(math.nan, math.nan, math.nan)


def estimate(values: Float[np.ndarray, " sequences"], possible: Range = ANYWHERE) -> Number:
    """One mean with its Student-t interval, which a single value does not have; unknown where there is nothing."""
    if not values.size:
        return UNKNOWN
    low, high = student_intervals(values[None], possible)
    return Number(float(values.mean(dtype=np.float64)), float(low[0]), float(high[0]))


@lru_cache
def student_quantile(freedom: int, level: float = 0.975) -> float:
    """Where Student's t with `freedom` degrees of freedom has `level` of its mass below it; `level` from .5 up to, not to, 1.

    By bisection of the finite sums that the distribution is for whole degrees of freedom (Abramowitz and Stegun 26.7.3-4).
    """
    low, high = 0.0, 1.0
    while _student_within(high, freedom) < 2 * level - 1:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _student_within(middle, freedom) < 2 * level - 1 else (low, middle)
    return (low + high) / 2


def _student_within(t: float, freedom: int) -> float:
    """The mass between -t and t."""
    angle = math.atan2(t, math.sqrt(freedom))
    square = math.cos(angle) ** 2
    odd = freedom % 2
    term, total = (math.cos(angle), 0.0) if odd else (1.0, 0.0)
    for i in range(1 + odd, freedom, 2):
        total += term
        term *= square * i / (i + 1)
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation over `n_heads` heads with its 95 % bootstrap interval; NaN where there is none.

    There is no interval where every resample of the heads has the same order.
    """

    rho: float
    low: float
    high: float
    n_heads: int

    @property
    def known(self) -> bool:
        """Whether there is a correlation at all: three heads or more, and neither side constant."""
        return not math.isnan(self.rho)


def rank_agreement(a: Float[np.ndarray, "*heads"], b: Float[np.ndarray, "*heads"], seed: int = 0) -> Agreement:
    """Spearman's rank correlation of two values of each head; heads where either is NaN are left out.

    The interval is the percentile bootstrap over heads. Heads of one model are no independent sample, so it says how much
    the number leans on single heads, not what another model would give.

    Raises ValueError if the shapes differ.
    """
    from scipy.stats import ConstantInputWarning, rankdata, spearmanr

    if a.shape != b.shape:
        raise ValueError(f"{a.shape} and {b.shape} are not values of the same heads")
    known = ~(np.isnan(a) | np.isnan(b))
    x, y = a[known].astype(np.float64), b[known].astype(np.float64)
    if len(x) < 3:
        return Agreement(math.nan, math.nan, math.nan, len(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        rho = float(spearmanr(x, y).statistic)
    if math.isnan(rho):
        return Agreement(rho, math.nan, math.nan, len(x))
    drawn = np.random.default_rng(seed).integers(len(x), size=(AGREEMENT_RESAMPLES, len(x)))
    resampled = _correlations(rankdata(x[drawn], axis=1), rankdata(y[drawn], axis=1))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    if high - low < _NO_WIDTH:
        # So few heads that every draw of them has the same order: an interval of no width would say that rho is sure.
        return Agreement(rho, math.nan, math.nan, len(x))
    return Agreement(rho, float(low), float(high), len(x))


def _correlations(a: Float[np.ndarray, "rows heads"], b: Float[np.ndarray, "rows heads"]) -> Float[np.ndarray, " rows"]:
    """The correlation of each row; NaN where a side is constant."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Float[np.ndarray, " rows"] = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return found
