"""From attention to scores, inside the pass: each score's cells, averaged over their queries, and nothing else kept.

Two readers of the same table of scores: one for a whole pattern, one for fused attention, which makes no pattern.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.models.fused_attention import FusedAttention
from core.scores import PLACEBO_SHIFTS, SCORES, Cells, Layout, offset_cells

Reduced = Float[Tensor, "batch n_heads"]
Reader = Callable[[FusedAttention], Float[Tensor, "batch n_heads queries"]]


def wanted_cells(layout: Layout, *, control: bool) -> dict[str, Cells]:
    """The cells of every score and placebo; of induction alone for a control."""
    found: dict[str, Cells] = {}
    for name in ("induction",) if control else tuple(SCORES):
        cells = SCORES[name].cells
        if cells is not None:
            found[name] = cells(layout)
    if not control:
        for shift in PLACEBO_SHIFTS:
            found[placebo_name(shift)] = offset_cells(layout, layout.length - 1 + shift)
    return found


def placebo_name(shift: int) -> str:
    """What the induction cells shifted by `shift` are called among the scores."""
    return f"placebo{shift:+d}"


class PatternReducer:
    """Turns one layer's pattern into the mean of each score's cells, `[batch, n_heads]` each."""

    def __init__(self, layout: Layout, *, control: bool) -> None:
        self._cells = wanted_cells(layout, control=control)
        self._rows = {} if control else {name: score.rows for name, score in SCORES.items() if score.rows is not None}
        self._queries = torch.from_numpy(np.concatenate([q for q, _ in self._cells.values()]))
        self._keys = torch.from_numpy(np.concatenate([k for _, k in self._cells.values()]))
        self._sizes = [len(q) for q, _ in self._cells.values()]

    def __call__(self, pattern: Float[Tensor, "batch n_heads query key"]) -> dict[str, Reduced]:
        """Means over each score's queries; float32 whatever the pattern's format."""
        wanted = pattern[:, :, self._queries.to(pattern.device), self._keys.to(pattern.device)].float()
        parts = wanted.split(self._sizes, dim=-1)
        reduced = {name: _mean(part) for name, part in zip(self._cells, parts, strict=True)}
        for name, rows in self._rows.items():
            reduced[name] = rows(pattern).mean(-1)
        return {name: value.cpu() for name, value in reduced.items()}


class FusedReducer:
    """The same numbers from fused attention, a cell at a time.

    Entropy needs whole rows, which costs a second call of the attention kernel; a control, and whoever asks so, goes
    without.
    """

    def __init__(self, layout: Layout, *, control: bool, entropy: bool = True) -> None:
        self._readers = {name: _reader(*found) for name, found in wanted_cells(layout, control=control).items()}
        self._entropy = entropy and not control
        self._queries = torch.arange(1, layout.n_tokens)

    def __call__(self, attention: FusedAttention) -> dict[str, Reduced]:
        """Means over each score's queries, in float32."""
        reduced = {name: _mean(read(attention)) for name, read in self._readers.items()}
        if self._entropy:
            whole = torch.log(self._queries.to(attention.query.device) + 1.0)
            reduced["entropy"] = (attention.entropy()[:, :, 1:] / whole).mean(-1)
        return {name: value.cpu() for name, value in reduced.items()}


def _reader(queries: np.ndarray, keys: np.ndarray) -> Reader:
    """What reads some cells in the cheapest way their shape allows: a diagonal, a column, or one by one."""
    if len(queries) == 0:
        return lambda attention: attention.query.new_zeros((*attention.query.shape[:2], 0), dtype=torch.float32)
    first, last = int(queries[0]), int(queries[-1]) + 1
    if len(queries) == last - first:
        run, offset, key = slice(first, last), int(queries[0] - keys[0]), int(keys[0])
        if (queries - keys == offset).all():
            return lambda attention: attention.cells(run, offset)
        if (keys == key).all():
            return lambda attention: attention.column(run, key)
    every, attended = torch.from_numpy(queries), torch.from_numpy(keys)
    return lambda attention: attention.scattered(every, attended)


def _mean(cells: Float[Tensor, "batch n_heads queries"]) -> Reduced:
    """The mean over queries; 0 where a placebo has none."""
    return cells.mean(-1) if cells.shape[-1] else cells.sum(-1)
