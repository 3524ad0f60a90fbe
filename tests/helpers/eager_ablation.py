"""Ablation by brute force: the library's own module run eagerly, whole passes, the input of its output projection replaced.

Nothing here is HeadScope's: this is what its numbers are held to.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

OUTPUT_PROJECTIONS = ("o_proj", "c_proj", "dense", "out_proj", "o")
IN_ATTENTION = ("attn", "attention", "self_attn", "self_attention")


def output_projections(bare: nn.Module) -> list[nn.Module]:
    """Each layer's `W_O`, found by name inside the library's own attention modules."""
    found = []
    for name, module in bare.named_modules():
        *path, last = name.split(".")
        if last in OUTPUT_PROJECTIONS and any(part in IN_ATTENTION for part in path) and "mlp" not in path[-1:]:
            found.append(module)
    return found


def logits_without(
    bare: nn.Module,
    tokens: torch.Tensor,
    heads: Iterable[Sequence[int]],
    n_heads: int,
    stand_in: list[torch.Tensor] | None = None,
) -> torch.Tensor:
    """Logits in float64, before any soft cap, with `heads` replaced: by nothing, or by `[layer][rows, tokens, n_heads, d]`."""
    heads = list(heads)
    with ExitStack() as stack, torch.no_grad():
        for layer, projection in enumerate(output_projections(bare)):
            mine = [head for where, head in heads if where == layer]

            def edit(module: nn.Module, inputs: Any, mine: list[int] = mine, layer: int = layer) -> Any:
                flat = inputs[0].clone()
                width = flat.shape[-1] // n_heads
                for head in mine:
                    part = slice(head * width, (head + 1) * width)
                    flat[..., part] = 0 if stand_in is None else stand_in[layer][:, :, head]
                return (flat, *inputs[1:])

            handle = projection.register_forward_pre_hook(edit)
            stack.callback(handle.remove)
        return uncapped(bare, tokens)


def uncapped(bare: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """The module's own logits in float64; where it caps them softly, what went into the cap."""
    cap = getattr(getattr(bare, "config", None), "final_logit_softcapping", None)
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        if cap:
            handle = bare.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output))
            bare(tokens)
            handle.remove()
            return seen[0].double()
        output = bare(tokens)
    return (output if torch.is_tensor(output) else output.logits).double()


def z_of(bare: nn.Module, tokens: torch.Tensor, n_heads: int) -> list[torch.Tensor]:
    """What each layer's heads write before `W_O`: `[layer][rows, tokens, n_heads, d]`."""
    seen: list[torch.Tensor] = []
    handles = [p.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])) for p in output_projections(bare)]
    with torch.no_grad():
        bare(tokens)
    for handle in handles:
        handle.remove()
    return [z.view(*z.shape[:2], n_heads, -1) for z in seen]


def centred(logits: torch.Tensor, tokens: torch.Tensor, targets: Sequence[int]) -> torch.Tensor:
    """`[rows, targets]`: the logit of each target token less the mean over the vocabulary, written as two loops."""
    found = torch.empty(len(tokens), len(targets), dtype=torch.float64)
    for row in range(len(tokens)):
        for place, target in enumerate(targets):
            all_of_them = logits[row, int(target) - 1]
            found[row, place] = all_of_them[tokens[row, int(target)]] - all_of_them.sum() / len(all_of_them)
    return found


def losses(logits: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """`[rows, tokens - 1]`: cross-entropy in nats of every token but the first."""
    return -logits.log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
