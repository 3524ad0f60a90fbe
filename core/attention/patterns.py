"""Attention patterns to look at, on one row of tokens: every head's, or one head's where the row is too long for all.

Scores never need a kept pattern (`core.attention.score_pass` reduces them inside the hook); a picture does. Every head's is
kept in two bytes a cell, lower triangle only, so that looking at another head is no new pass. Imports no torch until
something must be computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from core.attention.cached import Progress, ScoreRequest, run_key
from core.attention.rows import TokenRow
from core.attention.scores import head_name
from core.errors import BadInput
from core.models.identity import model_identity
from core.runtime.cache import kept
from core.runtime.store import Stored, default_store
from core.transformer.card import ModelCard

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

PATTERN_VERSION = 2
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
    """

    token_loss: Float[np.ndarray, " tokens"]
    quantised: UInt16[np.ndarray, "n_layers n_heads cells"] | None = None

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

    def head(self, layer: int, head: int) -> Float[np.ndarray, "tokens tokens"]:
        """One head's pattern (rows are queries); ValueError where no patterns were kept."""
        pattern = np.zeros((self.n_tokens, self.n_tokens), dtype=np.float32)
        pattern[np.tril_indices(self.n_tokens)] = self._kept()[layer, head] / np.float32(FULL)
        return pattern

    def coarse(self) -> UInt8[np.ndarray, "n_layers n_heads cells"]:
        """All patterns in one byte a cell, 255 = 1, within 1/510 of the weight; ValueError where none were kept."""
        return ((self._kept().astype(np.uint32) + 128) // 257).astype(np.uint8)

    def _kept(self) -> UInt16[np.ndarray, "n_layers n_heads cells"]:
        if self.quantised is None:
            raise ValueError(f"no patterns were kept of a row of {self.n_tokens} tokens")
        return self.quantised


def grid_limit(card: ModelCard) -> int:
    """The most tokens at which all heads of this model are shown together: what one message to a browser can carry."""
    cells = MAX_GRID_BYTES // (card.n_layers * card.n_heads)
    return min(MAX_GRID_TOKENS, card.n_ctx, (isqrt(8 * cells + 1) - 1) // 2)


def row_patterns_key(request: ScoreRequest, row: TokenRow) -> str:
    """The content key of `row_patterns(request, row)`."""
    return _key("row_patterns", request, row)


def stored_row_patterns(request: ScoreRequest, row: TokenRow) -> RowPatterns | None:
    """The patterns if they are at hand, in memory or on disk; never computes and never loads a model."""
    stored = default_store().get(row_patterns_key(request, row))
    return None if stored is None else _row_patterns_from(stored)


def row_patterns(request: ScoreRequest, row: TokenRow, progress: Progress | None = None) -> RowPatterns:
    """Every token's loss on `row`, and every head's pattern up to `grid_limit`; computed once for everybody and kept.

    Raises BadInput if the attention overflows, ModelUnavailable if the model cannot be loaded.
    """

    def compute() -> Stored:
        from core.attention.pattern_pass import measure_losses, measure_patterns

        model = _load(request, progress)
        if row.n_tokens > grid_limit(model.card):
            return Stored({"token_loss": measure_losses(model, row.ids)}, {})
        quantised, token_loss = measure_patterns(model, row.ids)
        return Stored({"token_loss": token_loss, "quantised": quantised}, {})

    return _row_patterns_from(default_store().get_or_compute(row_patterns_key(request, row), compute))


def head_pattern_key(request: ScoreRequest, row: TokenRow, layer: int, head: int) -> str:
    """The content key of `head_pattern(request, row, layer, head)`."""
    return _key("head_pattern", request, row, layer=layer, head=head)


def stored_head_pattern(
    request: ScoreRequest, row: TokenRow, layer: int, head: int
) -> Float[np.ndarray, "tokens tokens"] | None:
    """The pattern if it is at hand, in memory or on disk; never computes and never loads a model."""
    stored = default_store().get(head_pattern_key(request, row, layer, head))
    return None if stored is None else stored.arrays["pattern"]


def head_pattern(
    request: ScoreRequest, row: TokenRow, layer: int, head: int, progress: Progress | None = None
) -> Float[np.ndarray, "tokens tokens"]:
    """One head's exact pattern on `row` (float32; rows are queries), computed once for everybody and kept.

    Raises BadInput for a head that the model lacks, ModelUnavailable if the model cannot be loaded.
    """
    check_head(model_identity(request.model).card, layer, head)

    def compute() -> Stored:
        from core.attention.pattern_pass import measure_head_pattern

        return Stored({"pattern": measure_head_pattern(_load(request, progress), row.ids, layer, head)}, {})

    return kept(head_pattern_key(request, row, layer, head), compute)["pattern"]


def check_head(card: ModelCard, layer: int, head: int) -> None:
    """Raises BadInput for a head that the model lacks."""
    if not (0 <= layer < card.n_layers and 0 <= head < card.n_heads):
        raise BadInput(
            f"There is no head {head_name(layer, head)}: this model's heads go from L0H0 to "
            f"{head_name(card.n_layers - 1, card.n_heads - 1)}."
        )


def _load(request: ScoreRequest, progress: Progress | None) -> LoadedModel:
    from core.models.load import load_model

    return load_model(request.model, device=request.device, dtype=request.dtype, progress=progress)


def _row_patterns_from(stored: Stored) -> RowPatterns:
    return RowPatterns(stored.arrays["token_loss"], stored.arrays.get("quantised"))


def _key(kind: str, request: ScoreRequest, row: TokenRow, **parts: int) -> str:
    identity = model_identity(request.model)
    return run_key(kind, identity, request, ids=list(row.ids), pattern_version=PATTERN_VERSION, **parts)
