"""Passes that keep attention patterns: of every head two bytes a cell, quantised inside the hook, or of one head exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, UInt16
from torch import Tensor

from core.attention.patterns import FULL
from core.errors import BadInput
from core.heads import Head
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import Hook, pattern_hook, run_body
from core.transformer.passes.readout import token_losses


@torch.no_grad()
def measure_patterns(
    model: LoadedModel, ids: Sequence[int]
) -> tuple[UInt16[np.ndarray, "n_layers n_heads cells"], Float[np.ndarray, " tokens"]]:
    """Every head's lower triangle, row by row, 65535 = all attention, and each token's loss (see `measure_losses`).

    Raises BadInput if the attention overflows in the model's number format.
    """
    layers: dict[int, UInt16[np.ndarray, "_heads cells"]] = {}
    triangle = tuple(torch.from_numpy(index).to(model.device) for index in np.tril_indices(len(ids)))

    def quantising(layer: int) -> Hook:
        def quantise(pattern: Tensor) -> None:
            cells = _finite(model, pattern[0][:, triangle[0], triangle[1]].float())
            layers[layer] = (cells * FULL).round().to(torch.int32).cpu().numpy().astype(np.uint16)

        return pattern_hook(layer), quantise

    losses = measure_losses(model, ids, [quantising(layer) for layer in model.anatomy.attention])
    if set(layers) != set(model.anatomy.attention):
        raise RuntimeError(f"only {len(layers)} of {len(model.anatomy.attention)} layers showed an attention pattern")
    # Heads that there are not look nowhere.
    found = np.zeros((model.card.n_layers, model.card.n_heads, len(triangle[0])), dtype=np.uint16)
    for layer, cells in layers.items():
        found[layer, : len(cells)] = cells
    return found, losses


@torch.no_grad()
def measure_head_pattern(model: LoadedModel, ids: Sequence[int], head: Head) -> Float[np.ndarray, "tokens tokens"]:
    """One head's pattern as float32; rows are queries. Raises BadInput as `measure_patterns` does."""
    model.check_heads([head])
    kept: list[Float[np.ndarray, "tokens tokens"]] = []

    def keep(pattern: Tensor) -> None:
        # Copied: a view of the layer's pattern would keep all its heads in memory.
        kept.append(_finite(model, pattern[0, head.head].float()).cpu().numpy().copy())

    run_body(model, torch.tensor([list(ids)]), [(pattern_hook(head.layer), keep)], makes_way=True)
    return kept[0]


@torch.no_grad()
def measure_losses(model: LoadedModel, ids: Sequence[int], hooks: Sequence[Hook] = ()) -> Float[np.ndarray, " tokens"]:
    """The loss of every token in nats, by target position, NaN at position 0; from one pass with `hooks` attached."""
    tokens = torch.tensor([list(ids)])
    final = run_body(model, tokens, hooks, makes_way=True).final
    return token_losses(model, final, tokens)[0].cpu().numpy()


def _finite(model: LoadedModel, cells: Tensor) -> Tensor:
    """The cells, after checking that they are numbers: NaN would become an arbitrary weight without a word."""
    if not bool(cells.isfinite().all()):
        raise BadInput(f"This model's attention overflows in {str(model.dtype).removeprefix('torch.')}: use float32.")
    return cells
