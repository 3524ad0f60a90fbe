"""Tokens that a model may say at all: a bias that rules some out would hide what is told by the size of logits."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

# Nats below the best token: no number format knows a probability so small.
NEVER = 1e4


def said(logits: Float[Tensor, "... d_vocab"]) -> Bool[Tensor, " d_vocab"]:
    """Which tokens are anywhere within `NEVER` nats of the best one; all where that cannot be said.

    Ids without a token are ruled out by as much as a number format has (padding of the vocabulary).
    """
    rows = logits.detach().flatten(0, -2) if logits.dim() > 1 else logits.detach()[None]
    found = (rows > rows.max(dim=-1, keepdim=True).values - NEVER).any(0)
    return found if bool(found.any()) else torch.ones_like(found)
