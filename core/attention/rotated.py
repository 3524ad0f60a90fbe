"""Attention to the successor of a token where the second half is rotated: which cells, and how both readers read them.

In `[BOS] + r + r[k:] + r[:k]` the token at second-half place `i` is `r[(i + k) mod L]`, and what came after it the first time
is one place further on in `r`. That is another distance than in `r + r`, and `k` differs by sequence, so the cells do too. The
last token of `r` is left out: what came after it is in the second half itself. The key of each cell is also shifted by a few
tokens, to see whether a head looks at the successor or at its neighbourhood.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.attention.scores import SUCCESSOR_SHIFTS
from core.probes.layout import Layout
from core.transformer.passes.fused_attention import FusedAttention

Reduced = Float[Tensor, "batch n_heads"]


def successor_name(shift: int) -> str:
    """What attention to the successor, with the key shifted by `shift`, is called among reduced scores."""
    return f"successor{shift:+d}"


def successor_queries(layout: Layout, rotation: Int[np.ndarray, " sequences"]) -> Int[np.ndarray, "sequences keys"]:
    """For each sequence the query whose token's successor is `r[1]`, `r[2]`, ..., `r[L-1]`; their keys are `b+1 .. b+L-1`."""
    successors = np.arange(1, layout.length)
    places: Int[np.ndarray, "sequences keys"] = (successors[None] - 1 - rotation[:, None]) % layout.length
    return layout.length + layout.b + places


class SuccessorReader:
    """The mean attention to the successor and its neighbours, of some sequences of a probe, `[batch, n_heads]` each.

    A shifted key that the query cannot see, or that is before the first token, gets no attention.
    """

    def __init__(self, layout: Layout, rotation: Int[np.ndarray, " sequences"]) -> None:
        self._queries = torch.from_numpy(successor_queries(layout, rotation))
        self._keys = torch.arange(layout.b + 1, layout.b + layout.length)

    def of_pattern(self, pattern: Float[Tensor, "batch n_heads query key"]) -> dict[str, Reduced]:
        """From a whole pattern."""
        queries = self._queries.to(pattern.device)
        rows = pattern.gather(2, queries[:, None, :, None].expand(-1, pattern.shape[1], -1, pattern.shape[3])).float()
        found = {}
        for shift in SUCCESSOR_SHIFTS:
            keys, seen = self._shifted(shift, pattern.device)
            cells = rows.gather(3, keys[None, None, :, None].expand(*rows.shape[:3], 1))[..., 0]
            found[successor_name(shift)] = cells.where(seen, 0.0).mean(-1).cpu()
        return found

    def of_fused(self, attention: FusedAttention) -> dict[str, Reduced]:
        """From fused attention: only the wanted cells."""
        device, n_heads = attention.query.device, attention.query.shape[1]
        queries = self._queries.to(device)[:, None].expand(-1, n_heads, -1)
        d_head = attention.query.shape[-1]
        query = attention.query.gather(2, queries[..., None].expand(-1, -1, -1, d_head)).float()
        log_sum_exp = attention.log_sum_exp.gather(2, queries)
        found = {}
        for shift in SUCCESSOR_SHIFTS:
            keys, seen = self._shifted(shift, device)
            # They stand in a row, so that as a rule nothing need be copied.
            first = int(self._keys[0]) + shift
            key = attention.key[:, :, first : first + len(keys)] if first >= 0 else attention.key[:, :, keys]
            scores = (query * key.float()).sum(-1) * attention.scale - log_sum_exp
            # Before the exponential: what the softmax never saw may be any number.
            found[successor_name(shift)] = scores.where(seen, -torch.inf).exp().mean(-1).cpu()
        return found

    def _shifted(self, shift: int, device: torch.device) -> tuple[Int[Tensor, " keys"], Tensor]:
        """The keys, and for each sequence which of them the query sees, to be used with `[batch, n_heads, keys]`."""
        keys = self._keys.to(device) + shift
        seen = (keys >= 0) & (keys <= self._queries.to(device))
        return keys.clamp_min(0), seen[:, None]
