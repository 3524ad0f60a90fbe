"""The causal map: what each head, ablated alone, does to the second-copy loss.

Exact: one ablation a head, all heads of a layer from one shared clean prefix; only the second copy is unembedded. Estimated:
one forward and one backward for all heads, first order in the change of `z` (attribution patching): cheap, and wrong where
the loss bends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from core.ablation.ablator import Ablator
from core.heads import Head
from core.probes.layout import Layout
from core.settings.modes import Mode


def layer_losses(
    ablator: Ablator, layer: int, mode: Mode, layout: Layout, on_share: Callable[[float], None] | None = None
) -> Float[np.ndarray, "n_heads sequences"]:
    """The mean second-copy loss (nats) of each sequence, with each head of `layer` ablated alone; NaN for none."""
    there = ablator.model.anatomy.heads_in(layer)
    losses = ablator.token_loss(
        [(Head(layer, head),) for head in range(there)], mode, on_share, targets=layout.second_copy_targets
    )
    found = np.full((ablator.model.card.n_heads, len(ablator.tokens)), np.nan)
    found[:there] = losses.mean(-1, dtype=np.float64)
    return found


def clean_losses(ablator: Ablator, layout: Layout) -> Float[np.ndarray, " sequences"]:
    """The mean second-copy loss (nats) of each sequence, with nothing ablated."""
    found: Float[np.ndarray, " sequences"] = ablator.clean[:, layout.second_copy_targets].mean(-1, dtype=np.float64)
    return found


def estimated_effects(ablator: Ablator, mode: Mode, layout: Layout) -> Float[np.ndarray, "n_layers n_heads"]:
    """The change in second-copy loss (nats) that each head's ablation would cause, to first order."""
    return ablator.effects_by_gradient(mode, layout.second_copy_targets)
