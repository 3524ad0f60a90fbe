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
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import ModelUnavailable
from core.transformer.passes.prefix import kept_by, next_of_prefix

HeadsFirst = Float[Tensor, "batch n_heads tokens _d_head"]
# Keys and values that there may be more or fewer of than of queries.
KeysFirst = Float[Tensor, "batch n_heads keys _d_head"]
# Keys and values, which groups of query heads may share.
SharedHeadsFirst = Float[Tensor, "batch n_key_value_heads tokens _d_head"]


_ONLY_ON_THESE = (
    "On these tokens the model's attention does what it does not do on others, as with a mask for some of them, so they cannot "
    "be measured: choose other tokens."
)


@dataclass(frozen=True)
class FusedAttention:
    """One layer's attention without its pattern.

    log_sum_exp: of each query's scaled scores.
    output: `z`, each head's output before `W_O`.
    In a pass that goes on from a `Prefix`, what belongs to the queries of its tokens is NaN: nobody worked it out.
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

    def with_keys(self, key: HeadsFirst) -> FusedAttention:
        """The same queries on other keys."""
        output, log_sum_exp = attend(self.query, key, self.value, self.scale)
        return FusedAttention(self.query, key, self.value, output, log_sum_exp, self.scale)

    def with_values(self, value: HeadsFirst) -> HeadsFirst:
        """The output of this pattern on other values."""
        return attend(self.query, self.key, value, self.scale)[0]

    def cells(self, queries: Int[Tensor, " cells"], keys: Int[Tensor, " cells"]) -> Float[Tensor, "batch n_heads cells"]:
        """`A[q, k]` for pairs of queries and keys."""
        scores = (self.query[:, :, queries].float() * self.key[:, :, keys].float()).sum(-1)
        return torch.exp(scores * self.scale - self.log_sum_exp[:, :, queries])


@dataclass(frozen=True)
class ExplicitAttention:
    """One layer's attention with its pattern: for windows, soft caps, sinks and biases."""

    query: HeadsFirst
    key: HeadsFirst
    value: Float[Tensor, "batch n_heads tokens d_value"]
    output: Float[Tensor, "batch n_heads tokens d_value"]
    pattern: Float[Tensor, "batch n_heads tokens tokens"]
    scale: float
    mask: Tensor | None = None
    soft_cap: float | None = None
    sinks: Tensor | None = None

    def with_keys(self, key: HeadsFirst) -> ExplicitAttention:
        """The same queries on other keys."""
        return explicit(self.query, key, self.value, self.scale, self.mask, self.soft_cap, self.sinks)

    def with_values(self, value: HeadsFirst) -> HeadsFirst:
        """The output of this pattern on other values."""
        return self.pattern.to(value.dtype) @ value

    def cells(self, queries: Int[Tensor, " cells"], keys: Int[Tensor, " cells"]) -> Float[Tensor, "batch n_heads cells"]:
        """`A[q, k]` for pairs of queries and keys."""
        return self.pattern[:, :, queries, keys].float()


class NotFused(ModelUnavailable):
    """This attention does something that is not known here: only the model's own module can be believed.

    Where a model is first looked at that module is taken instead; what comes only with some tokens is said in the sentence.
    """

    def __init__(self, said: str = _ONLY_ON_THESE) -> None:
        super().__init__(said)


Seen = FusedAttention | ExplicitAttention
# What it returns takes the place of the output; None leaves it.
See = Callable[[Seen], HeadsFirst | None]
_layers: ContextVar[See | None] = ContextVar("_layers", default=None)


@contextmanager
def each_layer(see: See | None) -> Iterator[None]:
    """Show `see` every layer's attention of the passes made inside; what it returns takes the place of the output."""
    token = _layers.set(see)
    try:
        yield
    finally:
        _layers.reset(token)


def attend(
    query: HeadsFirst, key: KeysFirst, value: KeysFirst, scale: float, *, causal: bool = True
) -> tuple[HeadsFirst, Float[Tensor, "batch n_heads tokens"]]:
    """Attention, causal or to all keys, and each row's log-sum-exp, by the device's own fused kernel."""
    if query.device.type == "cpu":
        output, log_sum_exp = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, key, value, 0.0, causal, attn_mask=None, scale=scale
        )
    elif query.device.type != "cuda":
        raise NotFused
    elif query.dtype == torch.float32:
        output, log_sum_exp, *_ = torch.ops.aten._scaled_dot_product_efficient_attention(
            query, key, value, None, True, 0.0, causal, scale=scale
        )
    else:
        output, log_sum_exp, *_ = torch.ops.aten._scaled_dot_product_flash_attention(
            query, key, value, 0.0, causal, False, scale=scale
        )
    # Some kernels pad the rows.
    return output, log_sum_exp[:, :, : query.shape[2]].float()


