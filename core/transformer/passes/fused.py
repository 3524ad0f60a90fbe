"""The fast scoring pass: the bare body with fused attention, no pattern, no unembedding.

Equal to the hook-based pass up to rounding, which is tried once for each model. Architectures whose attention is more than
a causal softmax (a sliding window, a soft cap, ALiBi) go the hook-based way.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused_attention import FusedAttention, NotFused, each_layer
from core.transformer.passes.hooks import pattern_hook, run_body
from core.transformer.passes.trials import trial_tokens


def fused_body(
    model: LoadedModel, tokens: Int[Tensor, "batch tokens"], see: Callable[[FusedAttention], None]
) -> Float[Tensor, "batch tokens d_model"]:
    """One pass over the bare body; `see` gets every layer's attention, first to last. Returns the unembedding's input."""
    bare = model.bare
    assert bare is not None
    with torch.no_grad(), model.lock, each_layer(see):
        if hasattr(bare, "layers") and hasattr(bare, "ln_out"):
            return _native_body(bare, tokens.to(model.device))
        found: Float[Tensor, "batch tokens d_model"] = bare.base_model(
            input_ids=tokens.to(model.device), use_cache=False
        ).last_hidden_state
        return found


def can_fuse(model: LoadedModel) -> bool:
    """Whether the fast pass gives what the model's own eager attention gives, tried once for each model."""
    if model not in _FUSABLE:
        _FUSABLE[model] = model.bare is not None and _agrees_with_eager(model)
    return _FUSABLE[model]


_FUSABLE: weakref.WeakKeyDictionary[LoadedModel, bool] = weakref.WeakKeyDictionary()


def _agrees_with_eager(model: LoadedModel) -> bool:
    tokens = trial_tokens(model)
    count = tokens.shape[1]
    eager: list[Tensor] = []
    fused: list[Tensor] = []
    hooks = [
        (pattern_hook(layer), lambda pattern: eager.append(pattern.detach().float())) for layer in range(model.card.n_layers)
    ]

    def see(attention: FusedAttention) -> None:
        fused.append(torch.stack([attention.column(slice(count - 1, count), key)[..., 0] for key in range(count)], dim=-1))

    try:
        with torch.no_grad():
            final = run_body(model, tokens, hooks).final
        own = fused_body(model, tokens, see)
    except (NotFused, RuntimeError, TypeError, AttributeError, ValueError, KeyError):
        return False
    if len(fused) != model.card.n_layers or len(eager) != model.card.n_layers:
        return False
    tolerance = 1e-5 if model.dtype == torch.float32 else 3e-2
    same_cells = all(torch.allclose(a[:, :, -1], b, atol=tolerance, rtol=0) for a, b in zip(eager, fused, strict=True))
    return same_cells and torch.allclose(final, own, atol=tolerance * float(final.abs().max()), rtol=0)


def _native_body(bare: Any, tokens: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d_model"]:
    positions = torch.arange(tokens.shape[1], device=tokens.device)[None].expand(len(tokens), -1)
    hidden = bare.tok_embed(tokens)
    if bare.pos is not None:
        hidden = hidden + bare.pos(positions)
    for block in bare.layers:
        (hidden,) = block(hidden, attention_mask=None, position_ids=positions)
    found: Float[Tensor, "batch tokens d_model"] = bare.ln_out(hidden)
    return found
