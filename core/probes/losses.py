"""The loss of each copy of a probe, read off the losses of its tokens."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from core.behaviour import Losses
from core.probes.layout import Layout
from core.stats import estimate


def losses_of(token_loss: Float[np.ndarray, "sequences tokens"], layout: Layout) -> Losses:
    """Means in nats over sequences and over each copy's targets; `token_loss` is by target position."""
    first, second = (token_loss[:, targets] for targets in (layout.first_copy_targets, layout.second_copy_targets))
    gain = first.mean(-1, dtype=np.float64) - second.mean(-1, dtype=np.float64)
    return Losses(
        first_copy=float(first.mean(dtype=np.float64)),
        second_copy=float(second.mean(dtype=np.float64)),
        ln_length=math.log(layout.length),
        gain_low=estimate(gain).low,
    )
