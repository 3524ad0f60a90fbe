"""What verdicts rest on: every head's contrast by sequence, its other scores, and what it writes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Evidence:
    """What is known of every head, `[n_layers, n_heads]` each but `contrast`, which is by sequence."""

    contrast: Float[np.ndarray, "n_layers n_heads sequences"]
    induction: Float[np.ndarray, "n_layers n_heads"]
    previous_token: Float[np.ndarray, "n_layers n_heads"]
    duplicate_token: Float[np.ndarray, "n_layers n_heads"]
    sink: Float[np.ndarray, "n_layers n_heads"]
    copying: Float[np.ndarray, "n_layers n_heads"]
    logit_copying: Float[np.ndarray, "n_layers n_heads"]
    attribution: Float[np.ndarray, "n_layers n_heads"]

    def __post_init__(self) -> None:
        shape = self.contrast.shape[:2]
        for name in ("induction", "previous_token", "duplicate_token", "sink", "copying", "logit_copying", "attribution"):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
