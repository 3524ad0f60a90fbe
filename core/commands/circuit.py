"""`circuit`: which previous-token heads feed which induction heads; `--prune`: what losing one head does to all others."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from core.ablation.cached import prune_each
from core.ablation.subjects import PRUNING_MODES
from core.ablation.words import change_words, gain_lost_words
from core.attention.cached import score_heads
from core.attention.words import state_word
from core.circuits.cached import circuit
from core.circuits.circuit import PREVIOUS_TOKEN_FLOOR
from core.circuits.words import lost_interval, no_edge_sentence
from core.commands.options import add_request, fraction, subject_from
from core.heads import parse_heads
from core.numbers import counted, digits_that_add_up, is_or_are, unsigned
from core.settings.experiment import EFFECT_FLOOR
from core.sharing.facts import circuit_facts, pruning_facts
from core.stats import Number

_LINES = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Which heads, what stands in for a head, and whether to prune some instead."""
    add_request(parser)
    parser.add_argument("--mode", choices=PRUNING_MODES, default="mean", help="what stands in for a head's output")
    parser.add_argument(
        "--previous",
        type=parse_heads,
        metavar="L0H1,...",
        help=f"previous-token heads (default: score > {PREVIOUS_TOKEN_FLOOR})",
    )
    parser.add_argument("--induction", type=parse_heads, metavar="L1H0,...", help="induction heads (default: as `call` finds)")
    parser.add_argument("--floor", type=fraction, default=EFFECT_FLOOR, help="the contrast floor of induction heads")
    parser.add_argument("--prune", type=parse_heads, metavar="L3H8,...", help="take each away alone and measure all others")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Circuits page downloads."""
    subject = subject_from(options)
    if options.prune is not None:
        return pruning_facts(subject, prune_each(subject, options.prune, options.mode))
    found = circuit(subject, options.mode, previous=options.previous, induction=options.induction, floor=options.floor)
    return circuit_facts(subject, found, score_heads(subject).behaviour)


def text(result: dict[str, Any]) -> str:
    """The edges, the largest drop first; or the heads that change most without each pruned one."""
    if "prunings" in result:
        return "\n".join([f"{result['model']['name']}, {result['mode']} in place of a head", *_prunings(result)])
    state = result["behaviour"]["state"]
    lines = [f"{result['model']['name']}, {result['mode']} in place of a head; behaviour {state_word(state).upper()}"]
    if not result["induction_heads"]:
        lines.append("No head is shown to be an induction head here, so there is no circuit.")
    elif not result["edges"]:
        writing = result["previous_token_heads"]
        lines.append(
            no_edge_sentence(
                parse_heads(",".join(writing)) if writing else (), parse_heads(",".join(result["induction_heads"]))
            )
        )
    else:
        linked = {edge["previous"] for edge in result["edges"]}
        if apart := [name for name in result["previous_token_heads"] if name not in linked]:
            lines.append(f"{', '.join(apart)} {is_or_are(len(apart))} in no layer before an induction head: without an edge.")
    if result["edges"] and result["rotary_ignored"]:
        lines.append("Compositions leave rotary positions out.")
    if result["composition_withheld"]:
        lines.append(result["composition_withheld"])
    lines += [
        f"{edge['previous']} -> {edge['induction']}: prefix matching {unsigned(edge['prefix_matching']['clean'])} -> "
        f"{unsigned(edge['prefix_matching']['patched'])}{_interval(edge)}; {_composition(edge)}"
        for edge in result["edges"]
    ]
    return "\n".join(lines)


def _interval(edge: dict[str, Any]) -> str:
    """Of what is lost, with as many digits as tell it from nothing and from a small drop."""
    low, high = edge["low"], edge["high"]
    if math.isnan(low):
        return " (one sequence gives no interval)"
    return f" (lost: 95 % interval {lost_interval(low, high)})"


def _composition(edge: dict[str, Any]) -> str:
    if edge["rank"] is None:
        return "K-composition withheld"
    return (
        f"K-composition {unsigned(edge['k_composition'], 3)} (random {unsigned(edge['random_composition'], 3)}), "
        f"{edge['rank']} of {counted(edge['earlier_heads'], 'earlier head')}"
    )


def _prunings(result: dict[str, Any]) -> list[str]:
    lines = []
    for found in result["prunings"]:
        before, after = found["loss"]["clean"], found["loss"]["ablated"]
        change = Number(**found["second_copy_change"])
        digits = digits_that_add_up(before["second_copy"], change.value, after["second_copy"])
        lines.append(
            f"without {found['head']}: second copy {unsigned(before['second_copy'], digits)} -> "
            f"{unsigned(after['second_copy'], digits)} nats, {change_words(change, result['probe']['sequences'], digits)}, "
            f"gain lost: {gain_lost_words(found['gain_lost'])}; "
            f"first copy {unsigned(before['first_copy'])} -> {unsigned(after['first_copy'])}"
        )
        lost = {end: np.asarray(values) for end, values in found["prefix_matching_lost"].items()}
        rows = [
            row | {end: values[parse_heads(row["head"])[0]] for end, values in lost.items()} for row in found["prefix_matching"]
        ]
        lines += [
            f"  {row['head']}: prefix matching {unsigned(row['before'])} -> {unsigned(row['after'])}{_interval(row)}"
            for row in sorted(rows, key=lambda row: row["after"] - row["before"])[:_LINES]
        ]
    return lines
