"""What heads can be called, and the rule that decides."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from core.heads import Head
from core.settings.experiment import EFFECT_FLOOR
from core.verdicts.evidence import Evidence
from core.verdicts.significance import SIGNIFICANCE

Label = Literal[
    "induction",
    "anti-induction",
    "matching, non-copying",
    "positional impostor",
    "previous token",
    "duplicate token",
    "sink",
    "none",
]
# The score that a label is about, where it is not induction.
OWN_SCORES: dict[Label, str] = {"previous token": "previous_token", "duplicate token": "duplicate_token", "sink": "sink"}
# The labels of heads that are called: they match, whatever they do with it.
MATCHING: tuple[Label, ...] = ("induction", "anti-induction", "matching, non-copying")
# Above these a head copies, or helps, for certain; below their negatives it suppresses.
COPYING_FLOOR = 0.1
ATTRIBUTION_FLOOR = 0.02
OTHER_LABEL_FLOOR = 0.4
SINK_FLOOR = 0.6


def called_heads(
    q: Float[np.ndarray, "n_layers n_heads"], low: Float[np.ndarray, "n_layers n_heads"], floor: float = EFFECT_FLOOR
) -> Bool[np.ndarray, "n_layers n_heads"]:
    """`q < .05` and the interval's lower end above the effect floor."""
    return (q < SIGNIFICANCE) & (low > floor)


def label_of(evidence: Evidence, place: Head, called: bool, floor: float) -> Label:
    """The label of one head, `called` or not."""
    if called:
        copying, attribution = evidence.copying[place], evidence.attribution[place]
        if attribution < -ATTRIBUTION_FLOOR:
            return "anti-induction"
        if attribution > ATTRIBUTION_FLOOR:
            # Copying is read off the weights, past every MLP between; where it contradicts what the head was seen to add to
            # the right token, it is not copying that helps, but it is no suppression either.
            return "induction" if copying > COPYING_FLOOR else "matching, non-copying"
        return "anti-induction" if copying < -COPYING_FLOOR else "matching, non-copying"
    contrast = float(evidence.contrast[place].mean())
    # Most of its score is there on fresh tokens as well.
    if evidence.induction[place] > floor and contrast < evidence.induction[place] / 2:
        return "positional impostor"
    others: tuple[tuple[Label, float, float], ...] = (
        ("previous token", evidence.previous_token[place], OTHER_LABEL_FLOOR),
        ("duplicate token", evidence.duplicate_token[place], OTHER_LABEL_FLOOR),
        ("sink", evidence.sink[place], SINK_FLOOR),
    )
    label, score, needed = max(others, key=lambda row: row[1] - row[2])
    return label if score > needed else "none"
