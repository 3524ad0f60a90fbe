"""`call`: which heads are induction heads, with the test, the interval and the label."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from typing import Any

from core.calls import call_heads
from core.commands.options import add_request, model_facts, request_from
from core.models.load import model_identity
from core.verdict import EFFECT_FLOOR, Verdict


def configure(parser: argparse.ArgumentParser) -> None:
    """Several lengths instead of one, and the effect floor."""
    add_request(parser, several_lengths=True)
    parser.add_argument("--floor", type=float, default=EFFECT_FLOOR, help="the interval's lower end must be above this")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The result as design.md's contract states it; every head is judged, called ones first."""
    request = request_from(options)
    identity = model_identity(request.model)
    calls = call_heads(request, options.lengths, options.floor)
    called = {(verdict.layer, verdict.head) for verdict in calls.called}
    others = [verdict for verdict in calls.verdicts if (verdict.layer, verdict.head) not in called]
    return {
        "model": model_facts(identity),
        "behaviour": calls.behaviour,
        "lengths": calls.lengths,
        "sequences": calls.sequences,
        "floor": calls.floor,
        "heads": [_row(verdict) for verdict in (*calls.called, *others)],
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
    if len(lines) == 1:
        lines.append("No head got a label.")
    return "\n".join(lines)


def _row(verdict: Verdict) -> dict[str, Any]:
    facts = asdict(verdict)
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
        "sentence": verdict.sentence(),
    }
