"""Whether the pattern that an attention's softmax gives is the one that the attention uses, by its own account."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from core.errors import ModelUnavailable
from core.numbers import counted
from core.transformer.anatomy import OUT_OF_ORDER, TOKENS, run_module, trial_ids
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused import cell_tolerance
from core.transformer.passes.hooks import Hook, attached, pattern_hook


@torch.no_grad()
def check_shown(model: LoadedModel, n_tokens: int = TOKENS) -> None:
    """Hold every layer's pattern, as hooks see it, to the one that the attention itself gives back, on so many tokens.

    The model library's own families are held to it where they are tried; this is for attention that somebody wrote, which may
    mask, mix or weigh its pattern after the softmax. Raises ModelUnavailable where they differ: no score could be shown.
    """
    shown: dict[int, Tensor] = {}
    order: list[int] = []
    given: dict[int, Tensor] = {}

    def showing(layer: int) -> Hook:
        def keep(pattern: Tensor) -> None:
            shown[layer] = pattern.float().clone()

        return pattern_hook(layer), keep

    def giving(layer: int) -> Callable[..., None]:
        def keep(attention: nn.Module, arguments: Any, output: Any) -> None:
            order.append(layer)
            for part in output if isinstance(output, (tuple, list)) else ():
                if isinstance(part, Tensor) and layer in shown and part.shape == shown[layer].shape:
                    given[layer] = part.float().clone()

        return keep

    # Patterns of many tokens are large, and how many rows there are is seen on few.
    parts, rows = model.anatomy.attention, 2 if n_tokens <= TOKENS else 1
    with attached(model, [showing(layer) for layer in parts]), ExitStack() as stack:
        for layer, part in parts.items():
            handle = model.module.get_submodule(part.name).register_forward_hook(giving(layer))
            stack.callback(handle.remove)
        run_module(model.module, trial_ids(model.card.d_vocab, rows, n_tokens).to(model.device), patterns=model.anatomy.flagged)
    if order != list(parts):
        raise ModelUnavailable(f"On {counted(n_tokens, 'token')} {model.card.name} {OUT_OF_ORDER}")
    for layer, pattern in shown.items():
        if len(pattern) != rows:
            raise ModelUnavailable(
                f"The attention of layer {layer} of {model.card.name} goes through its rows one by one, so it cannot be "
                "watched: let it take its softmax of all rows at once."
            )
    for layer, pattern in given.items():
        if not torch.allclose(pattern, shown[layer], atol=cell_tolerance(model), rtol=0, equal_nan=True):
            raise ModelUnavailable(
                f"The attention of layer {layer} of {model.card.name} gives back another pattern than its softmax: what it "
                "does with it in between cannot be followed, so no head can be scored."
            )
