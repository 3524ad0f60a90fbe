"""From attention to scores, inside the pass: each score's cells, averaged over their queries, and nothing else kept.

Two readers of the same table of scores: one for a whole pattern, one for fused attention, which makes no pattern.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.attention.cell_runs import group_scores, planned, runs_of
from core.attention.cells import Cells, offset_cells
from core.attention.scores import PLACEBO_SHIFTS, SCORES
from core.attention.whole_rows import whole_rows
from core.probes.layout import Layout
from core.transformer.passes.fused_attention import FusedAttention

Reduced = Float[Tensor, "batch n_heads"]


def wanted_cells(layout: Layout, *, control: bool) -> dict[str, Cells]:
    """The cells of every score and placebo that are means of attention as it is; of induction alone for a control."""
    found: dict[str, Cells] = {}
    for name in ("induction",) if control else tuple(SCORES):
        cells = SCORES[name].cells
        if cells is not None and not SCORES[name].by_value:
            found[name] = cells(layout)
    if not control:
        for shift in PLACEBO_SHIFTS:
            found[placebo_name(shift)] = offset_cells(layout, layout.length - 1 + shift)
    return found


def by_value_cells(layout: Layout, *, control: bool) -> dict[str, Cells]:
    """The cells of every score whose attention is weighted by the size of values; a control goes without."""
    scores = {} if control else SCORES
    return {name: score.cells(layout) for name, score in scores.items() if score.by_value and score.cells is not None}


def placebo_name(shift: int) -> str:
    """What the induction cells shifted by `shift` are called among the scores."""
    return f"placebo{shift:+d}"


class PatternReducer:
    """Turns one layer's pattern into the mean of each score's cells, `[batch, n_heads]` each.

    Entropy and scores by value need whole rows; a control, and whoever asks so, goes without.
    """

    def __init__(self, layout: Layout, *, control: bool = False, whole_rows: bool = True) -> None:
        some = control or not whole_rows
        self._cells = wanted_cells(layout, control=control)
        self._by_value = by_value_cells(layout, control=some)
        self._rows = {} if some else {name: score.rows for name, score in SCORES.items() if score.rows is not None}
        self._queries = torch.from_numpy(np.concatenate([q for q, _ in self._cells.values()]))
        self._keys = torch.from_numpy(np.concatenate([k for _, k in self._cells.values()]))
        self._sizes = [len(q) for q, _ in self._cells.values()]

    def __call__(
        self,
        pattern: Float[Tensor, "batch n_heads query key"],
        value_norms: Float[Tensor, "batch n_heads key"] | None = None,
    ) -> dict[str, Reduced]:
        """Means over each score's queries; float32 whatever the pattern's format.

        value_norms: the length of each head's value at each key; without them, scores that need them are NaN.
        """
        wanted = pattern[:, :, self._queries.to(pattern.device), self._keys.to(pattern.device)].float()
        parts = wanted.split(self._sizes, dim=-1)
        reduced = {name: _mean(part) for name, part in zip(self._cells, parts, strict=True)}
        for name, rows in self._rows.items():
            reduced[name] = rows(pattern).mean(-1)
        for name, cells in self._by_value.items():
            reduced[name] = _weighted(pattern, value_norms, cells)
        return {name: value.cpu() for name, value in reduced.items()}


class FusedReducer:
    """The same numbers from fused attention, which makes no pattern: only the wanted cells, and their means in one product.

    Entropy and scores by value need whole rows, which are made a block of queries at a time; a control, and whoever asks so,
    goes without.
    """

    def __init__(self, layout: Layout, *, control: bool = False, whole_rows: bool = True) -> None:
        wanted = {name: runs_of(cells) for name, cells in wanted_cells(layout, control=control).items()}
        self._names = tuple(wanted)
        # Two scores may be of the same cells.
        self._groups = planned(tuple({run: None for runs in wanted.values() for run in runs}))
        pieces = [piece for group in self._groups for piece in group]
        self._queries = torch.cat([torch.arange(piece.part.start, piece.part.stop) for piece in pieces])
        # Which cells are whose, as 0 and 1; a placebo without cells stays 0.
        belongs = torch.tensor([[float(piece.whole in runs) for runs in wanted.values()] for piece in pieces])
        self._belongs = belongs.repeat_interleave(torch.tensor([piece.part.stop - piece.part.start for piece in pieces]), 0)
        self._counts = self._belongs.sum(0).clamp_min(1.0)
        self._whole_rows = whole_rows and not control
        self._by_value = by_value_cells(layout, control=not self._whole_rows)
        self._uniform = torch.log(torch.arange(1, layout.n_tokens) + 1.0)

    def __call__(self, attention: FusedAttention) -> dict[str, Reduced]:
        """Means over each score's queries, in float32."""
        self._move_to(attention.query.device)
        scores = torch.cat([part for group in self._groups for part in group_scores(group, attention.query, attention.key)], -1)
        cells = scores.mul_(attention.scale).sub_(attention.log_sum_exp[:, :, self._queries]).exp_()
        # Summed before they are divided: many equal cells then have exactly their own mean.
        means = (cells @ self._belongs / self._counts).cpu()
        reduced = {name: means[:, :, place] for place, name in enumerate(self._names)}
        if self._whole_rows:
            norms = attention.value.float().norm(dim=-1)
            entropy, brought = whole_rows(attention, norms)
            reduced["entropy"] = (entropy[:, :, 1:] / self._uniform).mean(-1).cpu()
            for name, (queries, keys) in self._by_value.items():
                weights = attention.cells(torch.from_numpy(queries), torch.from_numpy(keys)) * norms[:, :, keys]
                reduced[name] = (weights / brought[:, :, queries]).mean(-1).cpu()
        return reduced

    def _move_to(self, device: torch.device) -> None:
        if self._queries.device != device:
            self._queries, self._belongs = self._queries.to(device), self._belongs.to(device)
            self._counts, self._uniform = self._counts.to(device), self._uniform.to(device)


def _mean(cells: Float[Tensor, "batch n_heads queries"]) -> Reduced:
    """The mean over queries; 0 where a placebo has none."""
    return cells.mean(-1) if cells.shape[-1] else cells.sum(-1)


def _weighted(
    pattern: Float[Tensor, "batch n_heads query key"], norms: Float[Tensor, "batch n_heads key"] | None, cells: Cells
) -> Reduced:
    """The mean over `cells` of each weight times its value's length, as a share of the whole row's; NaN without lengths."""
    if norms is None:
        return pattern.new_full(pattern.shape[:2], torch.nan, dtype=torch.float32)
    queries, keys = (torch.from_numpy(part).to(pattern.device) for part in cells)
    lengths = norms.to(pattern.device).float()
    brought = (pattern[:, :, queries].float() @ lengths[..., None])[..., 0]
    return (pattern[:, :, queries, keys].float() * lengths[:, :, keys] / brought).mean(-1)
