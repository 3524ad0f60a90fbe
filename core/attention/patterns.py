"""Attention patterns to look at, on one row of tokens: every head's, or one head's where the row is too long for all.

Scores never need a kept pattern (`core.attention.score_pass` reduces them inside the pass); a picture does. Every head's is
kept in two bytes a cell, lower triangle only, so that looking at another head is no new pass. Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt16

from core.heads import Head
from core.transformer.card import ModelCard

# What all attention is quantised to; 257 times that of one byte.
FULL = 65535
MAX_GRID_TOKENS = 257
MAX_GRID_BYTES = 12_000_000


@dataclass(frozen=True)
class RowPatterns:
    """Every head's pattern on one row of tokens, and the row's losses.

    token_loss: nats by target position; the first is NaN, for nothing predicts it.
    quantised: the lower triangle row by row (`q (q + 1) / 2 + k`), `FULL` = 1, so within 1/131070 of the weight; None for
        a row that is too long for `grid_limit`.
    windows: how many tokens each layer sees, as in `HeadScores`.
    """

    token_loss: Float[np.ndarray, " tokens"]
    quantised: UInt16[np.ndarray, "n_layers n_heads cells"] | None = None
    windows: Int[np.ndarray, " n_layers"] | None = None

    def __post_init__(self) -> None:
        cells = self.n_tokens * (self.n_tokens + 1) // 2
        given = self.quantised
        if given is not None and (given.dtype != np.uint16 or given.ndim != 3 or given.shape[2] != cells):
            raise ValueError(
                f"patterns of {self.n_tokens} tokens must be uint16 [n_layers, n_heads, {cells}], "
                f"not {given.dtype} {given.shape}"
            )

    @property
    def n_tokens(self) -> int:
        """Tokens in the row."""
        return len(self.token_loss)

    def window(self, head: Head) -> int:
        """How many tokens a head's layer sees: 0 where it sees all."""
        return 0 if self.windows is None else int(self.windows[head.layer])

    def head(self, head: Head) -> Float[np.ndarray, "tokens tokens"]:
        """One head's pattern (rows are queries); ValueError where no patterns were kept."""
        pattern = np.zeros((self.n_tokens, self.n_tokens), dtype=np.float32)
        pattern[np.tril_indices(self.n_tokens)] = self._quantised()[head] / np.float32(FULL)
        return pattern

    def coarse(self) -> UInt8[np.ndarray, "n_layers n_heads cells"]:
        """All patterns in one byte a cell, 255 = 1, within 1/510 of the weight; ValueError where none were kept."""
        return ((self._quantised().astype(np.uint32) + 128) // 257).astype(np.uint8)

    def _quantised(self) -> UInt16[np.ndarray, "n_layers n_heads cells"]:
        if self.quantised is None:
            raise ValueError(f"no patterns were kept of a row of {self.n_tokens} tokens")
        return self.quantised


def grid_limit(card: ModelCard) -> int:
    """The most tokens at which all heads of this model are shown together: what one message to a browser can carry."""
    cells = MAX_GRID_BYTES // (card.n_layers * card.n_heads)
    return min(MAX_GRID_TOKENS, card.n_ctx, (isqrt(8 * cells + 1) - 1) // 2)
