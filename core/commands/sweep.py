"""`sweep`: thresholds, the heads they keep, and the loss without these heads, beside random sets."""

from __future__ import annotations

import argparse
from typing import Any

from core.ablation.cached import threshold_sweep
from core.ablation.sweep import DEFAULT_THRESHOLDS, threshold_grid
from core.attention.scores import ALL_SCORES
from core.commands.heads import add_mode, listed
from core.commands.options import model_facts, probe_facts, request_from
from core.models.load import model_identity


def configure(parser: argparse.ArgumentParser) -> None:
    """The grid of thresholds and the mode."""
    add_mode(parser)
    parser.add_argument("--score", choices=list(ALL_SCORES), default="induction", help="the score that thresholds are on")
    parser.add_argument("--thresholds", type=_grid, default=DEFAULT_THRESHOLDS, metavar="START:STOP:STEP")


def _grid(words: str) -> tuple[float, float, float]:
    try:
        start, stop, step = (float(word) for word in words.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be START:STOP:STEP, such as 0.05:0.95:0.05, not {words!r}") from None
    return start, stop, step


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The result as design.md's contract states it."""
    thresholds = threshold_grid(*options.thresholds)
    request = request_from(options)
    identity = model_identity(request.model)
    sweep = threshold_sweep(request, thresholds, options.mode, score=options.score, controls=options.controls)
    return {
        "model": model_facts(identity),
        "probe": probe_facts(request.probe(identity), request),
        "mode": options.mode,
        "score": options.score,
        "loss": {"first_copy": sweep.clean.first_copy, "second_copy": sweep.clean.second_copy},
        "rows": [
            {
                "threshold": row.threshold,
                "n_heads": row.n_heads,
                "heads": listed(row.heads),
                "second_copy": row.second_copy,
                "recovered_fraction": row.recovered_fraction,
                "control_mean": row.control_mean,
                "control_low": row.control_low,
                "control_high": row.control_high,
                "step": row.step,
            }
            for row in sweep.rows
        ],
        "knee": sweep.knee,
    }


def text(result: dict[str, Any]) -> str:
    """A table, lowest threshold first."""
    lines = [
        f"{result['model']['name']}, {result['mode']} ablation; "
        f"clean second-copy loss {result['loss']['second_copy']:.2f} nats",
        "threshold  heads  second copy  recovered  random sets (95 % band)",
    ]
    for row in result["rows"]:
        mark = "  <- knee" if row["threshold"] == result["knee"] else ""
        lines.append(
            f"{row['threshold']:9.2f}  {row['n_heads']:5}  {row['second_copy']:11.2f}  {row['recovered_fraction']:9.2f}  "
            f"{row['control_low']:.2f} to {row['control_high']:.2f}{mark}"
        )
    return "\n".join(lines)
