"""`circuit`: which previous-token heads feed which induction heads; `--prune`: what losing one head does to all others."""

from __future__ import annotations

import argparse
import math
from typing import Any

from core.ablation.cached import prune_each
from core.ablation.subjects import PRUNING_MODES
from core.attention.cached import score_heads
from core.attention.words import state_word
from core.circuits.cached import circuit
from core.circuits.circuit import PREVIOUS_TOKEN_FLOOR
from core.commands.options import add_request, fraction, subject_from
from core.heads import parse_heads
from core.numbers import counted, interval
from core.settings.experiment import EFFECT_FLOOR
from core.sharing.facts import circuit_facts, pruning_facts

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
    parser.add_argument("--induction", type=parse_heads, metavar="L1H0,...", help="induction heads (default: those called)")
    parser.add_argument("--floor", type=fraction, default=EFFECT_FLOOR, help="the contrast floor of heads that are called")
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
    if not result["edges"]:
        lines.append("No previous-token head lies before a called induction head: there is no edge to measure.")
    if result["edges"] and result["rotary_ignored"]:
        lines.append("Compositions leave rotary positions out.")
    if result["composition_withheld"]:
        lines.append(result["composition_withheld"])
    lines += [
        f"{edge['previous']} -> {edge['induction']}: prefix matching {edge['prefix_matching']['clean']:.2f} -> "
        f"{edge['prefix_matching']['patched']:.2f}{_interval(edge)}; {_composition(edge)}"
        for edge in result["edges"]
    ]
    return "\n".join(lines)


def _interval(edge: dict[str, Any]) -> str:
    """Of what is lost; nothing for one sequence."""
    return "" if math.isnan(edge["low"]) else f" (lost: 95 % interval {interval(edge['low'], edge['high'])})"


def _composition(edge: dict[str, Any]) -> str:
    if edge["rank"] is None:
        return "K-composition withheld"
    return (
        f"K-composition {edge['k_composition']:.3f} (random {edge['random_composition']:.3f}), "
        f"{edge['rank']} of {counted(edge['earlier_heads'], 'earlier head')}"
    )


def _prunings(result: dict[str, Any]) -> list[str]:
    lines = []
    for found in result["prunings"]:
        before, after = found["loss"]["clean"], found["loss"]["ablated"]
        lines.append(
            f"without {found['head']}: second copy {before['second_copy']:.2f} -> {after['second_copy']:.2f} nats "
            f"(gain lost {found['gain_lost']:.2f}), first copy {before['first_copy']:.2f} -> {after['first_copy']:.2f}"
        )
        most = sorted(found["prefix_matching"], key=lambda row: row["after"] - row["before"])[:_LINES]
        lines += [f"  {row['head']}: prefix matching {row['before']:.2f} -> {row['after']:.2f}" for row in most]
    return lines