def explicit(
    query: HeadsFirst,
    key: HeadsFirst,
    value: Float[Tensor, "batch n_heads tokens d_value"],
    scale: float,
    mask: Tensor | None = None,
    soft_cap: float | None = None,
    sinks: Float[Tensor, "..."] | None = None,
) -> ExplicitAttention:
    """Attention with its pattern. `mask` is boolean (True takes part) or added to the scores; None is causal.

    `sinks`: a learned score for each head that takes part in the softmax and has no token: rows then sum to less than 1.
    """
    scores = (query @ key.transpose(-1, -2)) * scale
    if soft_cap:
        scores = soft_cap * torch.tanh(scores / soft_cap)
    if mask is None:
        mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min) if mask.dtype == torch.bool else scores + mask
    scores = scores.float()
    if sinks is None:
        pattern = torch.softmax(scores, -1)
    else:
        rest = sinks.float().reshape(1, -1, 1, 1).expand(len(scores), -1, scores.shape[-2], 1)
        pattern = torch.softmax(torch.cat([scores, rest], -1), -1)[..., :-1]
    return ExplicitAttention(query, key, value, pattern.to(value.dtype) @ value, pattern, scale, mask, soft_cap, sinks)


def seen_attention(
    query: HeadsFirst,
    key: SharedHeadsFirst,
    value: Float[Tensor, "batch n_key_value_heads tokens d_value"],
    scale: float,
    *,
    mask: Tensor | None = None,
    soft_cap: float | None = None,
    sinks: Float[Tensor, "..."] | None = None,
) -> HeadsFirst:
    """Attention of one layer, shown to whoever watches; keys and values may be shared by groups of query heads."""
    if query.shape[2] != key.shape[2]:
        raise NotFused
    past, kept = next_of_prefix(), kept_by()
    plain = mask is None and not soft_cap and sinks is None and query.shape[-1] == value.shape[-1]
    if not plain and (past is not None or kept is not None):
        # Another half would be read without what is masked in this one.
        raise NotFused
    if kept is not None:
        kept.keep(key, value)
    groups = query.shape[1] // key.shape[1]

    def for_heads(shared: SharedHeadsFirst) -> HeadsFirst:
        return shared.repeat_interleave(groups, dim=1) if groups > 1 else shared

    key, value = for_heads(key), for_heads(value)
    see = _layers.get()
    attention: Seen
    if past is not None:
        past_key, past_value = (for_heads(part) for part in past)
        output, log_sum_exp = _after(past_key, past_value, query, key, value, scale)
        if see is None:
            return output
        attention = _whole(past_key, past_value, query, key, value, output, log_sum_exp, scale)
    elif plain:
        output, log_sum_exp = attend(query, key, value, scale)
        attention = FusedAttention(query, key, value, output, log_sum_exp, scale)
    else:
        attention = explicit(query, key, value, scale, mask, soft_cap, sinks)
    changed = None if see is None else see(attention)
    found = attention.output if changed is None else changed
    return found[:, :, found.shape[2] - query.shape[2] :]


def _after(
    past_key: KeysFirst, past_value: KeysFirst, query: HeadsFirst, key: HeadsFirst, value: HeadsFirst, scale: float
) -> tuple[HeadsFirst, Float[Tensor, "batch n_heads tokens"]]:
    """Attention of queries that come after some keys and values, to all of those, and causally to their own: as `attend`."""
    before, before_sum = attend(query, past_key, past_value, scale, causal=False)
    own, own_sum = attend(query, key, value, scale)
    log_sum_exp = torch.logaddexp(before_sum, own_sum)
    shares = ((part - log_sum_exp).exp()[..., None].to(own.dtype) for part in (before_sum, own_sum))
    return before * next(shares) + own * next(shares), log_sum_exp


def _whole(
    past_key: KeysFirst,
    past_value: KeysFirst,
    query: HeadsFirst,
    key: HeadsFirst,
    value: HeadsFirst,
    output: HeadsFirst,
    log_sum_exp: Float[Tensor, "batch n_heads tokens"],
    scale: float,
) -> FusedAttention:
    """The same as attention of the whole sequences."""
    first = past_key.shape[2]

    def placed(part: Tensor) -> Tensor:
        """Behind the queries that nobody worked out."""
        return torch.nn.functional.pad(part, (0, 0, first, 0), value=torch.nan)

    return FusedAttention(
        placed(query),
        torch.cat([past_key, key], 2),
        torch.cat([past_value, value], 2),
        placed(output),
        placed(log_sum_exp[..., None])[..., 0],
        scale,
    )
