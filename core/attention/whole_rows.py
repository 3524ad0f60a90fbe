"""What needs whole rows of fused attention: entropy, and how much value each query brings, a block of queries at a time.

A block of the pattern is made from the scores and each row's log-sum-exp, read, and dropped. On a processor that is faster
than a second call of the attention kernel, and it gives both at once.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from core.transformer.passes.fused_attention import FusedAttention

# Queries in a block: its keys reach from the first token to its last query, so more queries waste more cells.
BLOCK = 64

Rows = Float[Tensor, "batch n_heads tokens"]


def whole_rows(attention: FusedAttention, value_norms: Rows) -> tuple[Rows, Rows]:
    """`-sum_k A ln A` in nats, and `sum_k A |v_k|`, of every query."""
    query, keys, values = attention.query, attention.key.float().transpose(-1, -2), value_norms[..., None]
    entropies, brought = [], []
    for start in range(0, query.shape[2], BLOCK):
        stop = min(start + BLOCK, query.shape[2])
        logs = (query[:, :, start:stop].float() @ keys[..., :stop]).mul_(attention.scale)
        logs.sub_(attention.log_sum_exp[:, :, start:stop, None])
        weights = logs.exp().tril_(start)
        sums = weights.sum(-1)
        # Of the row divided by its sum, which is less than 1 where a model has learned sinks.
        entropies.append(sums.log() - logs.mul_(weights).sum(-1) / sums)
        brought.append((weights @ values[:, :, :stop])[..., 0])
    return torch.cat(entropies, -1).clamp_min(0.0), torch.cat(brought, -1)
