"""Which heads of a larger model are measured first: those that the gradient, or a score, says may matter.

Background: one pass back estimates what every head's removal would do: wrong in size and in sign, and enough to say what is
measured first. By the estimate a head can raise the loss of one sequence and lower another's, and then its mean says nothing
of it, so its size is taken sequence by sequence: without a BOS the second of the ten heads that matter most in SmolLM2-135M
is 67th of 270 by the mean, 16th by size.
References: Syed et al. 2023 (attribution patching); Kramár et al. 2024 (AtP*: what is missed where parts cancel).
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


def heads_to_measure(estimates: Float[np.ndarray, "n_layers n_heads sequences"], scores: HeadScores) -> tuple[HeadSet, HeadSet]:
    """The heads with the largest estimated effects (nats), and the others with a score that asks for it.

    The first are as a rule the ones that matter most, so they are measured first. Heads that do not exist (NaN) are in none.
    """
    first = tuple(sorted(largest_by_gradient(estimates)))
    wanted = np.zeros(estimates.shape[:2], dtype=bool)
    for name, least in SCORES_FROM.items():
        if name in scores.names:
            wanted |= scores.mean(name) > least
    wanted[tuple(np.transpose(first))] = False
    return first, tuple(Head(int(layer), int(head)) for layer, head in np.argwhere(wanted))


def largest_by_gradient(estimates: Float[np.ndarray, "n_layers n_heads sequences"]) -> HeadSet:
    """`SHARE_BY_GRADIENT` of the heads that have an estimate, the largest first, by its mean size over sequences."""
    size = np.abs(estimates).mean(-1)
    known = ~np.isnan(size)
    order = np.argsort(np.where(known, -size, 1.0), axis=None, kind="stable")
    places = np.unravel_index(order[: ceil(SHARE_BY_GRADIENT * int(known.sum()))], size.shape)
    return tuple(Head(int(layer), int(head)) for layer, head in zip(*places, strict=True))
