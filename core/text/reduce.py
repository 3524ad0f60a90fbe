"""One layer's pattern on a few windows, reduced to each measure and a few edges a head, and thrown away.

The cells of a batch are gathered once and multiplied by their weights in every measure: one gather and one matrix product,
whatever the number of measures and of repeats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.text.cells import CELL_MEASURES, WeightedCells
from core.transformer.passes.fused_attention import FusedAttention

HEADVIS_FROM = 0.01
Reduced = Float[Tensor, "batch n_heads"]


class TextReducer:
    """The measures of some windows' patterns; made once for a batch and used in every layer."""

    def __init__(self, cells: Sequence[WeightedCells], n_tokens: int, b: int, device: torch.device) -> None:
        size, n_measures = max(1, *(len(found.queries) for found in cells)), len(CELL_MEASURES)
        places = np.zeros((len(cells), size), dtype=np.int64)
        weights = np.zeros((len(cells), size, n_measures), dtype=np.float32)
        headvis = np.zeros((len(cells), size, 1), dtype=np.float32)
        for row, found in enumerate(cells):
            count = len(found.queries)
            places[row, :count] = found.queries * n_tokens + found.keys
            weights[row, :count] = found.weights
            headvis[row, :count, 0] = found.headvis
        known = np.array([found.known for found in cells])
        self._places = torch.from_numpy(places).to(device)
        self._weights = torch.from_numpy(weights).to(device)
        self._headvis = torch.from_numpy(headvis).to(device)
        self._known = torch.from_numpy(known).to(device)
        self._n_tokens, self._b = n_tokens, b
        self._back = torch.arange(n_tokens, device=device, dtype=torch.float32)
        self._uniform = torch.log(self._back[1:] + 1.0)

    def __call__(
        self,
        pattern: Float[Tensor, "batch n_heads query key"],
        norms: Float[Tensor, "batch n_heads key"] | None,
        logs: Float[Tensor, "batch n_heads query key"] | None = None,
    ) -> dict[str, Reduced]:
        """Every measure. norms: the length of each head's value at each key; logs: of the pattern, where they are at hand."""
        pattern = pattern.float()
        batch, n_heads = pattern.shape[:2]
        at = self._places[:, None].expand(-1, n_heads, -1)
        cells = pattern.flatten(2).gather(2, at)
        known = self._known[:, None, :]
        sums = (cells @ self._weights).where(known, torch.nan)
        found = {name: sums[:, :, place] for place, name in enumerate(CELL_MEASURES)}
        again = known[:, :, CELL_MEASURES.index("duplicate_token")]
        heavy = cells.where(cells >= HEADVIS_FROM, 0.0)
        found["headvis"] = (heavy @ self._headvis)[..., 0].where(again, torch.nan)
        found["sink"] = pattern[:, :, 1:, 0].mean(-1)
        sides = [torch.ones_like(self._back), self._back]
        right = torch.stack(sides, -1).expand(batch, n_heads, -1, -1)
        if norms is not None:
            right = torch.cat([right, norms[..., None]], -1)
        rows = pattern @ right
        whole, places = rows[..., 0], rows[..., 1]
        found["distance"] = (self._back - places / whole)[:, :, 1:].mean(-1)
        entropy = torch.special.entr(pattern).sum(-1) if logs is None else -torch.linalg.vecdot(pattern, logs)
        # Of the row divided by its sum, which is less than 1 where a model has learned sinks.
        entropy = (entropy / whole + whole.log())[:, :, 1:].clamp_min(0.0)
        found["entropy"] = (entropy / self._uniform).mean(-1)
        found["value_weighted"] = found["natural_induction"] * torch.nan
        if norms is not None:
            brought = cells * norms.gather(2, at % self._n_tokens) / rows[..., 2].gather(2, at // self._n_tokens)
            place = CELL_MEASURES.index("natural_induction")
            weighted = (brought @ self._weights[:, :, place : place + 1])[..., 0]
            found["value_weighted"] = weighted.where(known[:, :, place], torch.nan)
        return found


def explicit_pattern(
    attention: FusedAttention,
) -> tuple[Float[Tensor, "batch n_heads tokens tokens"], Float[Tensor, "batch n_heads tokens tokens"]]:
    """One layer's pattern, and its logarithm, from attention that made none. Above the diagonal the logarithm is any number."""
    keys = attention.key.float().transpose(-1, -2)
    logs = (attention.query.float() @ keys).mul_(attention.scale).sub_(attention.log_sum_exp[..., None])
    # What the softmax never saw may be any number, also one whose exponential is none.
    return logs.clamp_max_(0.0).exp().tril_(), logs


KINDS = 2
TENTHS = 10
KEPT, KEPT_OF_TENTH = 12, 3


class EdgeKeeper:
    """The strongest edges of each head of one layer and a sample from each tenth of strength: bounded, whatever the text."""

    def __init__(self, n_heads: int, device: torch.device) -> None:
        self.best = torch.zeros(n_heads, KINDS, KEPT, device=device)
        self.best_at = torch.zeros(n_heads, KINDS, KEPT, dtype=torch.int64, device=device)
        self.lot = torch.zeros(n_heads, TENTHS, KEPT_OF_TENTH, device=device)
        self.sampled = torch.zeros(n_heads, TENTHS, KEPT_OF_TENTH, device=device)
        self.sampled_at = torch.zeros(n_heads, TENTHS, KEPT_OF_TENTH, dtype=torch.int64, device=device)
        self.counts = torch.zeros(n_heads, TENTHS, dtype=torch.int64, device=device)

    def add(
        self,
        pattern: Float[Tensor, "batch n_heads query key"],
        follows: Bool[Tensor, "batch query key"],
        first_window: int,
        lots: Float[Tensor, "batch query"],
    ) -> None:
        """Take each query's strongest key into account. lots: what decides by chance which edges a sample keeps, above 0."""
        n_tokens, n_heads = pattern.shape[2], pattern.shape[1]
        strength, key = pattern[:, :, 2:, 1:].float().max(-1)
        key = key + 1
        batch = torch.arange(len(pattern), device=pattern.device)[:, None, None]
        query = torch.arange(2, n_tokens, device=pattern.device)[None, None]
        kind = (~follows[batch, query, key]).long()
        at = ((first_window + batch) * n_tokens + query) * n_tokens + key
        strength, at, kind = (part.transpose(0, 1).reshape(n_heads, -1) for part in (strength, at.expand_as(key), kind))
        kinds = torch.arange(KINDS, device=pattern.device)[None, :, None]
        by_kind = strength[:, None].where(kind[:, None] == kinds, 0.0)
        self.best, [self.best_at] = _kept(self.best, by_kind, [(self.best_at, at)], KEPT)
        tenth = (strength * TENTHS).long().clamp(0, TENTHS - 1)
        inside = tenth[:, None] == torch.arange(TENTHS, device=pattern.device)[None, :, None]
        self.counts += inside.sum(-1)
        lot = lots[:, 2:].reshape(1, 1, -1).expand(n_heads, TENTHS, -1).where(inside, 0.0)
        others = [(self.sampled_at, at), (self.sampled, strength)]
        self.lot, [self.sampled_at, self.sampled] = _kept(self.lot, lot, others, KEPT_OF_TENTH)


def _kept(held: Tensor, new: Tensor, others: list[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, list[Tensor]]:
    """The largest `count` of both along the last axis, and what belongs to them."""
    best, order = torch.cat([held, new], -1).topk(count, -1)
    return best, [torch.cat([before, after[:, None].expand(*new.shape)], -1).gather(-1, order) for before, after in others]


def layered(found: dict[int, Tensor], n_layers: int, n_heads: int, fill: float) -> np.ndarray:
    """`[n_layers, n_heads, ...]` of layers that attend; `fill` for heads that there are not."""
    some = next(iter(found.values()))
    whole = np.full((n_layers, n_heads, *some.shape[1:]), fill, dtype=np.int64 if not some.is_floating_point() else np.float32)
    for layer, values in found.items():
        whole[layer, : len(values)] = values.cpu().numpy()
    return whole


def places_of(at: Int[np.ndarray, "..."], n_tokens: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Window, query and key of an edge's number."""
    return at // n_tokens**2, at // n_tokens % n_tokens, at % n_tokens
