"""A whole verdict, and the screened causal map, of SmolLM2 itself: trained weights decide what must be measured.

Both start from an empty store with the model in memory, as a page does, and are made once: they take minutes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from unittest.mock import patch

import numpy as np
import torch

from benchmarks.rows import Row, report
from benchmarks.score_pass import bare_body
from core.ablation.cached_map import causal_map
from core.ablation.outcomes import CausalMap
from core.attention.cached import first_scores, score_heads
from core.heads import ranked
from core.models.load import load_model
from core.probes.vocabulary import BosPolicy
from core.runtime.jobs import JobControl, running
from core.settings.request import Request
from core.settings.subject import bind
from core.transformer.passes.readout import token_losses
from core.verdicts.cached import judge
from core.verdicts.plan import plan_for, probes_of

NAME = "smollm2-135m"
TOP = 10


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes once."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def verdict_rows() -> list[Row]:
    """The verdict over the bare forwards of its repeated sequences alone, losses of the second copy included."""
    subject, model = bind(Request(NAME)), load_model(NAME)
    plan = plan_for(subject)

    @torch.no_grad()
    def one_half() -> None:
        for probe in probes_of(plan.picking):
            for start in range(0, probe.n_sequences, 4):
                tokens = torch.from_numpy(np.array(probe.tokens[start : start + 4]))
                token_losses(model, bare_body(model, tokens), tokens, torch.from_numpy(probe.layout.second_copy_targets))

    one_half()
    floor = seconds(one_half)
    whole = seconds(lambda: judge(subject))
    count = sum(probe.n_sequences for probe in probes_of(plan.picking))
    beside = f"{count} sequences; {whole:.0f} s, the bare forwards of one half {floor:.0f} s"
    return [Row("SmolLM2: verdict over the bare forwards of one half", whole / floor, 4.6, beside=beside)]


class Watcher(JobControl):
    """Keeps when each partial map came, and which heads it had."""

    def __init__(self) -> None:
        super().__init__()
        self.begin, self.came = time.perf_counter(), list[tuple[float, CausalMap]]()

    def partial(self, value: CausalMap) -> None:
        self.came.append((time.perf_counter() - self.begin, value))


def map_rows(bos: BosPolicy) -> list[Row]:
    """When the ten heads that matter most are there, as a share of the time of the whole exact map."""
    subject = bind(Request(NAME, bos=bos))
    score_heads(subject)
    watcher = Watcher()
    with running(watcher):
        exact = causal_map(subject, "mean").effect
    top = ranked(np.abs(exact))[:TOP]
    counts = [(when, sum(bool(np.isfinite(part.effect[head])) for head in top)) for when, part in watcher.came]
    whole = watcher.came[-1][0]
    complete = next(when for when, count in counts if count == TOP)
    steps = ", ".join(f"{count} after {when:.0f} s" for when, count in counts[:3])
    probe = "with a BOS" if bos == "always" else "its own BOS policy"
    what = f"SmolLM2, {probe}: top {TOP} of the causal map complete, share of the whole"
    return [Row(what, complete / whole, 0.2, beside=f"{steps}; {TOP} after {complete:.0f} s of {whole:.0f} s")]


def first_rows() -> list[Row]:
    """What the heat map waits for, over all four halves."""
    subject = bind(Request(NAME, seed=7))
    first = seconds(lambda: first_scores(subject))
    rest = seconds(lambda: score_heads(subject))
    return [Row("SmolLM2: heat map there, share of scores and behaviour", first / (first + rest))]


def main() -> list[Row]:
    """In a store of its own."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, HEADSCOPE_STORE=folder):
        load_model(NAME)
        # Each printed when it is there: all together take a quarter of an hour.
        return [
            *report("First picture (SmolLM2-135M)", first_rows()),
            *report("Verdict (SmolLM2-135M)", verdict_rows()),
            *report("Causal map (SmolLM2-135M)", [*map_rows("always"), *map_rows("auto")]),
        ]


if __name__ == "__main__":
    main()
