"""The threshold sweep: what each threshold keeps, what ablating it costs, and what other heads cost beside it.

A threshold is never one number: the curve shows what it buys. Equal head sets are computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import NOTHING_TO_MATCH, p_value, range_of, smallest_p
from core.ablation.outcomes import gain_lost
from core.behaviour import Losses
from core.errors import BadInput
from core.heads import HeadSet, heads_above
from core.numbers import counted
from core.plain import finite, shown
from core.stats import Number

MAX_THRESHOLDS = 200
DEFAULT_THRESHOLDS = (0.05, 0.95, 0.05)


def threshold_grid(start: float, stop: float, step: float) -> tuple[float, ...]:
    """`start`, `start + step`, ... up to and with `stop`, free of rounding dust.

    Raises BadInput for a grid that is empty, too long, or leaves 0 to 1.
    """
    # A step that is next to nothing would be more thresholds than a number can say.
    if not (0 <= start <= stop <= 1 and 1e-9 <= step <= 1):
        raise BadInput(
            f"Thresholds {start}:{stop}:{step} must go up from START to STOP within 0 to 1, by a STEP between 0 and 1."
        )
    count = int(np.floor((stop - start) / step + 1e-9)) + 1
    if count > MAX_THRESHOLDS:
        raise BadInput(f"{counted(count, 'threshold')} are more than {MAX_THRESHOLDS}: choose a larger step.")
    return tuple(round(start + i * step, 10) for i in range(count))


def checked_thresholds(thresholds: Iterable[float]) -> tuple[float, ...]:
    """`thresholds` as plain numbers, lowest first, each once: steps and the knee are between neighbours.

    Raises BadInput for none, for more than `MAX_THRESHOLDS`, and for what is no number from 0 to 1.
    """
    try:
        given = tuple(thresholds)
    except TypeError:
        raise BadInput(f"Thresholds are given as a list, such as [0.2, 0.8], not as {shown(thresholds)}.") from None
    found = set()
    for one in given:
        number = finite(one)
        if number is None or not 0 <= number <= 1:
            raise BadInput(f"Every threshold must be a number from 0 to 1, not {shown(one)}.")
        found.add(number)
    if not found:
        raise BadInput("A sweep needs at least one threshold, such as 0.5.")
    if len(found) > MAX_THRESHOLDS:
        raise BadInput(f"{counted(len(found), 'threshold')} are more than {MAX_THRESHOLDS}: choose fewer.")
    return tuple(sorted(found))


DEFAULT_GRID = threshold_grid(*DEFAULT_THRESHOLDS)


def sets_by_threshold(scores: Float[np.ndarray, "n_layers n_heads"], thresholds: Sequence[float]) -> tuple[HeadSet, ...]:
    """The head set of each threshold, in layer order; strict: `score > t`."""
    return tuple(tuple(sorted(heads_above(scores, threshold))) for threshold in thresholds)


class SetCost(NamedTuple):
    """What one set's removal comes to: the second-copy loss without it, and by how much that is more; in nats."""

    second_copy: float
    change: Number
    n_sequences: int


@dataclass(frozen=True)
class SweepRow:
    """One threshold. `step` is the rise in second-copy loss since the next higher threshold.

    change: the rise over the untouched model, in nats, with its 95 % interval over sequences.
    baseline_low, baseline_high, baseline_mean: the range of other sets' second-copy losses; p: how likely one of them costs at
    least as much; NaN where there are none. others: how many there are, None while that is not known. note: how they were
    found, or why there are none.
    """

    threshold: float
    heads: HeadSet
    second_copy: float
    change: Number
    gain_lost: float
    baseline_mean: float
    baseline_low: float
    baseline_high: float
    p: float
    step: float
    others: int | None
    note: str = ""

    @property
    def n_heads(self) -> int:
        """Heads kept."""
        return len(self.heads)

    @property
    def smallest_p(self) -> float:
        """What p can be at least with so many other sets; NaN where there are none."""
        return smallest_p(self.others or 0)


@dataclass(frozen=True)
class Sweep:
    """All thresholds, lowest first, where the curve bends, and on how many sequences it was measured."""

    rows: tuple[SweepRow, ...]
    clean: Losses
    knee: float | None
    n_sequences: int


def assemble_sweep(
    thresholds: Sequence[float],
    sets: Sequence[HeadSet],
    alone: Mapping[HeadSet, SetCost],
    beside: Mapping[HeadSet, Float[np.ndarray, " sets"]],
    clean: Losses,
    notes: Mapping[HeadSet, str] | None = None,
) -> Sweep:
    """Rows from what each distinct set costs and the losses of other sets beside it (nats), with their notes."""
    losses = [alone[heads].second_copy for heads in sets]
    rows = []
    for index, (threshold, heads) in enumerate(zip(thresholds, sets, strict=True)):
        others = beside.get(heads, np.empty(0))
        low, high, mean = range_of(others)
        above = losses[index + 1] if index + 1 < len(losses) else clean.second_copy
        rows.append(
            SweepRow(
                threshold=threshold,
                heads=heads,
                second_copy=losses[index],
                change=alone[heads].change,
                gain_lost=gain_lost(losses[index], clean),
                baseline_mean=mean,
                baseline_low=low,
                baseline_high=high,
                p=p_value(losses[index], others),
                step=losses[index] - above,
                others=len(others) if heads in beside else None,
                note=(notes or {}).get(heads, "") if heads else NOTHING_TO_MATCH,
            )
        )
    return Sweep(tuple(rows), clean, knee(np.asarray(thresholds), np.asarray(losses)), alone[sets[0]].n_sequences)


def knee(thresholds: Float[np.ndarray, " thresholds"], losses: Float[np.ndarray, " thresholds"]) -> float | None:
    """The threshold where lowering it further stops paying: the point farthest above the chord of the loss curve.

    Both axes scaled to 0..1 (Satopaa et al. 2011). None for a curve that is flat, straight or bends the other way.
    """
    rise = float(losses[0] - losses[-1])
    if len(losses) < 3 or rise < 0.05:
        return None
    lowered = (thresholds[-1] - thresholds) / (thresholds[-1] - thresholds[0])
    above = (losses - losses[-1]) / rise - lowered
    best = int(above.argmax())
    return float(thresholds[best]) if above[best] > 0.05 else None
