"""A model's module again, sharing every weight, with its attention replaced by one that is fast and can be watched.

Two thin adapters: library models call it through the model library's attention interface, native ones through their
attention module's `forward`.
"""

from __future__ import annotations

import copy
import types
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from core.transformer.passes.fused_attention import HeadsFirst, NotFused, SharedHeadsFirst, seen_attention

INTERFACE = "headscope"


def bare_twin(module: nn.Module) -> Any:
    """The same module with its attention replaced, sharing every weight; None where its attention cannot be replaced."""
    shared: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    try:
        twin: Any = copy.deepcopy(module, shared)
    except (RuntimeError, TypeError):
        return None
    if hasattr(twin, "layers") and hasattr(twin, "ln_out"):
        for block in twin.layers:
            block.attn.forward = types.MethodType(_native_attention, block.attn)
        return twin
    try:
        _register()
        twin.set_attn_implementation(INTERFACE)
    except (ValueError, AttributeError, ImportError, KeyError):
        return None
    return twin


def _library_attention(
    module: nn.Module,
    query: HeadsFirst,
    key: SharedHeadsFirst,
    value: SharedHeadsFirst,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Float[Tensor, "batch tokens n_heads d_head"], None]:
    """What the model library calls in place of its own attention function."""
    # Whatever else a family hands over, its effect would show where this is held to the eager module.
    if more.get("position_bias") is not None or not getattr(module, "is_causal", True):
        raise NotFused
    scale = query.shape[-1] ** -0.5 if scaling is None else float(scaling)
    cap, sinks = more.get("softcap"), more.get("s_aux")
    output = seen_attention(query, key, value, scale, mask=attention_mask, soft_cap=cap, sinks=sinks)
    return output.transpose(1, 2).contiguous(), None


def _register() -> None:
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(INTERFACE, _library_attention)
    # Gives no mask where attention is simply causal.
    AttentionMaskInterface.register(INTERFACE, sdpa_mask)


def _native_attention(
    attention: Any, hidden_states: Tensor, attention_mask: None = None, position_ids: Tensor | None = None, **more: Any
) -> tuple[Tensor, None]:
    """A native attention module's forward, up to its pattern the module's own."""
    if not attention.causal:
        raise NotFused
    batch, tokens, _ = hidden_states.shape

    def heads(projection: nn.Module, count: int) -> Float[Tensor, "batch count tokens d_head"]:
        found: Tensor = projection(hidden_states).view(batch, tokens, count, attention.d_head).transpose(1, 2)
        return found

    query, key = heads(attention.q, attention.n_heads), heads(attention.k, attention.n_kv_heads)
    if attention.rotary is not None:
        query, key = attention.rotary.apply_rope(query, key, position_ids=position_ids)
    cap = attention.attn_scores_soft_cap if attention.attn_scores_soft_cap > 0 else None
    output = seen_attention(query, key, heads(attention.v, attention.n_kv_heads), 1.0 / attention.scale, soft_cap=cap)
    return attention.o(output.transpose(1, 2).reshape(batch, tokens, -1)), None
