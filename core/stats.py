"""Do two orderings of the heads agree? Rank correlation with a bootstrap interval, and what a head's two numbers say."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import ConstantInputWarning, rankdata, spearmanr

RESAMPLES = 1000
Quadrant = Literal["both", "looks", "matters", "neither"]
QUADRANTS: dict[Quadrant, str] = {
    "both": "looks and matters",
    "looks": "looks but does not matter",
    "matters": "matters but does not look",
    "neither": "neither",
}


@dataclass(frozen=True)
class Agreement:
    """Spearman's rank correlation over `n_heads` heads with its 95 % bootstrap interval; NaN where there is none."""

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
    drawn = np.random.default_rng(seed).integers(len(x), size=(RESAMPLES, len(x)))
    resampled = _correlations(rankdata(x[drawn], axis=1), rankdata(y[drawn], axis=1))
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return Agreement(rho, float(low), float(high), len(x))


def quadrants(
    scores: Float[np.ndarray, "n_layers n_heads"], effect: Float[np.ndarray, "n_layers n_heads"], threshold: float, floor: float
) -> dict[Quadrant, Int[np.ndarray, "heads 2"]]:
    """The heads of each quadrant, layer by layer: score above `threshold`, effect of either sign above `floor` nats.

    Heads whose effect is not measured yet (NaN) are in none.
    """
    known = ~np.isnan(effect)
    looks, matters = scores > threshold, np.abs(effect) > floor
    return {
        "both": np.argwhere(known & looks & matters),
        "looks": np.argwhere(known & looks & ~matters),
        "matters": np.argwhere(known & ~looks & matters),
        "neither": np.argwhere(known & ~looks & ~matters),
    }


def _correlations(a: Float[np.ndarray, "rows heads"], b: Float[np.ndarray, "rows heads"]) -> Float[np.ndarray, " rows"]:
    """The correlation of each row; NaN where a side is constant."""
    a, b = a - a.mean(1, keepdims=True), b - b.mean(1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Float[np.ndarray, " rows"] = (a * b).sum(1) / np.sqrt((a**2).sum(1) * (b**2).sum(1))
    return found
