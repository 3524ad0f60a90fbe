"""`score`: every score of every head on repeated random tokens, and whether the behaviour is there at all."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.attention.cached import head_scores
from core.attention.scores import ALL_SCORES, chance_levels, head_name, heads_above
from core.commands.options import add_request, model_facts, probe_facts, progress, request_from
from core.models.load import model_identity

SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """The shared options are all there is."""
    add_request(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The result as design.md's contract states it."""
    request = request_from(options)
    identity = model_identity(request.model)
    probe = request.probe(identity)
    scores = head_scores(request, progress)
    losses = scores.losses()
    return {
        "model": model_facts(identity),
        "probe": probe_facts(probe, request),
        "loss": {
            "first_copy": losses.first_copy,
            "second_copy": losses.second_copy,
            "gain": losses.gain,
            "ln_length": losses.ln_length,
        },
        "behaviour": losses.behaviour,
        "scores": {name: scores.mean(name) if name in scores.names else None for name in ALL_SCORES},
        "chance": chance_levels(scores.layout),
        "engine": scores.engine,
    }


def text(result: dict[str, Any]) -> str:
    """The result for a reader: behaviour first, then the highest heads of each score beside chance."""
    model, probe, loss = result["model"], result["probe"], result["loss"]
    drawn = (
        "given ids"
        if probe["token_range"] is None
        else "ids {}..{}".format(probe["token_range"][0], probe["token_range"][1] - 1)
    )
    lines = [
        f"{model['name']}: {model['n_layers']} layers x {model['n_heads']} heads; {probe['sequences']} sequences of length "
        f"{probe['length']}, {'with' if probe['has_bos'] else 'without'} BOS, tokens from {drawn}",
        f"behaviour {result['behaviour'].upper()}: first copy {loss['first_copy']:.2f} nats, second copy "
        f"{loss['second_copy']:.2f}, ln L {loss['ln_length']:.2f}",
    ]
    if result["behaviour"] == "absent":
        lines.append("The second copy is not predicted better than ln L, so head labels are unreliable here.")
    lines += [f"warning: {warning}" for warning in probe["warnings"]]
    for name, score in ALL_SCORES.items():
        if result["scores"][name] is not None:
            values = np.asarray(result["scores"][name])
            best = heads_above(values, -np.inf)[:SHOWN]
            listed = "  ".join(f"{head_name(*place)} {values[place]:.2f}" for place in best)
            lines.append(f"{score.title:28} (chance {result['chance'][name]:.3f})  {listed}")
    return "\n".join(lines)
