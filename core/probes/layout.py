"""Where things are in a repeated sequence, and which positions each copy's loss is read at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int


@dataclass(frozen=True)
class Layout:
    """`length` tokens twice, after `b` tokens of BOS (none or one)."""

    length: int
    b: int

    @property
    def n_tokens(self) -> int:
        """Tokens in each sequence."""
        return self.b + 2 * self.length

    @property
    def second_copy(self) -> Int[np.ndarray, " queries"]:
        """Positions of the second copy's tokens, `L+b .. 2L+b-1`."""
        return np.arange(self.length + self.b, self.n_tokens)

    @property
    def first_copy_targets(self) -> Int[np.ndarray, " targets"]:
        """Positions `b .. L+b-1` that have a predecessor."""
        return np.arange(max(self.b, 1), self.length + self.b)

    @property
    def second_copy_targets(self) -> Int[np.ndarray, " targets"]:
        """Positions `L+b+1 .. 2L+b-1`: the first token of the second copy cannot be known by induction."""
        return np.arange(self.length + self.b + 1, self.n_tokens)

    def rotated_targets(self, rotation: int) -> Int[np.ndarray, " targets"]:
        """The same where the second half is `r[k:] + r[:k]`, without the wrap: nothing says that `r[0]` follows `r[L-1]`."""
        targets = self.second_copy_targets
        found: Int[np.ndarray, " targets"] = targets[targets != self.n_tokens - rotation]
        return found
