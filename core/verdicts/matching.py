"""Which heads match: they look where an induction head looks, because of the repeat, wherever the copy is, and nowhere beside.

A head matches (science: "calling a head") where all of this holds, each asked of every sequence:

- its contrast is above zero by the sign-flip test, corrected over all heads (Benjamini and Hochberg);
- the interval of its contrast lies above the contrast floor: it is not small, and no few sequences made it;
- so does that of its rotation contrast: a head that fires at a fixed distance whenever a token repeats has none;
- the interval of its specificity lies above zero: it looks at the successor more than at any of its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from core.stats import DIFFERENCE_OF_SHARES, student_intervals
from core.verdicts.estimate import Estimates, estimates
from core.verdicts.evidence import Evidence
from core.verdicts.significance import SIGNIFICANCE, benjamini_hochberg, sign_flip_p

# Attention is in single precision: a difference this small is none.
ATTENTION_ROUNDING = 1e-5


@dataclass(frozen=True)
class Matching:
    """The numbers that decide whether heads match, for any floor."""

    q: Float[np.ndarray, "n_layers n_heads"]
    contrast: Estimates
    rotation_contrast: Estimates
    specificity: Estimates

    def above(self, floor: float) -> Bool[np.ndarray, "n_layers n_heads"]:
        """Which heads match. A head that does not exist never does."""
        found: Bool[np.ndarray, "n_layers n_heads"] = (self.q < SIGNIFICANCE) & self.intervals_above(floor)
        return found

    def intervals_above(self, floor: float) -> Bool[np.ndarray, "n_layers n_heads"]:
        """Whose intervals lie where they must."""
        found: Bool[np.ndarray, "n_layers n_heads"] = (
            (self.contrast.low > floor) & (self.rotation_contrast.low > floor) & (self.specificity.low > ATTENTION_ROUNDING)
        )
        return found


def matching(evidence: Evidence, q: Float[np.ndarray, "n_layers n_heads"] | None = None) -> Matching:
    """The numbers of every head; `q`, where it is at hand, is not computed again."""
    return Matching(
        q=contrast_q_values(evidence.contrast) if q is None else q,
        contrast=estimates(evidence.contrast, DIFFERENCE_OF_SHARES),
        rotation_contrast=estimates(evidence.rotation_contrast, DIFFERENCE_OF_SHARES),
        specificity=specificity(evidence.specificity_by_offset),
    )


def specificity(by_offset: Float[np.ndarray, "offsets n_layers n_heads sequences"]) -> Estimates:
    """The smallest of the differences, with the smallest ends of their intervals.

    The interval is above a level only where every offset's is, and for that no correction is needed (Berger 1982).
    """
    low, high = student_intervals(by_offset, DIFFERENCE_OF_SHARES)
    return Estimates(by_offset.mean(-1, dtype=np.float64).min(0), low.min(0), high.min(0))


def contrast_q_values(
    contrast: Float[np.ndarray, "n_layers n_heads sequences"], seed: int = 0
) -> Float[np.ndarray, "n_layers n_heads"]:
    """The sign-flip test of each head's contrast, as Benjamini-Hochberg q-values over all heads that exist."""
    p = sign_flip_p(contrast.reshape(-1, contrast.shape[-1]), seed)
    return benjamini_hochberg(p).reshape(contrast.shape[:2])
