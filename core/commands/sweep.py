"""`sweep`: thresholds, the heads they keep, and the loss without these heads, beside other sets."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

from core.ablation.baselines import NONE_ASKED_FOR
from core.ablation.cached_sweep import sweep
from core.ablation.sweep import DEFAULT_THRESHOLDS, threshold_grid
from core.attention.scores import ALL_SCORES
from core.commands.options import add_mode, subject_from
from core.numbers import NOTHING, interval, signed_with_interval, unsigned
from core.settings.modes import MODES
from core.sharing.facts import sweep_facts


def configure(parser: argparse.ArgumentParser) -> None:
    """The grid of thresholds and the mode."""
    add_mode(parser)
    parser.add_argument("--score", choices=list(ALL_SCORES), default="induction", help="the score that thresholds are on")
    parser.add_argument("--thresholds", type=_grid, default=DEFAULT_THRESHOLDS, metavar="START:STOP:STEP")
    parser.add_argument("--all-modes", action="store_true", help="the losses of the other modes, too")


def _grid(words: str) -> tuple[float, float, float]:
    try:
        start, stop, step = (float(word) for word in words.split(":"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be START:STOP:STEP, such as 0.05:0.95:0.05, not {words!r}") from None
    return start, stop, step


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Sweep page downloads."""
    thresholds = threshold_grid(*options.thresholds)
    subject = subject_from(options)
    found = sweep(subject, thresholds, options.mode, score=options.score, count=options.baselines)
    others = [mode for mode in MODES if mode != options.mode] if options.all_modes else []
    beside = {mode: sweep(subject, thresholds, mode, score=options.score, count=0) for mode in others}
    return sweep_facts(subject, options.mode, options.score, found, beside)


def text(result: dict[str, Any]) -> str:
    """A table, lowest threshold first."""
    lines = [
        f"{result['model']['name']}, {result['mode']} ablation; "
        f"clean second-copy loss {unsigned(result['loss']['second_copy'])} nats",
        f"threshold  heads  second copy  {'rise (95 % interval)':>24}  gain lost  other sets, p",
    ]
    for row in result["rows"]:
        mark = "  <- knee" if row["threshold"] == result["knee"] else ""
        rise = signed_with_interval(**row["second_copy_change"])
        lines.append(
            f"{row['threshold']:9.2f}  {row['n_heads']:5}  {unsigned(row['second_copy']):>11}  {rise:>24}  "
            f"{unsigned(row['gain_lost']):>9}  {_others(row)}{mark}"
        )
    return "\n".join([*lines, *_reasons(result["rows"])])


def _reasons(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Why thresholds with heads above them have no p, each reason once."""
    alone = [row for row in rows if row["n_heads"] and math.isnan(row["p"])]
    by_note: dict[str, list[str]] = {}
    for row in alone:
        by_note.setdefault(row["note"] or NONE_ASKED_FOR, []).append(f"{row['threshold']:.2f}")
    return [f"no p at {', '.join(thresholds)}: {note}" for note, thresholds in by_note.items()]


def _others(row: dict[str, Any]) -> str:
    """The other sets' range and p, or a dash where there are none."""
    return (
        NOTHING
        if math.isnan(row["p"])
        else f"{interval(row['baseline_low'], row['baseline_high'])}, p = {unsigned(row['p'], 3)}"
    )
