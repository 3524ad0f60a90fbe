"""Does looking mean mattering? The heads that look, by their score, and those whose measured effect is large. Imports no torch.

Of one pass over some sequences: whether an effect is surely that large is for its interval to say.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from core.heads import Head, HeadSet

Quadrant = Literal["both", "looks", "matters", "neither"]
QUADRANTS: dict[Quadrant, str] = {
    "both": "looks, large effect",
    "looks": "looks, small effect",
    "matters": "large effect, does not look",
    "neither": "neither",
}


def quadrants(
    scores: Float[np.ndarray, "n_layers n_heads"], effect: Float[np.ndarray, "n_layers n_heads"], threshold: float, floor: float
) -> dict[Quadrant, HeadSet]:
    """The heads of each quadrant, layer by layer: score above `threshold`, effect of either sign above `floor` nats.

    Heads whose effect is not measured yet (NaN) are in none.
    """
    known = ~np.isnan(effect)
    looks, matters = scores > threshold, np.abs(effect) > floor
    chosen: dict[Quadrant, Bool[np.ndarray, "n_layers n_heads"]] = {
        "both": looks & matters,
        "looks": looks & ~matters,
        "matters": ~looks & matters,
        "neither": ~looks & ~matters,
    }
    return {name: tuple(Head(int(x), int(y)) for x, y in np.argwhere(known & where)) for name, where in chosen.items()}
