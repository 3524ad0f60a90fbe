"""The causal map: what each head, ablated alone, does to the loss.

Exact: one ablation a head, all heads of a layer from one shared clean prefix. Estimated: one forward and one backward for
all heads, first order in the change of `z` (attribution patching): cheap, and wrong where the loss bends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from core.ablation import AblationBench
from core.forward import pattern_hook, run_body, token_losses, z_hook
from core.head_sets import Mode
from core.scores import Layout, first_copy_targets, second_copy_targets


def layer_losses(
    bench: AblationBench, layer: int, mode: Mode, layout: Layout, on_head: Callable[[int], None] | None = None
) -> Float[np.ndarray, "copies n_heads sequences"]:
    """Mean first-copy and second-copy loss (nats) of each sequence, with each head of `layer` ablated alone."""
    sets = [((layer, head),) for head in range(bench.model.card.n_heads)]
    return copy_losses(bench.token_loss(sets, mode, on_head), layout)


def copy_losses(
    token_loss: Float[np.ndarray, "*sets sequences tokens"], layout: Layout
) -> Float[np.ndarray, "copies *sets sequences"]:
    """Each sequence's mean loss over the first and over the second copy's targets."""
    first = token_loss[..., first_copy_targets(layout)].mean(-1, dtype=np.float64)
    second = token_loss[..., second_copy_targets(layout)].mean(-1, dtype=np.float64)
    return np.stack([first, second])


def estimated_effects(bench: AblationBench, mode: Mode, layout: Layout) -> Float[np.ndarray, "n_layers n_heads"]:
    """The change in second-copy loss (nats) that each head's ablation would cause, to first order.

    The loss's gradient at each head's `z`, times what the ablation would change `z` by, summed over positions and features
    and averaged over sequences. In mode `pattern` the gradient does not flow through attention patterns.
    """
    model = bench.model
    kept: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], Tensor]:
        def hook(z: Tensor) -> Tensor:
            z.retain_grad()
            kept[layer] = z
            return z

        return hook

    layers = range(model.card.n_layers)
    hooks = [(z_hook(layer), keep(layer)) for layer in layers]
    if mode == "pattern":
        hooks += [(pattern_hook(layer), Tensor.detach) for layer in layers]
    start = [model.bridge.blocks[0].register_forward_pre_hook(_require_gradient, with_kwargs=True)]
    try:
        with model.lock, torch.enable_grad():
            body = run_body(model, bench.tokens, hooks)
            losses = token_losses(model, body.final, bench.tokens)
            losses[:, torch.from_numpy(second_copy_targets(layout))].mean().backward()
    finally:
        for handle in start:
            handle.remove()
    effects = np.zeros((model.card.n_layers, model.card.n_heads))
    for layer, z in kept.items():
        stand_in = bench.stand_in(mode, layer)
        change = (torch.zeros_like(z) if stand_in is None else stand_in.to(z.dtype)) - z.detach()
        assert z.grad is not None
        effects[layer] = (z.grad.float() * change.float()).sum(dim=(0, 1, 3)).cpu().numpy()
    return effects


def _require_gradient(module: torch.nn.Module, arguments: tuple[object, ...], keywords: dict[str, object]) -> None:
    """Start the graph at the first block's input: the weights themselves need no gradient."""
    hidden = arguments[0] if arguments else keywords["hidden_states"]
    assert isinstance(hidden, Tensor)
    hidden.requires_grad_(True)
