"""What verdicts rest on, by sequence: where every head looks, and what it does to the right token's logit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Int

# Scores that a label other than a matching head's is about, beside induction itself.
LOOKS = ("induction", "previous_token", "duplicate_token", "sink")


@dataclass(frozen=True)
class Evidence:
    """Where every head looks, by sequence, over probes of several lengths; NaN for heads that do not exist.

    contrast, rotation_contrast: `I` and `I_rot`. specificity_by_offset: `I_rot` less the same with the key shifted, for each
    of the offsets. chance: what attending uniformly would give in each layer on each sequence, for each of `LOOKS`.
    lengths: each sequence's; ranges: which part of the vocabulary its tokens are from (0, 1), or -1 for all of it.
    """

    induction: Float[np.ndarray, "n_layers n_heads sequences"]
    contrast: Float[np.ndarray, "n_layers n_heads sequences"]
    rotation_contrast: Float[np.ndarray, "n_layers n_heads sequences"]
    specificity_by_offset: Float[np.ndarray, "offsets n_layers n_heads sequences"]
    previous_token: Float[np.ndarray, "n_layers n_heads sequences"]
    duplicate_token: Float[np.ndarray, "n_layers n_heads sequences"]
    sink: Float[np.ndarray, "n_layers n_heads sequences"]
    chance: Float[np.ndarray, "looks n_layers sequences"]
    lengths: Int[np.ndarray, " sequences"]
    ranges: Int[np.ndarray, " sequences"]

    def __post_init__(self) -> None:
        shape = self.contrast.shape
        for name in ("induction", "rotation_contrast", "previous_token", "duplicate_token", "sink"):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")
        if self.specificity_by_offset.shape[1:] != shape or self.chance.shape != (len(LOOKS), shape[0], shape[-1]):
            raise ValueError("specificity or chance is of other heads or sequences")
        if self.lengths.shape != shape[-1:] or self.ranges.shape != shape[-1:]:
            raise ValueError("lengths and ranges are one number a sequence")

    @property
    def exists(self) -> Bool[np.ndarray, "n_layers n_heads"]:
        """Which heads there are."""
        found: Bool[np.ndarray, "n_layers n_heads"] = ~np.isnan(self.contrast).any(-1)
        return found

    @property
    def n_sequences(self) -> int:
        """How many sequences."""
        return int(self.lengths.shape[0])

    def of(self, sequences: Int[np.ndarray, " chosen"]) -> Evidence:
        """The same of some of the sequences, in the order given, which may repeat some."""
        return Evidence(**{field.name: getattr(self, field.name)[..., sequences] for field in fields(self)})

    def above_chance(self, name: str) -> Float[np.ndarray, "n_layers n_heads sequences"]:
        """One of `LOOKS` less its chance level."""
        found: Float[np.ndarray, "n_layers n_heads sequences"] = getattr(self, name) - self.chance[LOOKS.index(name)][:, None]
        return found


@dataclass(frozen=True)
class Effects:
    """What heads do to the logit of the right token less the mean token's, on sequences of their own.

    total: clean minus ablated, NaN for heads that were not measured. direct: what the head itself writes, NaN where that is
    withheld, which `withheld` explains. gain: the model's own, the same logit on the repeat less on fresh tokens.
    All in logits. lengths: each sequence's.
    """

    total: Float[np.ndarray, "n_layers n_heads sequences"]
    direct: Float[np.ndarray, "n_layers n_heads sequences"]
    gain: Float[np.ndarray, " sequences"]
    lengths: Int[np.ndarray, " sequences"]
    withheld: str = ""

    def __post_init__(self) -> None:
        if self.total.shape != self.direct.shape or not (self.gain.shape == self.lengths.shape == self.total.shape[-1:]):
            raise ValueError("effects are of the same heads and sequences")


def joined(parts: Sequence[Evidence]) -> Evidence:
    """Several probes' evidence as one, sequence after sequence."""
    return Evidence(
        **{field.name: np.concatenate([getattr(part, field.name) for part in parts], axis=-1) for field in fields(Evidence)}
    )
