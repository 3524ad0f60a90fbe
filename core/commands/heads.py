"""Options of the commands that take heads away."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

from core.ablation.baselines import DEFAULT_CONTROLS
from core.commands.options import add_request
from core.errors import BadInput
from core.heads import MODES


def add_mode(parser: argparse.ArgumentParser, *, controls: bool = True) -> None:
    """The shared options, the ablation mode, and how many random sets to compare with."""
    add_request(parser)
    parser.add_argument("--mode", choices=MODES, default="mean", help="what stands in for an ablated head's output")
    if controls:
        parser.add_argument("--controls", type=int, default=DEFAULT_CONTROLS, metavar="K", help="random sets, matched by layer")


def parse_heads(text: str) -> tuple[tuple[int, int], ...]:
    """`L1H0,L1H2` as places.

    Raises BadInput for anything else.
    """
    places = []
    for name in text.split(","):
        match = re.fullmatch(r"\s*L(\d{1,6})H(\d{1,6})\s*", name)
        if match is None:
            raise BadInput(f"Heads are named like L5H7,L6H0; {name.strip()!r} is not.")
        places.append((int(match[1]), int(match[2])))
    return tuple(places)


def listed(heads: Sequence[tuple[int, int]]) -> list[str]:
    """Places as names."""
    return [f"L{layer}H{head}" for layer, head in heads]
