"""The causal map: what each head, ablated alone, does to the second-copy loss.

Exact: one ablation a head, all from one shared clean prefix; only the second copy is unembedded. Estimated: one forward and
one backward for all heads, first order in the change of `z` (attribution patching): cheap, and wrong where the loss bends, in
size and even in sign, so it picks what is measured first and concludes nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from core.ablation.ablator import Ablator
from core.heads import HeadSet
from core.probes.layout import Layout
from core.settings.modes import Mode


def single_losses(
    ablator: Ablator, heads: HeadSet, mode: Mode, layout: Layout, on_share: Callable[[float], None] | None = None
) -> Float[np.ndarray, "heads sequences"]:
    """The mean second-copy loss (nats) of each sequence, with each of `heads` ablated alone."""
    losses = ablator.token_loss([(head,) for head in heads], mode, on_share, targets=layout.second_copy_targets)
    found: Float[np.ndarray, "heads sequences"] = losses.mean(-1, dtype=np.float64)
    return found


def clean_losses(ablator: Ablator, layout: Layout) -> Float[np.ndarray, " sequences"]:
    """The mean second-copy loss (nats) of each sequence, with nothing ablated."""
    found: Float[np.ndarray, " sequences"] = ablator.clean[:, layout.second_copy_targets].mean(-1, dtype=np.float64)
    return found


def estimated_effects(ablator: Ablator, mode: Mode, layout: Layout) -> Float[np.ndarray, "n_layers n_heads sequences"]:
    """The change in each sequence's second-copy loss (nats) that each head's ablation would cause, to first order."""
    return ablator.effects_by_gradient(mode, layout.second_copy_targets)
