"""`causal`: every head ablated alone; of a larger model the screen's heads first, and with `--screen` only these."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.ablation.cached_map import causal_map, screen_estimate, screened_map
from core.ablation.screening import ALWAYS_EXACT_LAYERS
from core.attention.cached import score_heads
from core.commands.options import add_mode, subject_from
from core.heads import ranked
from core.numbers import counted, signed, signed_interval
from core.sharing.facts import causal_facts

SHOWN = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """The mode, and whether the screen will do."""
    add_mode(parser, baselines=False)
    help_text = f"above {ALWAYS_EXACT_LAYERS} layers, measure only the heads that the gradient and the scores pick"
    parser.add_argument("--screen", action="store_true", help=help_text)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Causal map page downloads; effects are changes of the second-copy loss, in nats."""
    subject = subject_from(options)
    found = screened_map(subject, options.mode) if options.screen else causal_map(subject, options.mode)
    return causal_facts(subject, options.mode, score_heads(subject).losses(), found, screen_estimate(subject, options.mode))


def text(result: dict[str, Any]) -> str:
    """The heads with the largest measured effects, each with its interval."""
    measured = np.asarray(result["measured"])
    low, high = np.asarray(result["low"], float), np.asarray(result["high"], float)
    effect = np.where(measured, np.asarray(result["effect"], float), np.nan)
    shown = ranked(np.abs(effect))[:SHOWN]
    there, one = counted(int(np.sum(result["exists"])), "head"), np.isnan(low).all()
    over = "on one sequence, which gives no interval" if one else "95 % interval over sequences"
    lines = [
        f"{result['model']['name']}, {result['mode']} ablation of each head alone, {measured.sum()} of "
        f"{there} measured; change in second-copy loss (nats), {over}, of the {len(shown)} largest:"
    ]
    between = {head: "" if one else f"  {signed_interval(low[head], high[head], 3)}" for head in shown}
    lines += [f"{head.name:8} {signed(effect[head], 3)}{between[head]}" for head in shown]
    return "\n".join(lines)
