"""Two ways through a model, compared once on a few tokens before the faster one is believed."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from core.transformer.loaded import LoadedModel


def closeness(model: LoadedModel, values: Tensor) -> float:
    """How far two ways to `values` may differ by rounding alone."""
    relative = 1e-5 if model.dtype == torch.float32 else 2e-2
    return relative * float(values.abs().nan_to_num().max())


def end_tolerance(model: LoadedModel) -> float:
    """How far the ends of whole passes may be apart by rounding alone, as a share of the largest."""
    return 1e-4 if model.dtype == torch.float32 else 5e-2


def trial_tokens(model: LoadedModel) -> Int[Tensor, "2 tokens"]:
    """A few ids on which two ways through a model are compared."""
    count = min(8, model.card.n_ctx)
    ids = torch.arange(2 * count).view(2, count) * 7 % model.card.d_vocab
    return ids.to(model.device)
