"""`ablate`: what the loss becomes without some heads, beside random sets of the same size."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.ablation.cached import Ablation, ablate, ablation_controls
from core.attention.cached import head_scores
from core.attention.scores import Losses, heads_above
from core.commands.heads import add_mode, listed, parse_heads
from core.commands.options import model_facts, probe_facts, request_from
from core.errors import BadInput
from core.heads import all_but
from core.models.load import model_identity


def configure(parser: argparse.ArgumentParser) -> None:
    """Which heads, and what to do with them."""
    add_mode(parser)
    parser.add_argument("--threshold", type=float, metavar="T", help="heads whose induction score is above T")
    parser.add_argument("--heads", type=parse_heads, metavar="L1H0,L1H2", help="heads by name")
    parser.add_argument("--keep", action="store_true", help="ablate every head but these (sufficiency)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The result as design.md's contract states it."""
    if (options.threshold is None) == (options.heads is None):
        raise BadInput("Say which heads: either --threshold T or --heads L1H0,L1H2.")
    request = request_from(options)
    identity = model_identity(request.model)
    heads = (
        options.heads if options.heads is not None else heads_above(head_scores(request).mean("induction"), options.threshold)
    )
    if options.keep:
        heads = all_but(tuple(heads), identity.card.n_layers, identity.card.n_heads)
    result = ablate(request, heads, options.mode)
    controls = ablation_controls(request, heads, options.mode, options.controls)
    low, high, mean = controls.band
    return {
        "model": model_facts(identity),
        "probe": probe_facts(request.probe(identity), request),
        "heads": listed(result.heads),
        "mode": result.mode,
        "engine": result.engine,
        "loss": {
            "clean": _losses(result.clean_losses, result.clean),
            "ablated": _losses(result.ablated_losses, result.ablated),
        },
        "recovered_fraction": result.recovered_fraction,
        "control": {
            "sets": [listed(found) for found in controls.sets],
            "second_copy": controls.second_copy,
            "mean": mean,
            "low": low,
            "high": high,
            "note": controls.note,
        },
        "plain_text": _plain_text(result),
        "per_position": {"clean": result.clean.mean(0), "ablated": result.ablated.mean(0)},
    }


def text(result: dict[str, Any]) -> str:
    """Before, after, and beside it the controls."""
    clean, ablated, control = result["loss"]["clean"], result["loss"]["ablated"], result["control"]
    lines = [
        f"{result['model']['name']}, {result['mode']} ablation of {len(result['heads'])} heads: "
        f"{', '.join(result['heads']) or 'none'}",
        f"second copy {clean['second_copy']:.2f} -> {ablated['second_copy']:.2f} nats "
        f"(recovered fraction {result['recovered_fraction']:.2f}); "
        f"first copy {clean['first_copy']:.2f} -> {ablated['first_copy']:.2f}",
    ]
    if control["sets"]:
        lines.append(
            f"{len(control['sets'])} random sets matched by layer: {control['mean']:.2f} (95 % band {control['low']:.2f} to "
            f"{control['high']:.2f})"
        )
    if control["note"]:
        lines.append(control["note"])
    if result["plain_text"] is not None:
        lines.append(f"plain text {result['plain_text']['clean']:.2f} -> {result['plain_text']['ablated']:.2f} nats")
    return "\n".join(lines)


def _losses(losses: Losses, token_loss: np.ndarray) -> dict[str, float]:
    return {
        "first_copy": losses.first_copy,
        "second_copy": losses.second_copy,
        "whole": float(np.nanmean(token_loss, dtype=np.float64)),
    }


def _plain_text(result: Ablation) -> dict[str, float] | None:
    if result.text is None:
        return None
    clean, ablated = result.text
    return {"clean": float(np.nanmean(clean)), "ablated": float(np.nanmean(ablated))}
