"""Single cells of fused attention, worked out together where they lie side by side.

The induction cells and their placebos are on neighbouring diagonals. One product of a block of queries with the keys they
reach gives all of them, and some cells that nobody asked for: that is faster than to go through the same queries and keys
once for each diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from core.attention.cells import Cells
from core.transformer.passes.fused_attention import HeadsFirst

# Queries in a block: more waste more cells, fewer make products too small to be fast.
BLOCK = 64
# Fewer diagonals than this are sooner read one by one.
LEAST_NEIGHBOURS = 4
Scores = Float[Tensor, "batch n_heads queries"]


@dataclass(frozen=True)
class Run:
    """Queries `start` up to `stop`, each with one key: `offset` tokens back, or, where that is None, always `column`."""

    start: int
    stop: int
    offset: int | None
    column: int = 0

    def scores(self, query: HeadsFirst, key: HeadsFirst) -> Scores:
        """`q.k` of each cell, neither scaled nor normalised, in float32."""
        if self.offset is None:
            keys = slice(self.column, self.column + 1)
        else:
            keys = slice(self.start - self.offset, self.stop - self.offset)
        return (query[:, :, self.start : self.stop].float() * key[:, :, keys].float()).sum(-1)


def runs_of(cells: Cells) -> tuple[Run, ...]:
    """The runs that `cells` are: one for a diagonal or a column, else one for each stretch of a diagonal."""
    queries, keys = cells
    if len(queries) == 0:
        return ()
    if (np.diff(queries) == 1).all() and (keys == keys[0]).all():
        return (Run(int(queries[0]), int(queries[-1]) + 1, None, int(keys[0])),)
    ends = np.flatnonzero((np.diff(queries) != 1) | (np.diff(keys) != 1)) + 1
    stretches = zip(np.split(queries, ends), np.split(keys, ends), strict=True)
    return tuple(Run(int(q[0]), int(q[-1]) + 1, int(q[0] - k[0])) for q, k in stretches)


@dataclass(frozen=True)
class Piece:
    """A part of `whole`, or all of it."""

    whole: Run
    part: Run


def planned(runs: Sequence[Run]) -> list[list[Piece]]:
    """The runs, cut into pieces, in groups that one product gives."""
    diagonals = sorted((run for run in runs if run.offset is not None), key=lambda run: (run.offset, run.start))
    groups: list[list[Run]] = []
    for run in diagonals:
        if groups and _next_to(groups[-1][-1], run):
            groups[-1].append(run)
        else:
            groups.append([run])
    columns = [run for run in runs if run.offset is None]
    alone = [run for group in groups if len(group) < LEAST_NEIGHBOURS for run in group] + columns
    return [[Piece(run, run)] for run in alone] + [
        block for group in groups if len(group) >= LEAST_NEIGHBOURS for block in _blocks(group)
    ]


def group_scores(group: Sequence[Piece], query: HeadsFirst, key: HeadsFirst) -> list[Scores]:
    """The scores of each piece of a group, as `Run.scores`."""
    if len(group) == 1:
        return [group[0].part.scores(query, key)]
    spans = [_span(piece.part) for piece in group]
    start, stop = min(span[0] for span in spans), max(span[1] for span in spans)
    first, last = min(span[2] for span in spans), max(span[3] for span in spans)
    product = query[:, :, start:stop].float() @ key[:, :, first:last].float().transpose(-1, -2)
    found = []
    for own_start, own_stop, own_first, _ in spans:
        # In the product the run goes down a diagonal, which may begin above its own first query.
        above = (own_first - first) - (own_start - start)
        skipped = own_start - start - max(0, -above)
        found.append(product.diagonal(above, dim1=-2, dim2=-1).narrow(-1, skipped, own_stop - own_start))
    return found


def _next_to(one: Run, other: Run) -> bool:
    assert one.offset is not None and other.offset is not None
    return other.offset - one.offset <= 2 and other.start < one.stop and one.start < other.stop


def _blocks(group: Sequence[Run]) -> Iterator[list[Piece]]:
    first, last = min(run.start for run in group), max(run.stop for run in group)
    for start in range(first, last, BLOCK):
        parts = [(run, max(run.start, start), min(run.stop, start + BLOCK)) for run in group]
        yield [Piece(run, Run(begin, end, run.offset)) for run, begin, end in parts if begin < end]


def _span(run: Run) -> tuple[int, int, int, int]:
    """First and last query, first and last key of a run on a diagonal; the last ones exclusive."""
    assert run.offset is not None
    return run.start, run.stop, run.start - run.offset, run.stop - run.offset
