"""What was taken away, as rows for pictures and files."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from core.ablation.outcomes import Ablation, Baselines
from core.ablation.quadrants import QUADRANTS, quadrants
from core.ablation.sweep import Sweep, SweepRow
from core.attention.head_scores import HeadScores
from core.attention.tables import Row
from core.heads import every_head, named, names
from core.settings.modes import Mode

_NAMES_SHOWN = 12


def beside_rows(result: Ablation, baselines: Baselines | None) -> list[Row]:
    """The head set first, then each random set: heads and second-copy loss."""
    rows: list[Row] = [{"set": "untouched", "heads": "", "second_copy": result.clean_losses.second_copy}]
    rows.append({"set": "taken away", "heads": named(result.heads), "second_copy": result.ablated_losses.second_copy})
    if baselines is not None:
        rows += [
            {"set": f"random {i + 1}", "heads": named(heads), "second_copy": float(loss)}
            for i, (heads, loss) in enumerate(zip(baselines.sets, baselines.second_copy, strict=True))
        ]
    return rows


def effect_rows(
    scores: HeadScores,
    score: str,
    effect: Float[np.ndarray, "n_layers n_heads"],
    estimate: Float[np.ndarray, "n_layers n_heads"],
    threshold: float,
    floor: float,
) -> list[Row]:
    """One row a head, the largest effect first: both numbers, the estimate, and the quadrant (empty if not measured yet)."""
    values = scores.mean(score)
    where = {
        head: QUADRANTS[quadrant] for quadrant, heads in quadrants(values, effect, threshold, floor).items() for head in heads
    }
    rows: list[Row] = [
        {
            "name": head.name,
            "layer": head.layer,
            "head": head.head,
            score: float(values[head]),
            "effect": _number(effect[head]),
            "estimate": float(estimate[head]),
            "quadrant": where.get(head, ""),
        }
        for head in every_head(*values.shape)
    ]
    return sorted(rows, key=lambda row: -abs(row["effect"] or 0.0))


def sweep_rows(sweep: Sweep, others: Mapping[Mode, Sweep] | None = None) -> list[Row]:
    """One row a threshold, lowest first; losses in nats, None where there are no random sets."""
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
        "step": row.step,
        "gain_lost": _number(row.gain_lost),
        "random_mean": _number(row.baseline_mean),
        "random_low": _number(row.baseline_low),
        "random_high": _number(row.baseline_high),
        "names": ", ".join(names(row.heads[:_NAMES_SHOWN])) + (f" and {more} more" if more > 0 else ""),
    }


def _number(value: float) -> float | None:
    """A number for a file: NaN is no JSON."""
    return None if math.isnan(value) else float(value)
