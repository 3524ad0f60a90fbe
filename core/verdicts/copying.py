"""Whether a head copies what it looks at, by its weights (Elhage et al. 2021; Olsson et al. 2022).

The final norm and the head's input norm enter through what is linear in them, their gain and, for LayerNorm, the centring; the
positive scale that depends on the token is left out (it cannot change a sign). With grouped queries a query head uses its
group's `W_V`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from core.errors import BadInput
from core.transformer.loaded import LoadedModel
from core.transformer.passes.weights import embedding, read_by_logits, reads, value_and_output

SAMPLED_TOKENS = 256


@torch.no_grad()
def eigenvalue_copying(model: LoadedModel) -> Float[np.ndarray, "n_layers n_heads"]:
    """`sum(l) / sum(|l|)` over the eigenvalues of `W_E W_OV W_U`: 1 copies, -1 suppresses, near 0 neither.

    The `d_vocab x d_vocab` matrix has the non-zero eigenvalues of the `d_head x d_head` product
    `W_O (W_U W_E) W_V`, which is what is computed.
    """
    scores = np.full((model.card.n_layers, model.card.n_heads), np.nan)
    unembed = read_by_logits(model)
    between = unembed @ embedding(model)
    for layer in range(model.card.n_layers):
        for head in range(model.card.n_heads):
            if head >= model.anatomy.heads_in(layer):
                continue
            try:
                value, output = value_and_output(model, layer, head)
            except BadInput:
                continue
            product = output @ between @ reads(model, layer, value)
            eigenvalues = torch.linalg.eigvals(product.cpu().double())
            size = eigenvalues.abs().sum()
            scores[layer, head] = float(eigenvalues.real.sum() / size) if size > 0 else 0.0
    return scores


@torch.no_grad()
def logit_copying(model: LoadedModel, seed: int = 0) -> Float[np.ndarray, "n_layers n_heads"]:
    """How high a head that attends to a token puts that token's own logit among all: 1 highest, 0 the middle, -1 lowest.

    The mean rank of the diagonal of `W_E W_OV W_U` within its row, scaled to [-1, 1], over up to 256 tokens.
    """
    ids = np.setdiff1d(np.arange(model.card.d_vocab), list(model.identity.special_ids))
    chosen = np.random.default_rng(seed).permutation(ids)[:SAMPLED_TOKENS]
    tokens = torch.from_numpy(chosen).to(model.device)
    unembed = read_by_logits(model)
    embedded = embedding(model)[tokens]
    own = torch.arange(len(tokens), device=model.device)
    scores = np.full((model.card.n_layers, model.card.n_heads), np.nan)
    for layer in range(model.card.n_layers):
        for head in range(model.card.n_heads):
            if head >= model.anatomy.heads_in(layer):
                continue
            try:
                value, output = value_and_output(model, layer, head)
            except BadInput:
                continue
            logits = embedded @ reads(model, layer, value) @ output @ unembed
            diagonal = logits[own, tokens][:, None]
            # Ties count half, so that a head that writes nothing gets 0.
            below = (logits < diagonal).float().sum(1) + 0.5 * ((logits == diagonal).float().sum(1) - 1)
            scores[layer, head] = float(2 * (below / (model.card.d_vocab - 1)).mean() - 1)
    return scores
