"""Causal attention that never makes a pattern, yet can be asked for any cell of it.

A kernel that returns the log-sum-exp of each row gives a single cell as `exp(q.k * scale - lse)`, and a row's entropy as
`lse - scale * q.(A K)`, one more call of the same kernel with keys for values. Memory grows linearly with tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

HeadsFirst = Float[Tensor, "batch n_heads tokens d_head"]
# Keys and values, which groups of query heads may share.
SharedHeadsFirst = Float[Tensor, "batch n_key_value_heads tokens d_head"]


@dataclass(frozen=True)
class FusedAttention:
    """One layer's attention without its pattern.

    log_sum_exp: of each query's scaled scores.
    output: `z`, each head's output before `W_O`.
    """

    query: HeadsFirst
    key: HeadsFirst
    value: HeadsFirst
    output: HeadsFirst
    log_sum_exp: Float[Tensor, "batch n_heads tokens"]
    scale: float

    def column(self, queries: slice, key: int) -> Float[Tensor, "batch n_heads queries"]:
        """`A[q, key]` for a run of queries."""
        scores = (self.query[:, :, queries].float() @ self.key[:, :, key].float()[..., None])[..., 0]
        return torch.exp(scores * self.scale - self.log_sum_exp[:, :, queries])

    def entropy(self) -> Float[Tensor, "batch n_heads tokens"]:
        """`-sum_k A ln A` of every query, in nats."""
        mean_key, _ = attend(self.query, self.key, self.key, self.scale)
        mean_score = (self.query.float() * mean_key.float()).sum(-1) * self.scale
        return (self.log_sum_exp - mean_score).clamp_min(0.0)


class NotFused(Exception):
    """This attention is more than a causal softmax: the hook-based pass must do it."""


# What it returns takes the place of the output; None leaves it.
See = Callable[[FusedAttention], HeadsFirst | None]
_layers: ContextVar[See | None] = ContextVar("_layers", default=None)


@contextmanager
def each_layer(see: See) -> Iterator[None]:
    """Show `see` every layer's attention of the passes made inside; what it returns takes the place of the output."""
    token = _layers.set(see)
    try:
        yield
    finally:
        _layers.reset(token)


def attend(
    query: HeadsFirst, key: HeadsFirst, value: HeadsFirst, scale: float
) -> tuple[HeadsFirst, Float[Tensor, "batch n_heads tokens"]]:
    """Causal attention and each row's log-sum-exp, by the device's own fused kernel."""
    if query.device.type == "cpu":
        output, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, True, attn_mask=None, scale=scale
        )
    elif query.device.type != "cuda":
        raise NotFused
    elif query.dtype == torch.float32:
        output, log_sum_exp, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, None, True, 0.0, True, scale=scale
        )
    else:
        output, log_sum_exp, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            query, key, value, 0.0, True, False, scale=scale
        )
    # Some kernels pad the rows.
    return output, log_sum_exp[:, :, : query.shape[2]].float()


def seen_attention(query: HeadsFirst, key: SharedHeadsFirst, value: SharedHeadsFirst, scale: float) -> HeadsFirst:
    """Attention of one layer, shown to whoever watches; keys and values may be shared by groups of query heads."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    output, log_sum_exp = attend(query, key, value, scale)
    see = _layers.get()
    changed = None if see is None else see(FusedAttention(query, key, value, output, log_sum_exp, scale))
    return output if changed is None else changed
