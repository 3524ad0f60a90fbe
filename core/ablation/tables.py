"""Tables and files of what was taken away: rows for pictures, and every number of a page as one JSON object."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from core.ablation.cached import Ablation, Controls
from core.ablation.sweep import Sweep, SweepRow
from core.attention.scores import HeadScores, head_name
from core.attention.tables import Row
from core.heads import HeadSet, Mode
from core.settings.experiment import named
from core.settings.view import View, command_line, measured_on
from core.stats import QUADRANTS, quadrants
from core.transformer.card import ModelIdentity

_NAMES_SHOWN = 12


def ablate_command(view: View, heads: HeadSet) -> str:
    """The command that prints the same ablation with its random sets."""
    return command_line(view, "ablate", "--heads", named(heads), "--mode", view.experiment.mode)


def causal_command(view: View) -> str:
    """The command that prints the same causal map."""
    return command_line(view, "causal", "--mode", view.experiment.mode)


def sweep_command(view: View) -> str:
    """The command that prints the same sweep."""
    return command_line(view, "sweep", "--mode", view.experiment.mode, "--score", view.score)


def beside_rows(result: Ablation, controls: Controls | None) -> list[Row]:
    """The head set first, then each random set: heads and second-copy loss."""
    rows: list[Row] = [{"set": "untouched", "heads": "", "second_copy": result.clean_losses.second_copy}]
    rows.append({"set": "taken away", "heads": named(result.heads), "second_copy": result.ablated_losses.second_copy})
    if controls is not None:
        rows += [
            {"set": f"random {i + 1}", "heads": named(heads), "second_copy": float(loss)}
            for i, (heads, loss) in enumerate(zip(controls.sets, controls.second_copy, strict=True))
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
        (int(layer), int(head)): QUADRANTS[quadrant]
        for quadrant, heads in quadrants(values, effect, threshold, floor).items()
        for layer, head in heads
    }
    rows: list[Row] = [
        {
            "name": head_name(*head),
            "layer": head[0],
            "head": head[1],
            score: float(values[head]),
            "effect": _number(effect[head]),
            "estimate": float(estimate[head]),
            "quadrant": where.get(head, ""),
        }
        for head in ((layer, head) for layer in range(values.shape[0]) for head in range(values.shape[1]))
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
    names = [head_name(*head) for head in row.heads]
    more = len(names) - _NAMES_SHOWN
    return {
        "threshold": row.threshold,
        "heads": row.n_heads,
        "second_copy": row.second_copy,
        "step": row.step,
        "recovered_fraction": _number(row.recovered_fraction),
        "random_mean": _number(row.control_mean),
        "random_low": _number(row.control_low),
        "random_high": _number(row.control_high),
        "names": ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else ""),
    }


def page_json(view: View, identity: ModelIdentity, **numbers: Any) -> str:
    """Everything on a page as JSON, with what it was measured on; NaN becomes null, arrays lists, head sets names."""
    facts = {
        "model": {"name": identity.card.name, "weights_digest": identity.weights_digest},
        "measured_on": measured_on(view.request.probe(identity), identity),
        "mode": view.experiment.mode,
        "score": view.score,
        "threshold": view.threshold,
    }
    return json.dumps(_plain(facts | numbers), indent=1, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return _plain(value.astype(np.float64).tolist())
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return _number(float(value)) if isinstance(value, float | np.floating) else value


def _number(value: float) -> float | None:
    """A number for a file: NaN is no JSON."""
    return None if math.isnan(value) else float(value)
