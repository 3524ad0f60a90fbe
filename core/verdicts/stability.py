"""How much the set of called heads hangs on the sequences it was called on: Jaccard (Meloux et al. 2026)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from core.stats import Number
from core.verdicts.evidence import Evidence
from core.verdicts.matching import matching
from core.verdicts.significance import SIGNIFICANCE, benjamini_hochberg, student_p_above

RESAMPLES = 100
LOWER_HALF, UPPER_HALF = 0, 1


@dataclass(frozen=True)
class Stability:
    """What share of the heads called on some sequences *or* on all is called on both: 1 is the same set.

    resampled: mean and 95 % range over resamples of the sequences. lengths: on the sequences of each length alone.
    token_ranges: on those of the lower and of the upper half of the ids alone; empty where tokens are from all.
    """

    resampled: Number
    lengths: Mapping[int, float]
    token_ranges: Mapping[str, float]


def stability(
    evidence: Evidence, q: Float[np.ndarray, "n_layers n_heads"], floor: float, *, resamples: int = RESAMPLES, seed: int = 0
) -> Stability:
    """The called set's stability; resamples are stratified by length and range, as the sequences were drawn."""
    called = matching(evidence, q).above(floor)
    random = np.random.default_rng(seed)
    strata = [np.flatnonzero((evidence.lengths == length) & (evidence.ranges == part)) for length, part in _cells(evidence)]
    drawn = [np.concatenate([random.choice(cell, len(cell)) for cell in strata]) for _ in range(resamples)]
    overlaps = np.array([jaccard(called, _called_on(evidence.of(rows), q, floor)) for rows in drawn])
    low, high = np.percentile(overlaps, [2.5, 97.5])
    lengths = [int(length) for length in np.unique(evidence.lengths)]
    halves = {"lower": LOWER_HALF, "upper": UPPER_HALF} if (evidence.ranges >= 0).all() else {}
    return Stability(
        resampled=Number(float(overlaps.mean()), float(low), float(high)),
        lengths={n: jaccard(called, _called_on(evidence.of(np.flatnonzero(evidence.lengths == n)), q, floor)) for n in lengths},
        token_ranges={
            name: jaccard(called, _called_on(evidence.of(np.flatnonzero(evidence.ranges == part)), q, floor))
            for name, part in halves.items()
        },
    )


def jaccard(one: Bool[np.ndarray, "n_layers n_heads"], other: Bool[np.ndarray, "n_layers n_heads"]) -> float:
    """The share of the heads in either set that are in both; 1 where both are empty."""
    either = int((one | other).sum())
    return int((one & other).sum()) / either if either else 1.0


def _called_on(
    evidence: Evidence, q: Float[np.ndarray, "n_layers n_heads"], floor: float
) -> Bool[np.ndarray, "n_layers n_heads"]:
    """Which heads match on these sequences.

    Only a head whose intervals lie where they must can match, so only these are tested again, by Student's t, for a resample
    holds sequences twice, which a permutation test takes for independent; among the heads that are corrected for, the others
    keep what all sequences gave them.
    """
    found = matching(evidence, q)
    near = found.intervals_above(floor)
    p = q.copy()
    p[near] = student_p_above(evidence.contrast[near], 0.0)
    called: Bool[np.ndarray, "n_layers n_heads"] = near & (benjamini_hochberg(p) < SIGNIFICANCE)
    return called


def _cells(evidence: Evidence) -> list[tuple[int, int]]:
    return sorted({(int(length), int(part)) for length, part in zip(evidence.lengths, evidence.ranges, strict=True)})
