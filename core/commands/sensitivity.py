"""`sensitivity`: how a score moves with length, seed and BOS."""

from __future__ import annotations

import argparse
from typing import Any

from core.attention.cached import check_existing, sensitivity
from core.attention.scores import ALL_SCORES
from core.commands.options import add_request, fraction, subject_from
from core.heads import parse_heads
from core.numbers import counted, with_interval
from core.settings.view import DEFAULT_THRESHOLD
from core.sharing.facts import sensitivity_facts

MOST_HEADS = 6


def configure(parser: argparse.ArgumentParser) -> None:
    """Which score, of which heads, and the threshold that they may cross."""
    add_request(parser)
    parser.add_argument("--score", choices=list(ALL_SCORES), default="induction")
    parser.add_argument("--heads", type=parse_heads, metavar="L1H0,...", help="by name (default: the highest)")
    parser.add_argument("--threshold", type=fraction, default=DEFAULT_THRESHOLD, metavar="T")


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Sensitivity page downloads."""
    subject = subject_from(options)
    # In the order in which they were asked for, as the page shows them.
    asked_for = tuple(dict.fromkeys(options.heads or ()))
    for head in asked_for:
        check_existing(subject, head)
    found = sensitivity(subject, options.score)
    wanted = asked_for or found.top(MOST_HEADS)
    return sensitivity_facts(subject, found, wanted, options.threshold)


def text(result: dict[str, Any]) -> str:
    """One line a setting."""
    lines = [
        f"{result['model']['name']}, {ALL_SCORES[result['score']].title}, "
        f"{counted(result['sequences'], 'sequence')} at each setting"
    ]
    lines += [
        f"  {row['name']} {row['varied']} {row['setting']}: "
        + with_interval(row[result["score"]], row["low"], row["high"], result["threshold"])
        for row in result["settings"]
    ]
    always = ", ".join(result["above_always"]) or "none"
    return "\n".join([*lines, f"above {result['threshold']:.2f} at every setting: {always}"])
