"""Which cells `A[q, k]` of an attention pattern each score averages: the queries and, for each query, the key.

Notation: `[BOS] + r + r`, `r` of length `L`; `b` = 1 with a BOS, else 0 (Elhage et al. 2021; Olsson et al. 2022).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from core.probes.layout import Layout

if TYPE_CHECKING:
    import torch

Cells = tuple[Int[np.ndarray, " queries"], Int[np.ndarray, " queries"]]


def uniform_share(cells: Cells, window: int = 0) -> float:
    """The mean on `cells` of a head that attends uniformly to all it sees: the last `window` tokens, or (0) every earlier one.

    A key further back than the window is not seen and gets nothing.
    """
    queries, keys = cells
    seen = np.minimum(queries + 1.0, window or np.inf)
    return float(np.mean((queries - keys < seen) / seen))


def induction_cells(layout: Layout) -> Cells:
    """Second-copy queries, at the token after the earlier copy: `A[q, q - L + 1]`, `q` in `L+b .. 2L+b-1`.

    Not the whole diagonal `1 - L`, which has an entry more without a BOS and two more with one, none of them induction.
    """
    return offset_cells(layout, layout.length - 1)


def offset_cells(layout: Layout, offset: int) -> Cells:
    """Second-copy queries, `offset` tokens back: the induction cells at `L - 1`, placebos elsewhere."""
    queries = layout.second_copy
    keys = queries - offset
    inside = (keys >= 0) & (keys <= queries)
    return queries[inside], keys[inside]


def previous_token_cells(layout: Layout) -> Cells:
    """`A[q, q - 1]`, leaving out the query whose key is the BOS (a sink would pass for a previous-token head there)."""
    queries = np.arange(layout.b + 1, layout.n_tokens)
    return queries, queries - 1


def duplicate_token_cells(layout: Layout) -> Cells:
    """Second-copy queries, at the earlier copy itself: `A[q, q - L]`."""
    queries = layout.second_copy
    return queries, queries - layout.length


def current_token_cells(layout: Layout) -> Cells:
    """`A[q, q]`, for all queries but the first, which has nowhere else to look."""
    queries = _all_but_first(layout)
    return queries, queries


def sink_cells(layout: Layout) -> Cells:
    """`A[q, 0]`, the first token, for all queries but the first."""
    queries = _all_but_first(layout)
    return queries, np.zeros_like(queries)


def normalised_entropy(
    pattern: Float[torch.Tensor, "batch heads tokens tokens"],
) -> Float[torch.Tensor, "batch heads queries"]:
    """`-sum_k A ln A / ln(q + 1)` for all queries but the first: 0 = one key, 1 = uniform.

    Rows are divided by their sum: where a model has learned sinks, some attention goes to no token.
    """
    import torch

    rows = pattern[:, :, 1:, :].float()
    rows = rows / rows.sum(-1, keepdim=True)
    queries = torch.arange(1, pattern.shape[-2], device=pattern.device)
    found: Float[torch.Tensor, "batch heads queries"] = torch.special.entr(rows).sum(-1) / torch.log(queries + 1.0)
    return found


def _all_but_first(layout: Layout) -> Int[np.ndarray, " queries"]:
    return np.arange(1, layout.n_tokens)
