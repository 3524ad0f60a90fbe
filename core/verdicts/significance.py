"""Is a mean above zero, above or below a level, or within it: the sign-flip test, Student's t, and the correction for many.

Intervals are `core.stats.student_intervals`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

SIGNIFICANCE = 0.05
# Permutation p-values cannot be smaller than 1 / (flips + 1), and Benjamini-Hochberg multiplies by up to the number of heads:
# this many flips for each head let a single true head pass among any number.
FLIPS_PER_HEAD = 40
MIN_FLIPS = 9_999
# Sums of flipped sequences that may exist at once.
SUMS_AT_ONCE = 1 << 23
# Sums that differ by rounding alone are ties, and ties count against the claim.
_ROUNDING = 1e-9


def sign_flip_p(values: Float[np.ndarray, "heads sequences"], seed: int = 0) -> Float[np.ndarray, " heads"]:
    """One-sided sign-flip permutation p of each mean being above zero; NaN where a value is.

    Under the null a sequence's difference is as likely negative, so every pattern of signs is as likely as the one that was
    seen. All patterns where there are few sequences, else random ones; the sums of all heads under all patterns are one matrix
    product, in pieces that fit in memory. The same patterns serve every head. Phipson and Smyth 2010.
    """
    heads, count = values.shape
    exact = values.astype(np.float64)
    flips = max(MIN_FLIPS, FLIPS_PER_HEAD * heads)
    all_patterns = count < 63 and 2**count <= flips
    random = np.random.default_rng(seed)
    patterns = 2**count if all_patterns else flips
    needed = exact.sum(1) - _ROUNDING * np.abs(exact).sum(1)
    at_least = np.zeros(heads, dtype=np.int64)
    step = max(1, SUMS_AT_ONCE // max(1, heads))
    for start in range(0, patterns, step):
        size = min(step, patterns - start)
        signs = _every_sign(start, size, count) if all_patterns else 2.0 * random.integers(0, 2, (size, count)) - 1.0
        at_least += (signs @ exact.T >= needed).sum(0)
    p = at_least / patterns if all_patterns else (1 + at_least) / (1 + patterns)
    return np.where(np.isnan(needed), np.nan, p)


def benjamini_hochberg(p: Float[np.ndarray, "*what"]) -> Float[np.ndarray, "*what"]:
    """q-values over everything that has a p; NaN stays NaN and counts for nothing. Benjamini and Hochberg 1995."""
    found = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    ordered = np.argsort(p[known])
    count = len(ordered)
    steps = p[known][ordered] * count / np.arange(1, count + 1)
    # A larger p never gets a smaller q.
    q = np.empty(count)
    q[ordered] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    found[known] = q
    return found


def student_p_above(values: Float[np.ndarray, "*what sequences"], level: float) -> Float[np.ndarray, "*what"]:
    """One-sided p of each mean over the last axis being above `level`, by Student's t; NaN for fewer than two values.

    Below .025 exactly where the 95 % interval lies above `level`. The p of being below is one less this.
    """
    from scipy.special import stdtr

    exact, count = values.astype(np.float64), values.shape[-1]
    if count < 2:
        return np.full(values.shape[:-1], np.nan)
    error = exact.std(-1, ddof=1) / np.sqrt(count)
    distance = exact.mean(-1) - level
    with np.errstate(divide="ignore", invalid="ignore"):
        # Values that do not vary are certain, on one side or the other.
        t = np.where(error > 0, distance / error, np.sign(distance) * np.inf)
    found: Float[np.ndarray, "*what"] = np.where(np.isnan(distance), np.nan, stdtr(count - 1, np.where(np.isnan(t), 0.0, -t)))
    return found


def _every_sign(start: int, size: int, count: int) -> Float[np.ndarray, "patterns sequences"]:
    """Sign patterns number `start` to `start + size - 1` of the `2**count` there are."""
    bits = (np.arange(start, start + size)[:, None] >> np.arange(count)) & 1
    found: Float[np.ndarray, "patterns sequences"] = 1.0 - 2.0 * bits
    return found
