"""The pass over real text beside its floor: the model library's own forward over the same windows, logits included."""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import numpy as np
import torch

from benchmarks.rows import Row, report
from benchmarks.shapes import SHAPES, random_model
from benchmarks.timing import median_ratio, turns
from core.text.text_pass import measure_text
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import rows_per_pass
from core.transformer.passes.fused import can_fuse

WINDOW = 128
# Losses included: that is what a person gets.
OVER_FORWARDS = 1.3
# As often as some words stand in English text: a few make up half of it, so that repeats are as many.
_COMMON = 4000


def run(shape: str, device: str, windows: int, repeats: int) -> Row:
    """One row: every measure on so many windows over as many bare forwards."""
    model = random_model(shape, device)
    assert can_fuse(model, WINDOW + 1), f"{shape} does not take the fast path"
    chance = 1.0 / np.arange(1, _COMMON + 1)
    tokens = np.random.default_rng(0).choice(_COMMON, size=(windows, WINDOW + 1), p=chance / chance.sum()) + 1
    tokens[:, 0] = 0
    found = turns(
        {"forward": partial(forwards, model, tokens), "text": partial(measure_text, model, tokens, b=1)},
        repeats,
    )
    seconds = statistics.median(found["text"])
    what = f"{shape}, {windows} windows of {WINDOW} tokens: every measure over the bare forwards"
    return Row(what, median_ratio(found["text"], found["forward"]), OVER_FORWARDS, beside=f"{seconds:.1f} s")


def forwards(model: LoadedModel, tokens: np.ndarray) -> None:
    """The floor: the model library's own fastest forward, as many windows at once as the pass takes."""
    model.bare.set_attn_implementation("sdpa")
    try:
        with torch.no_grad():
            for rows in torch.from_numpy(tokens).split(rows_per_pass(model, tokens.shape[1])):
                model.bare(input_ids=rows.to(model.device), use_cache=False)
    finally:
        model.bare.set_attn_implementation("headscope")


def main(arguments: list[str] | None = None) -> list[Row]:
    """Both shapes on one device."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args(arguments)
    rows = [run(shape, options.device, options.windows, options.repeats) for shape in SHAPES]
    return report(f"Real text ({options.device})", rows)


if __name__ == "__main__":
    main()
