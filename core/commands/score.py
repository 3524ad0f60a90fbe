"""`score`: every score of every head on repeated random tokens, and whether the behaviour is there at all."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from core.attention.cached import score_heads
from core.attention.scores import ALL_SCORES
from core.attention.words import sizes_words, state_word
from core.behaviour import PRESENT_ABOVE, WEAK_ABOVE
from core.commands.options import add_request, subject_from
from core.heads import ranked
from core.numbers import counted, interval, share, unsigned, with_interval
from core.sharing.facts import score_facts

SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """The shared options are all there is."""
    add_request(parser)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Heads page downloads."""
    subject = subject_from(options)
    return score_facts(subject, score_heads(subject))


def text(result: dict[str, Any]) -> str:
    """The result for a reader: behaviour first, then the highest heads of each score beside chance."""
    model, probe, loss = result["model"], result["probe"], result["loss"]
    given = probe["token_range"] is None
    drawn = "given ids" if given else f"ids {probe['token_range'][0]}..{probe['token_range'][1] - 1}"
    found, exists = result["behaviour"], ~np.isnan(np.asarray(result["scores"]["induction"], float))
    lines = [
        f"{model['name']}: {sizes_words(exists, 'x')}; {counted(probe['sequences'], 'sequence')} of length "
        f"{probe['length']}, {'with' if probe['has_bos'] else 'without'} BOS, tokens from {drawn}",
        f"behaviour {state_word(found['state']).upper()}: better by {share(found['e'])} of the loss without a copy "
        f"({share(found['low'], PRESENT_ABOVE, WEAK_ABOVE)} at the lower end of its 95 % interval); "
        f"{share(found['top1'])} of the repeated tokens ranked first",
        f"loss in nats: repeated {unsigned(found['rep'])}, rotated {unsigned(found['rot'])}, shuffled "
        f"{unsigned(found['shuf'])}, fresh {unsigned(found['fresh'])}; first copy {unsigned(loss['first_copy'])}; ln L "
        f"{unsigned(loss['ln_length'])} (knowing only which tokens occur)",
    ]
    # Where the mean alone would say more than its interval, it is sequences that are missing.
    next_above = {"weak": PRESENT_ABOVE, "absent": WEAK_ABOVE}.get(found["state"])
    if next_above is not None and found["e"] > next_above:
        lines.append("The sequences differ too much to show more: take more of them.")
    elif found["state"] == "absent":
        lines.append("The model does not do induction here, so head labels are unreliable.")
    lines += [f"warning: {warning}" for warning in probe["warnings"]]
    several = probe["sequences"] > 1
    brackets = "in brackets 95 % intervals over sequences" if several else "one sequence gives no interval"
    lines.append(f"the highest heads of each score ({brackets}):")
    for name, score in ALL_SCORES.items():
        if result["scores"][name] is not None:
            values = np.asarray(result["scores"][name])
            low, high = (np.asarray(result[end][name]) for end in ("low", "high"))
            listed = "  ".join(
                f"{head.name} {with_interval(values[head], low[head], high[head])}" for head in ranked(values)[:SHOWN]
            )
            lines.append(f"{score.title:28} ({_chance(result, name)})  {listed}")
    lines += result["withheld"].values()
    return "\n".join(lines)


def _chance(result: dict[str, Any], name: str) -> str:
    """Of all layers, or the least and the most of those that are known."""
    level = result["chance"][name]
    if level is not None:
        return f"chance {unsigned(level, 3)}"
    levels = np.asarray(result["chance_by_layer"][name], dtype=float)
    if np.isnan(levels).all():
        return "chance unknown"
    return f"chance {interval(np.nanmin(levels), np.nanmax(levels), 3)}, by layer"
