"""What a head does with what it looks at: OV copying from the weights, direct logit attribution from a pass.

Both follow Elhage et al. 2021 and Olsson et al. 2022. The final norm and the head's input norm enter through what is
linear in them, their gain and, for LayerNorm, the centring; the positive scale that depends on the token is left out of
the weights' scores (it cannot change a sign) and taken from the pass for the attribution. With grouped queries a query
head uses its group's `W_V`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.attention.scores import Layout
from core.probes.repeated import Probe
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import run_body, z_hook
from core.transformer.passes.weights import centred, centred_rows, final_gain, norm_scale, reads, value_and_output

SAMPLED_TOKENS = 256


@torch.no_grad()
def eigenvalue_copying(model: LoadedModel) -> Float[np.ndarray, "n_layers n_heads"]:
    """`sum(l) / sum(|l|)` over the eigenvalues of `W_E W_OV W_U`: 1 copies, -1 suppresses, near 0 neither.

    The `d_vocab x d_vocab` matrix has the non-zero eigenvalues of the `d_head x d_head` product
    `W_O (W_U W_E) W_V`, which is what is computed.
    """
    scores = np.zeros((model.card.n_layers, model.card.n_heads))
    unembed = final_gain(model)[:, None] * centred(model, model.bridge.W_U.float())
    between = unembed @ model.bridge.W_E.float()
    for layer in range(model.card.n_layers):
        for head in range(model.card.n_heads):
            value, output = value_and_output(model, layer, head)
            product = output @ between @ reads(model, layer, value)
            eigenvalues = torch.linalg.eigvals(product.double().cpu())
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
    unembed = final_gain(model)[:, None] * centred(model, model.bridge.W_U.float())
    embedded = model.bridge.W_E.float()[tokens]
    own = torch.arange(len(tokens), device=model.device)
    scores = np.zeros((model.card.n_layers, model.card.n_heads))
    for layer in range(model.card.n_layers):
        for head in range(model.card.n_heads):
            value, output = value_and_output(model, layer, head)
            logits = embedded @ reads(model, layer, value) @ output @ unembed
            diagonal = logits[own, tokens][:, None]
            # Ties count half, so that a head that writes nothing gets 0.
            below = (logits < diagonal).float().sum(1) + 0.5 * ((logits == diagonal).float().sum(1) - 1)
            scores[layer, head] = float(2 * (below / (model.card.d_vocab - 1)).mean() - 1)
    return scores


@torch.no_grad()
def direct_logit_attribution(model: LoadedModel, probe: Probe) -> Float[np.ndarray, "n_layers n_heads"]:
    """What each head adds directly to the correct token's logit over the mean token's, on second-copy predictions.

    In logits: the head's output, divided by the final norm's scale at that position, dotted with
    `W_U[correct] - mean(W_U)`. Averaged over sequences and positions `L+b .. 2L+b-2`.
    """
    layout = Layout.of(probe)
    queries = torch.arange(layout.length + layout.b, layout.n_tokens - 1)
    tokens = torch.from_numpy(np.array(probe.tokens))
    kept: dict[int, Tensor] = {}
    residual: list[Tensor] = []

    def keep(layer: int) -> Callable[[Tensor], None]:
        def hook(z: Tensor) -> None:
            kept[layer] = z[:, queries.to(z.device)].float()

        return hook

    handle = model.bridge.ln_final.register_forward_pre_hook(lambda module, inputs: residual.append(inputs[0]))
    try:
        with model.lock:
            run_body(model, tokens, [(z_hook(layer), keep(layer)) for layer in range(model.card.n_layers)])
    finally:
        handle.remove()
    final = residual[0][:, queries.to(residual[0].device)].float()
    unembed = model.bridge.W_U.float()
    wanted = unembed.T[tokens[:, queries + 1].to(unembed.device)] - unembed.mean(1)
    direction = centred_rows(model, wanted * final_gain(model)) / norm_scale(model, final)
    scores = np.zeros((model.card.n_layers, model.card.n_heads))
    for layer, z in kept.items():
        for head in range(model.card.n_heads):
            _, output = value_and_output(model, layer, head)
            scores[layer, head] = float((z[:, :, head] * (direction @ output.T)).sum(-1).mean())
    return scores
