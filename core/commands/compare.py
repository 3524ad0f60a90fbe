"""`compare`: any two quantities of every head beside each other, a third beside them, also numbers from a file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from core.attention.cached import check_existing
from core.commands.options import add_mode, add_text_choice, fraction, subject_from, text_choice_from
from core.errors import BadInput
from core.heads import Head, parse_heads
from core.numbers import unsigned
from core.quantities.cached import Asked, obtained
from core.quantities.comparison import compare
from core.quantities.imported import read_file
from core.quantities.table import IMPORTED, QUANTITIES
from core.runtime.jobs import current_control
from core.settings.experiment import EFFECT_FLOOR
from core.settings.view import View
from core.sharing.facts import compare_facts

SHOWN = 10


def configure(parser: argparse.ArgumentParser) -> None:
    """Which quantities, and the file of a person's own numbers."""
    add_mode(parser, baselines=False)
    add_text_choice(parser)
    names, default = list(QUANTITIES), View().axes
    listed = ", ".join(names)
    parser.add_argument("--x", choices=names, default=default.x, metavar="NAME", help=f"one of {listed}")
    parser.add_argument("--y", choices=names, metavar="NAME", help="as --x; by default the imported numbers, if there are any")
    parser.add_argument("--colour", choices=names, metavar="NAME", help="a third one, as --x")
    parser.add_argument("--floor", type=fraction, default=EFFECT_FLOOR, help="the contrast floor of verdicts")
    reading = "of compositions and path patching: the head that reads what the others wrote"
    parser.add_argument("--head", type=parse_heads, metavar="L5H7", help=reading)
    help_text = "CSV or JSON with one number a head: layer, head, value; or L5H7, value; or a matrix [layer][head]"
    parser.add_argument("--import", dest="imported", type=Path, metavar="FILE", help=help_text)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """The object that the Compare page downloads."""
    subject = subject_from(options)
    card = subject.card
    imported = None if options.imported is None else read_file(options.imported, card.n_layers, card.n_heads)
    if options.head is not None and len(options.head) != 1:
        raise BadInput("One head reads what the others wrote: --head L5H7.")
    reader = None if options.head is None else options.head[0]
    if reader is not None:
        check_existing(subject, reader)
    asked = Asked(subject, options.mode, options.floor, imported, reader, text_choice_from(options))
    y = options.y or (View().axes.y if imported is None else IMPORTED)
    wanted = [options.x, y, *([options.colour] if options.colour else [])]
    control, axes = current_control(), []
    for done, name in enumerate(wanted):
        with control.part(done, len(wanted)):
            axes.append(obtained(name, asked))
    return compare_facts(asked, compare(*axes))


def text(result: dict[str, Any]) -> str:
    """The sentences, then the highest heads of each."""
    lines = [f"{result['model']['name']}: {result['x']['title']} against {result['y']['title']}", *result["sentences"]]
    x, y = result["x"]["values"], result["y"]["values"]
    for axis in (result["x"], result["y"]):
        values = axis["values"]
        known = [Head(*place) for place in zip(*(~(x != x) & ~(y != y)).nonzero(), strict=True)]
        highest = sorted(known, key=lambda head: (-values[head], head))[:SHOWN]
        listed = "  ".join(f"{head.name} {_written(values[head])}" for head in highest)
        lines.append(f"{axis['title']} ({axis['unit']}), highest: {listed}")
    return "\n".join(lines)


def _written(value: float) -> str:
    """With two digits after the point, or four in all where those would say nothing or too much: a file may hold any number."""
    return unsigned(value) if value == 0 or 0.005 <= abs(value) < 1e6 else f"{value:.4g}".replace("-", "−")
