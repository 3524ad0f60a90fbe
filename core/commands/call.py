"""`call`: which heads are induction heads, with the test, the interval and the label."""

from __future__ import annotations

import argparse
from typing import Any

from core.ablation.cached import causal_map, known_causal_map
from core.attention.words import state_word
from core.commands.options import add_request, fraction, subject_from
from core.probes.probe import ProbeOptions
from core.settings.experiment import EFFECT_FLOOR
from core.settings.modes import MODES
from core.settings.subject import Subject
from core.sharing.facts import call_facts
from core.verdicts.cached import judge
from core.verdicts.costs import layers_to_measure
from core.verdicts.judgement import Judgement
from core.verdicts.words import worth_a_sentence


def configure(parser: argparse.ArgumentParser) -> None:
    """Several lengths instead of one, the effect floor, and whether to measure what removing called heads costs."""
    add_request(parser, several_lengths=True)
    parser.add_argument("--floor", type=fraction, default=EFFECT_FLOOR, help="the interval's lower end must be above this")
    parser.add_argument("--costs", action="store_true", help="measure what removing a called head costs; else what is there")
    parser.add_argument("--mode", choices=MODES, default="mean", help="for costs: what stands in for a removed head's output")
    parser.add_argument(
        "--cost-length", type=int, metavar="L", help="for costs: tokens in each copy (default: the middle length)"
    )
    parser.add_argument("--cost-sequences", type=int, default=ProbeOptions.sequences, metavar="N", help="for costs: how many")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Verdicts page downloads; every head is judged, called ones first."""
    subject = subject_from(options)
    judged = judge(subject, options.lengths, options.floor)
    costs_on = _costs_on(subject, options, judged)
    if options.costs:
        causal_map(costs_on, options.mode, layers_to_measure(worth_a_sentence(judged)))
    return call_facts(costs_on, judged, known_causal_map(costs_on, options.mode))


def text(result: dict[str, Any]) -> str:
    """A sentence for each head that got a label."""
    state = result["behaviour"]["state"]
    lines = [
        f"{result['model']['name']}: {result['sequences']} sequences, lengths {', '.join(map(str, result['lengths']))}, "
        f"effect floor {result['floor']}; behaviour {state_word(state).upper()}"
    ]
    if state == "absent":
        lines.append("The model does not do induction at any of these lengths: do not trust the labels.")
    labelled = [row["sentence"] for row in result["heads"] if row["label"] != "none"]
    lines += labelled or ["No head got a label."]
    if result["costs"] is not None:
        probe = result["costs"]["probe"]
        lines.append(
            f"Costs: {result['costs']['mode']} ablation of one head alone, {probe['sequences']} sequences of length "
            f"{probe['length']}; random heads: the median of its layer's others that are not called."
        )
    return "\n".join(lines)


def _costs_on(subject: Subject, options: argparse.Namespace, judged: Judgement) -> Subject:
    """What costs are measured on: the given tokens, else drawn ones of one length."""
    if subject.request.tokens is not None:
        return subject
    length = judged.lengths[len(judged.lengths) // 2] if options.cost_length is None else options.cost_length
    return subject.at(length=length, sequences=options.cost_sequences)
