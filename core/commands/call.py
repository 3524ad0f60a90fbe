"""`call`: which heads are induction heads, with the test, the intervals, the label and what each clause rests on."""

from __future__ import annotations

import argparse
from typing import Any

from core.attention.words import state_word
from core.commands.options import add_request, fraction, subject_from
from core.numbers import counted
from core.settings.experiment import EFFECT_FLOOR
from core.settings.modes import MODES
from core.sharing.facts import call_facts
from core.verdicts.cached import judge, nominees
from core.verdicts.words import lengths_words


def configure(parser: argparse.ArgumentParser) -> None:
    """Several lengths instead of one, the contrast floor, and what stands in for a head that is taken away."""
    add_request(parser, several_lengths=True)
    parser.add_argument(
        "--floor", type=fraction, default=EFFECT_FLOOR, help="the contrast floor: the contrasts' intervals must be above it"
    )
    parser.add_argument("--mode", choices=MODES, default="mean", help="what stands in for the output of a head taken away")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Verdicts page downloads; every head is judged, called ones first."""
    subject = subject_from(options)
    judged = judge(subject, options.lengths, options.floor, mode=options.mode)
    found = nominees(subject, options.lengths, options.floor, mode=options.mode)
    return call_facts(subject, judged, found)


def text(result: dict[str, Any]) -> str:
    """A sentence for each head that got a label, or that matters without one, and what they rest on."""
    state = result["behaviour"]["state"]
    lines = [
        f"{result['model']['name']}: {counted(result['sequences'], 'sequence')} of {lengths_words(result['lengths'])}, "
        f"contrast floor {result['floor']}; behaviour {state_word(state).upper()}"
    ]
    if state == "absent":
        lines.append("The behaviour is absent at every length: labels say where heads look, not that the model does induction.")
    labelled = [row["sentence"] for row in result["heads"] if row["label"] != "none"]
    lines += labelled or ["No head got a label."]
    lines += [row["sentence"] for row in result["unexplained"]]
    return "\n".join([*lines, *result["sentences"]])
