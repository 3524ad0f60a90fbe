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
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode

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
        "Circuits": partial(circuit, subject, "mean"),
        "Sensitivity": partial(sensitivity, subject, "induction"),
        "Verdicts": partial(judge, subject),
        "Text": lambda: judged_on_text(subject, chosen_windows_of(subject, TextChoice())),
    }


def counted(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and multiplications and additions of matrix products."""
    with FlopCounterMode(display=False) as counter:
        begin = time.perf_counter()
        work()
        seconds = time.perf_counter() - begin
    return seconds, float(counter.get_total_flops())


def bare_forward(subject: Subject) -> tuple[float, float]:
    """The median seconds of the library's own forward over the probe, logits included, and its arithmetic."""
    module, tokens = load_model(NAME).bare, torch.from_numpy(subject.probe.tokens.copy())
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
        # The machine's speed drifts: the forward is timed right before and right after.
        before = bare_forward(subject)
        seconds, operations = counted(work)
        forward = (before[0] + bare_forward(subject)[0]) / 2
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
