"""Ablations beside their floor and beside what a user would run: the exact map, the gradient estimate, control sets."""

from __future__ import annotations

import argparse
import statistics
from functools import partial

import numpy as np
import torch

from benchmarks.rows import Row, report
from benchmarks.score_pass import bare_body
from benchmarks.shapes import SHAPES, random_model, repeated_tokens
from benchmarks.timing import median_ratio, turns
from core.ablation.ablator import Ablator
from core.ablation.baselines import baseline_sets
from core.ablation.causal import estimated_effects, layer_losses
from core.heads import Head
from core.probes.layout import Layout
from core.transformer.anatomy import run_module
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import attached, z_hook
from core.transformer.passes.readout import token_losses

LAYOUT = Layout(50, 1)
SEQUENCES = 4
CONTROLS = 20


def run(shape: str, device: str, dtype: torch.dtype, repeats: int) -> list[Row]:
    """Rows of one shape. Three layers stand for all: the first, the middle and the last, whose mean cost is that of all."""
    model = random_model(shape, device, dtype)
    tokens = repeated_tokens(model, SEQUENCES, LAYOUT)
    ablator = Ablator(model, tokens.numpy())
    ids = tokens.to(device)
    n_layers, n_heads = model.card.n_layers, model.card.n_heads
    layers = (0, n_layers // 2, n_layers - 1)
    final = bare_body(model, ids)
    targets = torch.from_numpy(LAYOUT.second_copy_targets)
    start = n_layers * 3 // 5
    heads = tuple(Head(layer, 0) for layer in range(start, min(start + 3, n_layers)))
    sets = baseline_sets(heads, n_layers, n_heads, CONTROLS).sets

    @torch.no_grad()
    def unembed() -> torch.Tensor:
        return token_losses(model, final, ids, targets)

    times = turns(
        {
            "body": lambda: bare_body(model, ids),
            "unembed": unembed,
            "forward": lambda: _forward(model, ids),
            "loop": lambda: _one_hooked_forward(model, ids),
            "estimate": lambda: estimated_effects(ablator, "zero", LAYOUT),
            "baselines": lambda: ablator.token_loss(sets, "zero"),
            **{f"map {layer}": partial(layer_losses, ablator, layer, "zero", LAYOUT) for layer in layers},
        },
        repeats,
    )
    found = {name: statistics.median(seconds) for name, seconds in times.items()}
    measured = sum(found[f"map {layer}"] for layer in layers)
    shares = [(n_layers - layer) / n_layers for layer in layers]
    floor = sum(n_heads * (share * found["body"] + found["unembed"]) for share in shares)
    probe = f"{shape}, {SEQUENCES} x {LAYOUT.n_tokens} tokens"
    whole = (
        f"all {n_layers * n_heads} heads: about {measured / len(layers) * n_layers:.0f} s, floor {floor / 3 * n_layers:.0f} s"
    )
    loop = found["loop"] * n_heads * len(layers)
    faster = 8.0 if device.startswith("cuda") and shape.startswith("GPT-2") else 1.7
    baselines = median_ratio(times["baselines"], times["forward"]) / CONTROLS
    from_layer = f"from layer {start} of {n_layers}"
    return [
        Row(f"{probe}: exact map over its floor", measured / floor, 1.2, beside=whole),
        Row(f"{probe}: faster than one hooked forward a head", loop / measured, faster, at_least=True),
        Row(
            f"{probe}: gradient estimate of all heads, in bare forwards", median_ratio(times["estimate"], times["forward"]), 4.0
        ),
        Row(f"{probe}: {CONTROLS} baselines over {CONTROLS} full forwards", baselines, 0.7, beside=from_layer),
    ]


@torch.no_grad()
def _forward(model: LoadedModel, ids: torch.Tensor) -> torch.Tensor:
    """A bare forward with all logits."""
    found: torch.Tensor = model.module.lm_head(bare_body(model, ids))
    return found


@torch.no_grad()
def _one_hooked_forward(model: LoadedModel, ids: torch.Tensor) -> np.ndarray:
    """What a tutorial does for one head: a whole hooked pass, then the loss of the second copy."""

    def zero(z: torch.Tensor) -> torch.Tensor:
        z = z.clone()
        z[:, :, 0] = 0
        return z

    with attached(model, [(z_hook(0), zero)]):
        logits = run_module(model.module, ids)
    half = LAYOUT.length + LAYOUT.b
    return torch.nn.functional.cross_entropy(
        logits[:, half:-1].flatten(0, 1), ids[:, half + 1 :].flatten(), reduction="none"
    ).numpy(force=True)


def main(arguments: list[str] | None = None) -> list[Row]:
    """Both shapes on one device."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    dtype = getattr(torch, options.dtype)
    rows = [row for shape in SHAPES for row in run(shape, options.device, dtype, options.repeats)]
    return report(f"Ablations ({options.device}, {options.dtype})", rows)


if __name__ == "__main__":
    main()
