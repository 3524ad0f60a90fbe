"""Which heads of a larger model are measured first: those that the gradient, or a score, says may matter.

Background: the gradient alone finds half of the ten heads that matter most (SmolLM2-135M, 270 heads); together with heads
whose scores say that they may be part of the circuit it finds all ten, at a fifth of what the whole map costs.
References: Syed et al. 2023 (attribution patching); Kramar et al. 2024 (AtP*).
"""

from __future__ import annotations

from math import ceil

import numpy as np
from jaxtyping import Float

from core.attention.head_scores import HeadScores
from core.heads import Head, HeadSet

# Up to here every head is measured: there the gradient is worst, and the exact map cheap.
ALWAYS_EXACT_LAYERS = 6
SHARE_BY_GRADIENT = 0.11
# A head whose score is above this is measured whatever the gradient says.
SCORES_FROM = {"previous_token": 0.4, "contrast": 0.1, "duplicate_token": 0.3}


def heads_to_measure(estimate: Float[np.ndarray, "n_layers n_heads"], scores: HeadScores) -> tuple[HeadSet, HeadSet]:
    """The heads with the largest estimated effects (nats, of either sign), and the others with a score that asks for it.

    The first are as a rule the ones that matter most, so they are measured first. Heads that do not exist (NaN) are in none.
    """
    first = tuple(sorted(largest_by_gradient(estimate)))
    wanted = np.zeros(estimate.shape, dtype=bool)
    for name, least in SCORES_FROM.items():
        if name in scores.names:
            wanted |= scores.mean(name) > least
    wanted[tuple(np.transpose(first))] = False
    return first, tuple(Head(int(layer), int(head)) for layer, head in np.argwhere(wanted))


def largest_by_gradient(estimate: Float[np.ndarray, "n_layers n_heads"]) -> HeadSet:
    """`SHARE_BY_GRADIENT` of the heads that have an estimate, the largest of either sign first."""
    known = ~np.isnan(estimate)
    order = np.argsort(np.where(known, -np.abs(estimate), 1.0), axis=None, kind="stable")
    places = np.unravel_index(order[: ceil(SHARE_BY_GRADIENT * int(known.sum()))], estimate.shape)
    return tuple(Head(int(layer), int(head)) for layer, head in zip(*places, strict=True))
