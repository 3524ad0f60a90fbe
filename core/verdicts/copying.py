"""Whether a head copies what it looks at, by its weights (Elhage et al. 2021; Olsson et al. 2022). Shown, never decides.

What a later head reads at a token is not the token's row of `W_E` but what the first block has made of it: the *effective
embedding*, block 0's output on `[BOS, token]`. On SmolLM2 `W_E` gives 5 of 9 heads whose direct effect is sure the wrong sign,
the effective embedding none. Heads of the first layer read the embedding itself.

The final norm and the head's input norm enter through what is linear in them, their gain and, for LayerNorm, the centring; the
positive scale that depends on the token is left out (it cannot change a sign). With grouped queries a query head uses its
group's `W_V`.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.errors import Withheld
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import run_body
from core.transformer.passes.weights import read_by_logits, reads, values_and_outputs

# A pass over the whole vocabulary would cost more than all verdicts; more tokens than a head has dimensions suffice.
SAMPLED_TOKENS = 512
_TOKENS_AT_ONCE = 128


def sampled_tokens(model: LoadedModel, seed: int = 0) -> Int[np.ndarray, " tokens"]:
    """The tokens that copying is read on: all that are not special, or `SAMPLED_TOKENS` of them."""
    ids = np.setdiff1d(np.arange(model.card.d_vocab), list(model.identity.special_ids))
    return np.sort(np.random.default_rng(seed).permutation(ids)[:SAMPLED_TOKENS])


@torch.no_grad()
def eigenvalue_copying(model: LoadedModel, seed: int = 0) -> Float[np.ndarray, "n_layers n_heads"]:
    """`sum(l) / sum(|l|)` over the eigenvalues of `E W_OV W_U` on a sample of tokens: 1 copies, -1 suppresses, near 0 neither.

    `E` is the effective embedding. The `tokens x tokens` matrix has the non-zero eigenvalues of the `d_head x d_head` product
    `W_O (W_U E) W_V`, which is what is computed. NaN where a layer shows no weights as matrices.
    """
    tokens = torch.from_numpy(sampled_tokens(model, seed))
    first, later = effective_embeddings(model, tokens)
    unembed = read_by_logits(model, tokens)
    scores = np.full((model.card.n_layers, model.card.n_heads), np.nan)
    for layer in range(model.card.n_layers):
        embedded, there = first if layer == 0 else later, model.anatomy.heads_in(layer)
        if there == 0:
            continue
        try:
            values, outputs = values_and_outputs(model, layer)
        except Withheld:
            continue
        for head in range(there):
            product = (outputs[head] @ unembed) @ (embedded @ reads(model, layer, values[:, head]))
            eigenvalues = torch.linalg.eigvals(product.cpu().double())
            size = eigenvalues.abs().sum()
            scores[layer, head] = float(eigenvalues.real.sum() / size) if size > 0 else 0.0
    return scores


@torch.no_grad()
def effective_embeddings(
    model: LoadedModel, tokens: Int[Tensor, " tokens"]
) -> tuple[Float[Tensor, "tokens d_model"], Float[Tensor, "tokens d_model"]]:
    """What heads of the first layer, and of later ones, read at each of `tokens` behind a BOS (alone, where there is none).

    The mean over tokens is taken away: what all have in common tells no token from another.
    """
    front = [] if model.identity.bos_token_id is None else [model.identity.bos_token_id]
    parts: list[tuple[Tensor, Tensor]] = []
    for batch in tokens.split(_TOKENS_AT_ONCE):
        rows = torch.tensor([[*front, int(token)] for token in batch])
        # Only the first block is gone through.
        inputs = run_body(model, rows, keep_inputs=True, until=min(1, model.card.n_layers - 1)).inputs
        parts.append((inputs[0][:, -1].float(), inputs[-1][:, -1].float()))
    first, later = (torch.cat(part) for part in zip(*parts, strict=True))
    return first - first.mean(0), later - later.mean(0)
