"""Heads that matter and do not match: an effect nominates, too (a trained model may copy with no head that matches)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from core.heads import Head, HeadSet
from core.stats import Number, estimate
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement
from core.verdicts.roles import DELTA, Shares
from core.verdicts.significance import SIGNIFICANCE, benjamini_hochberg, student_p_above


@dataclass(frozen=True)
class Nominee:
    """A head that no label explains and whose total effect (share of the gain) is beyond `DELTA` on either side.

    p: of that, Student's t over sequences; q: the same corrected over all heads that were asked.
    """

    head: Head
    total_effect: Number
    p: float
    q: float

    @property
    def name(self) -> str:
        """`L5H7`."""
        return self.head.name


def unexplained(verdicts: Sequence[Verdict]) -> HeadSet:
    """The heads that no label explains."""
    return tuple(verdict.head for verdict in verdicts if verdict.label == "none")


def nominated(shares: Shares, heads: HeadSet) -> tuple[Nominee, ...]:
    """Those of `heads` that matter, the largest effect first; none where the model has no gain to have a share of."""
    if not heads or not shares.any:
        return ()
    total = np.stack([shares.total[head] for head in heads])
    p = _p_beyond(total)
    q = benjamini_hochberg(p)
    found = [
        Nominee(head, estimate(total[index]), float(p[index]), float(q[index]))
        for index, head in enumerate(heads)
        if q[index] < SIGNIFICANCE
    ]
    return tuple(sorted(found, key=lambda nominee: -abs(nominee.total_effect.value)))


def with_their_effects(judged: Judgement, found: Sequence[Nominee]) -> Judgement:
    """`judged` with the total effect of those heads, which is asked of none that does not match: one head, one number."""
    known = {nominee.head: nominee.total_effect for nominee in found}
    told = [replace(verdict, total_effect=known.get(verdict.head, verdict.total_effect)) for verdict in judged.verdicts]
    return replace(judged, verdicts=tuple(told))


def _p_beyond(total: Float[np.ndarray, "heads sequences"]) -> Float[np.ndarray, " heads"]:
    """p of an effect above `DELTA` or below minus it: below .05 exactly where the 95 % interval lies outside."""
    found: Float[np.ndarray, " heads"] = np.minimum(
        1.0, 2 * np.minimum(student_p_above(total, DELTA), 1 - student_p_above(total, -DELTA))
    )
    return found
