"""`call`: which heads are induction heads, with the test, the interval and the label."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from typing import Any

from core.ablation.cached import CausalMap, causal_map, stored_causal_map
from core.attention.cached import ScoreRequest
from core.commands.options import add_request, model_facts, probe_facts, request_from
from core.heads import MODES
from core.models.load import model_identity
from core.probes.repeated import ProbeOptions
from core.verdicts.cached import Calls, call_heads
from core.verdicts.costs import cost_of, layers_to_measure
from core.verdicts.judge import EFFECT_FLOOR, Verdict
from core.verdicts.tables import sentence, told


def configure(parser: argparse.ArgumentParser) -> None:
    """Several lengths instead of one, the effect floor, and whether to measure what removing called heads costs."""
    add_request(parser, several_lengths=True)
    parser.add_argument("--floor", type=float, default=EFFECT_FLOOR, help="the interval's lower end must be above this")
    parser.add_argument("--costs", action="store_true", help="measure what removing a called head costs; else what is at hand")
    parser.add_argument("--mode", choices=MODES, default="mean", help="for costs: what stands in for a removed head's output")
    parser.add_argument(
        "--cost-length", type=int, metavar="L", help="for costs: tokens in each copy (default: the middle length)"
    )
    parser.add_argument("--cost-sequences", type=int, default=ProbeOptions.sequences, metavar="N", help="for costs: how many")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The result as design.md's contract states it; every head is judged, called ones first."""
    request = request_from(options)
    identity = model_identity(request.model)
    calls = call_heads(request, options.lengths, options.floor)
    called = {(verdict.layer, verdict.head) for verdict in calls.called}
    others = [verdict for verdict in calls.verdicts if (verdict.layer, verdict.head) not in called]
    cost_request = _cost_request(request, options, calls)
    if options.costs:
        causal_map(cost_request, options.mode, layers_to_measure(told(calls)))
    effects = stored_causal_map(cost_request, options.mode)
    return {
        "model": model_facts(identity),
        "behaviour": calls.behaviour,
        "lengths": calls.lengths,
        "sequences": calls.sequences,
        "floor": calls.floor,
        "costs": effects and {"mode": effects.mode, "probe": probe_facts(cost_request.probe(identity), cost_request)},
        "heads": [_row(verdict, calls, effects) for verdict in (*calls.called, *others)],
    }


def text(result: dict[str, Any]) -> str:
    """A sentence for each head that got a label."""
    lines = [
        f"{result['model']['name']}: {result['sequences']} sequences, lengths {', '.join(map(str, result['lengths']))}, "
        f"effect floor {result['floor']}; behaviour {result['behaviour'].upper()}"
    ]
    if result["behaviour"] == "absent":
        lines.append("The second copy is not predicted better than ln L at any length: do not trust the labels.")
    lines += [row["sentence"] for row in result["heads"] if row["label"] != "none"]
    if not any(row["label"] != "none" for row in result["heads"]):
        lines.append("No head got a label.")
    if result["costs"] is not None:
        probe = result["costs"]["probe"]
        lines.append(
            f"Costs: {result['costs']['mode']} ablation of one head alone, {probe['sequences']} sequences of length "
            f"{probe['length']}; random heads: the median of its layer's others that are not called."
        )
    return "\n".join(lines)


def _cost_request(request: ScoreRequest, options: argparse.Namespace, calls: Calls) -> ScoreRequest:
    """The probe of the costs: the given tokens, else drawn at one length."""
    if request.tokens is not None:
        return request
    length = calls.lengths[len(calls.lengths) // 2] if options.cost_length is None else options.cost_length
    return replace(request, options=replace(request.options, length=length, sequences=options.cost_sequences))


def _row(verdict: Verdict, calls: Calls, effects: CausalMap | None) -> dict[str, Any]:
    facts = asdict(verdict)
    cost = cost_of(verdict, calls, effects)
    return {
        "head": verdict.name,
        "label": verdict.label,
        "induction": verdict.induction,
        "contrast": verdict.contrast,
        "q": verdict.q,
        "ci": [verdict.low, verdict.high],
        "copying": verdict.copying,
        "logit_copying": verdict.logit_copying,
        "dla": verdict.attribution,
        "previous_token": facts["previous_token"],
        "duplicate_token": facts["duplicate_token"],
        "sink": facts["sink"],
        "effect": cost.effect,
        "random_heads": cost.random_heads,
        "sentence": sentence(verdict, calls, effects),
    }
