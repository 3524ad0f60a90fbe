"""Single cells of fused attention, read in blocks, against the same cells of a whole pattern."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attention.cell_runs import BLOCK, Run, planned, runs_of
from core.attention.reduce import FusedReducer, PatternReducer, wanted_cells
from core.probes.layout import Layout
from core.transformer.passes.fused_attention import FusedAttention

# Its first call imports for a second, which is no part of an example's time.
torch.testing.assert_close(torch.zeros(1), torch.zeros(1))
LAYOUTS = st.builds(Layout, length=st.integers(2, 2 * BLOCK + 10), b=st.integers(0, 1))


def random_attention(n_tokens: int, dtype: torch.dtype = torch.float32) -> tuple[FusedAttention, torch.Tensor]:
    """Attention over random queries and keys, and its pattern worked out whole."""
    random = torch.Generator().manual_seed(n_tokens)
    # As models hand them over: heads side by side in a token for queries, one after the other for keys.
    query = torch.randn(2, n_tokens, 3, 4, generator=random).to(dtype).transpose(1, 2)
    key = torch.randn(2, 3, n_tokens, 4, generator=random).to(dtype)
    scores = 0.7 * query.float() @ key.float().transpose(-1, -2)
    scores.masked_fill_(torch.ones(n_tokens, n_tokens, dtype=torch.bool).triu(1), -torch.inf)
    return FusedAttention(query, key, key, query, scores.logsumexp(-1), 0.7), scores.softmax(-1)


@settings(max_examples=40)
@given(layout=LAYOUTS, control=st.booleans())
def test_blocks_read_the_cells_of_the_whole_pattern(layout: Layout, control: bool) -> None:
    attention, pattern = random_attention(layout.n_tokens)
    fused = FusedReducer(layout, control=control, whole_rows=False)(attention)
    whole = PatternReducer(layout, control=control)(pattern)
    assert set(fused) == set(whole) - {"entropy", "value_weighted"}
    for name, means in fused.items():
        torch.testing.assert_close(means, whole[name], atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_formats_are_read_in_full_precision(dtype: torch.dtype) -> None:
    layout = Layout(length=BLOCK + 7, b=1)
    attention, pattern = random_attention(layout.n_tokens, dtype)
    fused, whole = (
        FusedReducer(layout, control=False, whole_rows=False)(attention),
        PatternReducer(layout, control=False)(pattern),
    )
    for name, means in fused.items():
        assert means.dtype == torch.float32
        torch.testing.assert_close(means, whole[name], atol=1e-6, rtol=0)


@given(layout=LAYOUTS)
def test_the_pieces_are_the_wanted_cells_each_once(layout: Layout) -> None:
    runs = {run for cells in wanted_cells(layout, control=False).values() for run in runs_of(cells)}
    groups = planned(tuple(runs))
    counted = Counter(
        (piece.whole, query) for group in groups for piece in group for query in range(piece.part.start, piece.part.stop)
    )
    assert counted == Counter((run, query) for run in runs for query in range(run.start, run.stop))
    # What one product gives is no more than a block of queries.
    blocks = [group for group in groups if len(group) > 1]
    assert all(max(p.part.stop for p in block) - min(p.part.start for p in block) <= BLOCK for block in blocks)
    assert blocks or layout.length < 4


def test_cells_are_cut_into_runs() -> None:
    def runs(queries: list[int], keys: list[int]) -> tuple[Run, ...]:
        return runs_of((np.array(queries, int), np.array(keys, int)))

    assert runs([], []) == ()
    assert runs([3, 4, 5], [1, 2, 3]) == (Run(3, 6, 2),)
    assert runs([3, 4, 5], [0, 0, 0]) == (Run(3, 6, None, 0),)
    assert runs([3, 4, 9], [1, 2, 2]) == (Run(3, 5, 2), Run(9, 10, 7))
    assert runs([5, 3], [1, 1]) == (Run(5, 6, 4), Run(3, 4, 2))
