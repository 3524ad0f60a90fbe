"""What each page computes when nothing is kept, beside the arithmetic that this takes, on SmolLM2 itself.

The floor of a piece of work: its matrix products, counted while it runs, at the speed that the model library's own forward has
for its own on the same probe. What a page takes above that is reading and writing, small operations and bookkeeping. Each is
made once, in a store of its own: all together take minutes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.rows import Row, report
from benchmarks.verdicts import NAME
from core.ablation.baselines import DEFAULT_BASELINES
from core.ablation.cached import ablate, random_baselines
from core.ablation.cached_sweep import sweep
from core.ablation.sweep import DEFAULT_GRID
from core.attention.cached import row_patterns, score_heads, sensitivity
from core.attention.rows import probe_row
from core.circuits.cached import circuit
from core.head_card.cached import PARTS, head_card
from core.heads import Head, heads_above
from core.models.load import load_model
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.settings.text_choice import TextChoice
from core.settings.view import View
from core.text.cached import chosen_windows_of
from core.verdicts.cached import judge, judged_on_text

OVER_ARITHMETIC = 1.3
HEAD = Head(18, 6)
_REPEATS = 5


def pages(subject: Subject) -> dict[str, Callable[[], object]]:
    """What each page waits for, in the order in which a person would open them: what one has kept the next does not repeat."""
    heads = heads_above(score_heads(subject).mean("induction"), 0.5) or (HEAD,)
    return {
        "Attention": partial(row_patterns, subject, probe_row(subject, 0)),
        "Ablation": lambda: (ablate(subject, heads, "mean", text=None), random_baselines(subject, heads, "mean")),
        "Sweep": partial(sweep, subject, DEFAULT_GRID, "mean", count=DEFAULT_BASELINES),
        "Verdicts": partial(judge, subject),
        "Circuits": partial(circuit, subject, "mean"),
        "Sensitivity": partial(sensitivity, subject, "induction"),
        "Text": lambda: judged_on_text(subject, chosen_windows_of(subject, TextChoice())),
    }


class Arithmetic(TorchDispatchMode):
    """Counts multiplications and additions of matrix products, and costs each operation some millionths of a second.

    The library's own counter also follows which module they are of, which takes as long as a score's small operations do.
    """

    count = 0

    def __torch_dispatch__(self, operation: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        found = operation(*given, **(named or {}))
        formula = flop_registry.get(operation._overloadpacket)
        if formula is not None:
            self.count += formula(*given, **(named or {}), out_val=found)
        return found


def counted(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and multiplications and additions of matrix products."""
    counter: Any = Arithmetic()  # type: ignore[no-untyped-call]
    with counter:
        begin = time.perf_counter()
        work()
        seconds = time.perf_counter() - begin
    return seconds, float(counter.count)


def bare_forward(subject: Subject, sequences: int | None = None) -> tuple[float, float]:
    """The median seconds of the library's own forward over the probe, logits included, and its arithmetic.

    sequences: over so many of it, where a page reads no more: few are slower each.
    """
    module, tokens = load_model(NAME).bare, torch.from_numpy(subject.probe.tokens[:sequences].copy())
    module.set_attn_implementation("sdpa")

    @torch.no_grad()
    def forward() -> None:
        module(input_ids=tokens, use_cache=False)

    try:
        forward()
        found = sorted(counted(forward) for _ in range(_REPEATS))
    finally:
        module.set_attn_implementation("headscope")
    return found[_REPEATS // 2]


def page_rows() -> list[Row]:
    """A row a page, and the head card as somebody gets it who opens nothing else."""
    subject, rows = bind(Request(NAME)), []

    def row(what: str, work: Callable[[], object], beside: str = "") -> None:
        sequences = 1 if what == "Attention" else None
        # The machine's speed drifts: the forward is timed right before and right after.
        before = bare_forward(subject, sequences)
        seconds, operations = counted(work)
        forward = (before[0] + bare_forward(subject, sequences)[0]) / 2
        share = operations / before[1]
        told = f"{seconds:.1f} s; arithmetic of {share:.1f} forwards{beside}"
        rows.extend(
            report(
                what, [Row(f"SmolLM2, {what}: over its arithmetic", seconds / forward / share, OVER_ARITHMETIC, beside=told)]
            )
        )

    row("Heads", partial(score_heads, subject))
    for name, work in pages(subject).items():
        row(name, work)
    anew, view = bind(Request(NAME, seed=1)), View(head=HEAD)
    first = counted(partial(PARTS["patterns"].measure, anew, view))[0]
    row("Head card", partial(head_card, anew, view), f"; where the head looks is there after {first:.1f} s")
    return rows


def main() -> list[Row]:
    """In a store of its own."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, HEADSCOPE_STORE=folder):
        load_model(NAME)
        return page_rows()


if __name__ == "__main__":
    main()
