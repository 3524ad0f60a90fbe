"""The causal map: what each head, ablated alone, does to the second-copy loss.

Exact: one ablation a head, all heads of a layer from one shared clean prefix; only the second copy is unembedded. Estimated:
one forward and one backward for all heads, first order in the change of `z` (attribution patching): cheap, and wrong where
the loss bends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from core.ablation.ablator import AblationBench
from core.attention.scores import Layout, second_copy_targets
from core.heads import Mode


def layer_losses(
    bench: AblationBench, layer: int, mode: Mode, layout: Layout, on_share: Callable[[float], None] | None = None
) -> Float[np.ndarray, "n_heads sequences"]:
    """The mean second-copy loss (nats) of each sequence, with each head of `layer` ablated alone."""
    sets = [((layer, head),) for head in range(bench.model.card.n_heads)]
    losses = bench.token_loss(sets, mode, on_share, targets=second_copy_targets(layout))
    return losses.mean(-1, dtype=np.float64)


def clean_losses(bench: AblationBench, layout: Layout) -> Float[np.ndarray, " sequences"]:
    """The mean second-copy loss (nats) of each sequence, with nothing ablated."""
    return bench.clean[:, second_copy_targets(layout)].mean(-1, dtype=np.float64)


def estimated_effects(bench: AblationBench, mode: Mode, layout: Layout) -> Float[np.ndarray, "n_layers n_heads"]:
    """The change in second-copy loss (nats) that each head's ablation would cause, to first order."""
    return bench.effects_by_gradient(mode, second_copy_targets(layout))
