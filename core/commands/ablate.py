"""`ablate`: what the loss and the right token's logit become without some heads, beside other sets of the same size."""

from __future__ import annotations

import argparse
from typing import Any

from core.ablation.cached import ablate, random_baselines, total_effect
from core.ablation.subjects import checked_heads, heads_of
from core.ablation.words import change_words, gain_lost_words, total_effect_words, unknown_words
from core.attention.cached import check_existing, score_heads
from core.commands.options import add_mode, fraction, subject_from
from core.errors import BadInput
from core.heads import heads_above, parse_heads
from core.numbers import counted, digits_that_add_up, interval, unsigned
from core.sharing.facts import ablation_facts
from core.stats import Number
from core.text.paragraph import PARAGRAPH


def configure(parser: argparse.ArgumentParser) -> None:
    """Which heads, and what to do with them."""
    add_mode(parser)
    parser.add_argument("--threshold", type=fraction, metavar="T", help="heads whose induction score is above T")
    parser.add_argument("--heads", type=parse_heads, metavar="L1H0,L1H2", help="heads by name")
    parser.add_argument("--keep", action="store_true", help="ablate every head but these (are they sufficient?)")
    parser.add_argument("--text", default=PARAGRAPH, help="the text that specificity is measured on (default: built in)")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Ablation page downloads."""
    if (options.threshold is None) == (options.heads is None):
        raise BadInput("Say which heads: either --threshold T or --heads L1H0,L1H2.")
    subject = subject_from(options)
    heads = options.heads
    if heads is None:
        heads = heads_above(score_heads(subject).mean("induction"), options.threshold)
    if options.keep:
        kept = checked_heads(subject, heads)
        for head in kept:
            # Everything would be taken away but a head that there is not.
            check_existing(subject, head)
        heads = tuple(head for head in heads_of(subject) if head not in kept)
    result = ablate(subject, heads, options.mode, text=options.text)
    beside = random_baselines(subject, heads, options.mode, options.baselines)
    effect = total_effect(subject, heads, options.mode)
    return ablation_facts(subject, result.heads, result.mode, result, effect, beside, options.text)


def text(result: dict[str, Any]) -> str:
    """Before, after, and beside it the other sets."""
    clean, ablated, baseline = result["loss"]["clean"], result["loss"]["ablated"], result["baseline"]
    change = Number(**result["second_copy_change"])
    digits = digits_that_add_up(clean["second_copy"], change.value, ablated["second_copy"])
    heads, sequences = result["heads"], result["probe"]["sequences"]
    lines = [
        f"{result['model']['name']}, {result['mode']} ablation of {len(heads)} {'head' if len(heads) == 1 else 'heads'}: "
        f"{', '.join(heads) or 'none'}",
        f"second copy {unsigned(clean['second_copy'], digits)} -> {unsigned(ablated['second_copy'], digits)} nats "
        f"(gain lost: {gain_lost_words(result['gain_lost'])}); "
        f"first copy {unsigned(clean['first_copy'])} -> {unsigned(ablated['first_copy'])}",
        f"change in the second copy: {change_words(change, sequences, digits)}",
    ]
    if heads:
        effect = result["total_effect"]
        shares = Number(*(effect[part] for part in Number._fields))
        in_logits, unit = Number(**effect["logits"]), Number(**effect["gain_in_logits"])
        said = total_effect_words(len(heads), result["mode"], shares, in_logits, unit, sequences)
        lines.append(said.replace("**", ""))
    if baseline["sets"]:
        lines.append(
            f"{counted(len(baseline['sets']), 'other set')}: {interval(baseline['low'], baseline['high'])} nats, "
            f"p = {unsigned(baseline['p'], 3)} (at least {unsigned(baseline['smallest_p'], 3)}); "
            f"without any head of these layers {unsigned(baseline['bound'])}"
        )
    if baseline["note"]:
        lines.append(baseline["note"])
    if (on_text := result["text"]) is not None:
        lines.append(f"text {unsigned(on_text['clean'])} -> {unsigned(on_text['ablated'])} nats")
        if said := unknown_words(result["model"]["name"], on_text["unknown"], on_text["tokens"]):
            lines.append(said)
    elif result["text_left_out"]:
        lines.append(result["text_left_out"])
    return "\n".join(lines)
