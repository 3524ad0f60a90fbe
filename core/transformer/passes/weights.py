"""A head's weights as they act on the residual stream: grouped queries resolved, norms through what is linear in them.

A norm enters through its gain and, for LayerNorm, the centring; the positive scale that depends on the token is left out.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from core.errors import BadInput
from core.transformer.loaded import LoadedModel


def query_and_key(
    model: LoadedModel, layer: int, head: int
) -> tuple[Float[Tensor, "d_model d_head"], Float[Tensor, "d_model d_head"]]:
    """A query head's own `W_Q`, and its `W_K`, which it may share with its group."""
    queries, keys = _matrix(model, "W_Q", layer), _matrix(model, "W_K", layer)
    return queries[head].float(), keys[head * len(keys) // model.card.n_heads].float()


def reads(model: LoadedModel, layer: int, matrix: Float[Tensor, "d_model columns"]) -> Float[Tensor, "d_model columns"]:
    """`matrix`, which reads a layer's normed input, as it reads the residual stream itself."""
    return centred(model, input_gain(model, layer)[:, None] * matrix)


def value_and_output(
    model: LoadedModel, layer: int, head: int
) -> tuple[Float[Tensor, "d_model d_head"], Float[Tensor, "d_head d_model"]]:
    """A query head's `W_V`, which it may share with its group, and its own `W_O`."""
    values, outputs = _matrix(model, "W_V", layer), _matrix(model, "W_O", layer)
    group = head * len(values) // model.card.n_heads
    return values[group].float(), outputs[head].float()


def embedding(model: LoadedModel) -> Float[Tensor, "d_vocab d_model"]:
    """`W_E`; raises BadInput where the bridge shows none."""
    return _matrix(model, "W_E").float()


def unembedding(model: LoadedModel) -> Float[Tensor, "d_model d_vocab"]:
    """`W_U`; raises BadInput where the bridge shows none."""
    return _matrix(model, "W_U").float()


def _matrix(model: LoadedModel, name: str, layer: int | None = None) -> Tensor:
    """A weight under the field's name for it. Quantised weights and latent attention have none to show.

    Raises BadInput for these.
    """
    found: Any = None
    why: Exception | None = None
    try:
        place = model.bridge if layer is None else model.bridge.blocks[layer].attn
        found = getattr(place, name)
    except (NotImplementedError, AttributeError, AssertionError, RuntimeError, KeyError) as error:
        why = error
    if not isinstance(found, Tensor) or not found.is_floating_point():
        raise BadInput(
            f"{model.card.name} shows no {name} as a matrix of numbers (it may be quantised, or of a kind without one), so "
            "nothing is said of its weights."
        ) from why
    return found


def norm_kind(model: LoadedModel) -> str:
    """`layer`, `rms` or `none`."""
    norm = str(getattr(model.bridge.cfg, "normalization_type", None) or "").upper()
    return "rms" if norm.startswith("RMS") else "layer" if norm.startswith("LN") else "none"


def centred(model: LoadedModel, matrix: Float[Tensor, "d_model columns"]) -> Float[Tensor, "d_model columns"]:
    """LayerNorm takes the mean over features away from what it reads: the same as taking it from the rows that read."""
    return matrix - matrix.mean(0, keepdim=True) if norm_kind(model) == "layer" else matrix


def centred_rows(model: LoadedModel, rows: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
    """As `centred`, for vectors in rows."""
    return rows - rows.mean(-1, keepdim=True) if norm_kind(model) == "layer" else rows


def norm_scale(model: LoadedModel, residual: Float[Tensor, "... d_model"]) -> Float[Tensor, "... 1"]:
    """What the final norm divides by at each position."""
    eps = float(getattr(model.bridge.cfg, "eps", 1e-5))
    if norm_kind(model) == "none":
        return torch.ones_like(residual[..., :1])
    moved = residual - residual.mean(-1, keepdim=True) if norm_kind(model) == "layer" else residual
    return (moved.pow(2).mean(-1, keepdim=True) + eps).sqrt()


def final_gain(model: LoadedModel) -> Float[Tensor, " d_model"]:
    """The gain of the norm before the unembedding."""
    return _gain(model, model.bridge.ln_final)


def input_gain(model: LoadedModel, layer: int) -> Float[Tensor, " d_model"]:
    """The gain of the norm before a layer's attention."""
    return _gain(model, getattr(model.bridge.blocks[layer], "ln1", None))


def _gain(model: LoadedModel, norm: torch.nn.Module | None) -> Float[Tensor, " d_model"]:
    """A norm's gain; Gemma stores it less one."""
    weights = [] if norm is None else [p for name, p in norm.named_parameters() if name.endswith("weight")]
    if not weights:
        return torch.ones(model.card.d_model, device=model.device)
    offset = 1.0 if getattr(model.bridge.cfg, "rmsnorm_uses_offset", False) else 0.0
    return weights[0].float() + offset
