"""What each head adds to the right token's logit: direct logit attribution, from a pass (Elhage et al. 2021).

The final norm enters with the scale that it has at each position, and its gain; LayerNorm also centres.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.probes.probe import Probe
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import run_body, z_hook
from core.transformer.passes.weights import centred_rows, final_gain, norm_scale, unembedding, value_and_output


@torch.no_grad()
def direct_effect(model: LoadedModel, probe: Probe) -> Float[np.ndarray, "n_layers n_heads sequences"]:
    """What each head adds directly to the correct token's logit over the mean token's, on second-copy predictions.

    In logits: the head's output, divided by the final norm's scale at that position, dotted with
    `W_U[correct] - mean(W_U)`. By sequence, averaged over positions `L+b .. 2L+b-2`.
    """
    layout = probe.layout
    queries = torch.arange(layout.length + layout.b, layout.n_tokens - 1)
    tokens = torch.from_numpy(np.array(probe.tokens))
    kept: dict[int, Tensor] = {}
    residual: list[Tensor] = []

    def keep(layer: int) -> Callable[[Tensor], None]:
        def hook(z: Tensor) -> None:
            kept[layer] = z[:, queries.to(z.device)].float()

        return hook

    # Inside the lock: somebody else's pass through the shared module must not leave its residual stream here.
    with model.lock:
        handle = model.bridge.ln_final.register_forward_pre_hook(lambda module, inputs: residual.append(inputs[0]))
        try:
            run_body(model, tokens, [(z_hook(layer), keep(layer)) for layer in range(model.card.n_layers)])
        finally:
            handle.remove()
    final = residual[0][:, queries.to(residual[0].device)].float()
    unembed = unembedding(model)
    wanted = unembed.T[tokens[:, queries + 1].to(unembed.device)] - unembed.mean(1)
    direction = centred_rows(model, wanted * final_gain(model)) / norm_scale(model, final)
    scores = np.zeros((model.card.n_layers, model.card.n_heads, probe.n_sequences))
    for layer, z in kept.items():
        for head in range(model.card.n_heads):
            _, output = value_and_output(model, layer, head)
            scores[layer, head] = (z[:, :, head] * (direction @ output.T)).sum(-1).mean(-1).cpu().numpy()
    return scores
