"""Is a contrast above zero, and how large is it: the sign-flip test and the interval."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from core.stats import mean_intervals

SIGNIFICANCE = 0.05
# Permutation p-values cannot be smaller than 1 / (resamples + 1), and Benjamini-Hochberg multiplies by up to the number of
# heads: this many resamples for each head let a single true head pass among any number.
RESAMPLES_PER_HEAD = 40
MIN_RESAMPLES = 9_999


def contrast_q_values(
    contrast: Float[np.ndarray, "n_layers n_heads sequences"], seed: int = 0
) -> Float[np.ndarray, "n_layers n_heads"]:
    """One-sided sign-flip permutation p-values of each head's mean contrast, as Benjamini-Hochberg q-values over all heads.

    Under the null a head treats the repeat and its control alike, so each sequence's difference is as likely negative.
    """
    from scipy.stats import false_discovery_control, permutation_test

    heads = contrast.reshape(-1, contrast.shape[-1])
    resamples = max(MIN_RESAMPLES, RESAMPLES_PER_HEAD * len(heads))
    p_values = np.ones(len(heads))
    # Most heads are plainly not above zero; testing only the others changes no correction, their p-values stay 1.
    for index in np.flatnonzero(heads.mean(1) > 0):
        p_values[index] = permutation_test(
            (heads[index],),
            _mean,
            permutation_type="samples",
            n_resamples=resamples,
            alternative="greater",
            vectorized=True,
            batch=4096,
            rng=np.random.default_rng([seed, int(index)]),
        ).pvalue
    found: Float[np.ndarray, "n_layers n_heads"] = false_discovery_control(p_values, method="bh").reshape(contrast.shape[:2])
    return found


def contrast_intervals(
    contrast: Float[np.ndarray, "n_layers n_heads sequences"],
) -> tuple[Float[np.ndarray, "n_layers n_heads"], Float[np.ndarray, "n_layers n_heads"]]:
    """95 % interval over sequences of each head's mean contrast."""
    return mean_intervals(contrast)


def _mean(sample: np.ndarray, axis: int = -1) -> np.ndarray:
    found: np.ndarray = np.mean(sample, axis=axis)
    return found
