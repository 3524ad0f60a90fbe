"""What was taken away, as rows for pictures and files."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from core.ablation.outcomes import Ablation, Baselines, CausalMap
from core.ablation.quadrants import QUADRANTS, quadrants
from core.ablation.sweep import Sweep, SweepRow
from core.attention.head_scores import HeadScores
from core.attention.tables import Row
from core.heads import every_head, named, names
from core.settings.modes import Mode

_NAMES_SHOWN = 12


def beside_rows(result: Ablation, baselines: Baselines | None) -> list[Row]:
    """The head set first, then each of the others, and every head of its layers: heads and second-copy loss."""
    rows: list[Row] = [{"set": "untouched", "heads": "", "second_copy": result.clean_losses.second_copy}]
    rows.append({"set": "taken away", "heads": named(result.heads), "second_copy": result.ablated_losses.second_copy})
    if baselines is not None:
        rows += [
            {"set": f"other {i + 1}", "heads": named(heads), "second_copy": float(loss)}
            for i, (heads, loss) in enumerate(zip(baselines.sets, baselines.second_copy, strict=True))
        ]
        rows.append({"set": "all heads of these layers", "heads": "", "second_copy": _number(baselines.bound)})
    return rows


def effect_rows(
    scores: HeadScores,
    score: str,
    found: CausalMap | None,
    estimate: Float[np.ndarray, "n_layers n_heads"] | None,
    threshold: float,
    floor: float,
) -> list[Row]:
    """One row a head, the largest effect first: the score, the effect, and whether it is measured, with its interval.

    The quadrant only where the map is complete: nothing is concluded from a part of it or from estimates.
    """
    values = scores.mean(score)
    nothing = np.full(values.shape, np.nan)
    effect = nothing if found is None else found.effect
    low, high = (nothing, nothing) if found is None else found.interval
    shown = np.where(np.isnan(effect), nothing if estimate is None else estimate, effect)
    whole = found is not None and found.complete
    parts = quadrants(values, effect, threshold, floor) if whole else {}
    where = {head: QUADRANTS[quadrant] for quadrant, heads in parts.items() for head in heads}
    rows: list[Row] = [
        {
            "name": head.name,
            "layer": head.layer,
            "head": head.head,
            score: _number(values[head]),
            "effect": _number(shown[head]),
            "how": "estimated" if np.isnan(effect[head]) else "measured",
            "low": _number(low[head]),
            "high": _number(high[head]),
            "quadrant": where.get(head, ""),
        }
        for head in every_head(*values.shape)
        if not np.isnan(shown[head])
    ]
    return sorted(rows, key=lambda row: -abs(row["effect"]))


def sweep_rows(sweep: Sweep, others: Mapping[Mode, Sweep] | None = None) -> list[Row]:
    """One row a threshold, lowest first; losses in nats, None where there are no other sets."""
    return [
        sweep_row(row) | {mode: other.rows[index].second_copy for mode, other in (others or {}).items()}
        for index, row in enumerate(sweep.rows)
    ]


def sweep_row(row: SweepRow) -> Row:
    """One threshold as a row of a table."""
    more = row.n_heads - _NAMES_SHOWN
    return {
        "threshold": row.threshold,
        "heads": row.n_heads,
        "second_copy": row.second_copy,
        "change": row.change.value,
        "change_low": _number(row.change.low),
        "change_high": _number(row.change.high),
        "step": row.step,
        "gain_lost": _number(row.gain_lost),
        "baseline_mean": _number(row.baseline_mean),
        "baseline_low": _number(row.baseline_low),
        "baseline_high": _number(row.baseline_high),
        "p": _number(row.p),
        "names": ", ".join(names(row.heads[:_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else ""),
        "note": row.note,
    }


def _number(value: float) -> float | None:
    """A number for a file: NaN is no JSON."""
    return None if math.isnan(value) else float(value)
