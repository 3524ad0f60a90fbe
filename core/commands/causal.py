"""`causal`: every head ablated alone, exactly or by gradient."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.ablation.cached import causal_map, estimated_map
from core.attention.cached import head_scores
from core.attention.scores import head_name
from core.commands.heads import add_mode
from core.commands.options import model_facts, probe_facts, request_from
from core.models.load import model_identity

SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """The mode, and whether an estimate will do."""
    add_mode(parser, controls=False)
    parser.add_argument("--estimate", action="store_true", help="by gradient: one forward and one backward for all heads")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The result as design.md's contract states it; effect is the change in second-copy loss, in nats."""
    request = request_from(options)
    identity = model_identity(request.model)
    losses = head_scores(request).losses()
    exact = None if options.estimate else causal_map(request, options.mode)
    return {
        "model": model_facts(identity),
        "probe": probe_facts(request.probe(identity), request),
        "mode": options.mode,
        "exact": exact is not None,
        "engine": "gradient" if exact is None else exact.engine,
        "effect": estimated_map(request, options.mode) if exact is None else exact.effect,
        "loss": {"first_copy": losses.first_copy, "second_copy": losses.second_copy},
    }


def text(result: dict[str, Any]) -> str:
    """The heads with the largest effects."""
    effect = np.asarray(result["effect"])
    order = np.argsort(-np.abs(effect), axis=None)[:SHOWN]
    how = "exact" if result["exact"] else "estimated by gradient"
    lines = [
        f"{result['model']['name']}, {result['mode']} ablation of each head alone, {how}; change in second-copy loss (nats)"
    ]
    lines += [f"{head_name(*divmod(int(place), effect.shape[1])):8} {effect.flat[place]:+.3f}" for place in order]
    return "\n".join(lines)
