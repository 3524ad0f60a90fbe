"""Second halves of the same tokens as the first, in another order: what is left when order alone, or place alone, is gone.

`shuffled` keeps which tokens occur and no pair of neighbours. `rotated`, `r[k:] + r[:k]`, keeps every pair but one and moves
each token's successor to another distance than in `r + r`. Both after the same first half.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

LEAST_LENGTH = 4
# About one draw in three has no pair of neighbours where tokens differ; where many tokens are the same there may be none.
_MOST_DRAWS = 2_000
# Draws of their own: the ids of the first halves and of the fresh ones stay what they were without these.
_STREAM = 1


@dataclass(frozen=True)
class OtherOrders:
    """The second halves. rotation: `k` of each sequence, from L/4 to 3L/4."""

    shuffled: Int[np.ndarray, "sequences length"]
    rotated: Int[np.ndarray, "sequences length"]
    rotation: Int[np.ndarray, " sequences"]


def other_orders(r: Int[np.ndarray, "sequences length"], seed: int) -> OtherOrders | None:
    """The tokens of each `r` in two other orders; None below `LEAST_LENGTH` tokens, or where no shuffle loses every pair."""
    length = r.shape[1]
    if length < LEAST_LENGTH:
        return None
    random = np.random.default_rng([seed, _STREAM])
    rotation = random.integers(-(-length // 4), 3 * length // 4 + 1, size=len(r))
    rotated = np.stack([np.roll(row, -k) for row, k in zip(r, rotation, strict=True)])
    shuffled = [_without_pairs(random, row) for row in r]
    kept = [row for row in shuffled if row is not None]
    return OtherOrders(np.stack(kept), rotated, rotation) if len(kept) == len(r) else None


def _without_pairs(random: np.random.Generator, r: Int[np.ndarray, " length"]) -> Int[np.ndarray, " length"] | None:
    """The tokens of `r`, the first in its place, so that no token comes right after one that it came after in `r`."""
    pairs = _pairs(r)
    for _ in range(_MOST_DRAWS):
        drawn = np.concatenate([r[:1], random.permutation(r[1:])])
        if not np.isin(_pairs(drawn), pairs).any():
            return drawn
    return None


def _pairs(row: Int[np.ndarray, " length"]) -> Int[np.ndarray, " pairs"]:
    """One number for each token and the next; the same tokens in any order have the same unit."""
    found: Int[np.ndarray, " pairs"] = row[:-1] * (int(row.max()) + 1) + row[1:]
    return found
