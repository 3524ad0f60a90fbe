"""`causal`: every head ablated alone, exactly and by gradient."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.ablation.cached import causal_map, estimated_map
from core.attention.cached import score_heads
from core.commands.options import add_mode, subject_from
from core.heads import ranked
from core.sharing.facts import causal_facts

SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """The mode, and whether an estimate will do."""
    add_mode(parser, baselines=False)
    parser.add_argument("--estimate", action="store_true", help="by gradient alone: one forward and one backward for all")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Causal map page downloads; effects are changes of the second-copy loss, in nats."""
    subject = subject_from(options)
    exact = None if options.estimate else causal_map(subject, options.mode)
    losses = score_heads(subject).losses()
    return causal_facts(subject, options.mode, losses, exact, estimated_map(subject, options.mode))


def text(result: dict[str, Any]) -> str:
    """The heads with the largest effects."""
    exact = result["effect"] is not None
    effect = np.asarray(result["effect"] if exact else result["estimate"])
    how = "exact" if exact else "estimated by gradient"
    lines = [
        f"{result['model']['name']}, {result['mode']} ablation of each head alone, {how}; change in second-copy loss (nats)"
    ]
    lines += [f"{head.name:8} {effect[head]:+.3f}" for head in ranked(np.abs(effect))[:SHOWN]]
    return "\n".join(lines)
