"""Path patching of the K input (Wang et al. 2022): does an induction head find its keys by what an earlier head wrote?

For a sender and every head of a later layer: the residual stream that enters the later layer, with the sender's own
contribution replaced (by its mean over sequences of fresh tokens, or by nothing), goes through that layer once, only to read
its keys. Then the layer runs on the clean stream with those keys in place of its own: queries, values and everything
before are clean. A head's pattern depends on its own queries and its own (group's) keys alone, so one such run gives every
head of the layer as if it alone had been patched.

Only the direct path counts: what layers between make of the sender's output stays clean. The norm before the attention is
computed again on the patched stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from core.ablation.ablator import Ablator
from core.attention.cells import induction_cells
from core.errors import BadInput
from core.heads import Head
from core.probes.layout import Layout
from core.runtime.jobs import current_control
from core.settings.modes import Mode
from core.transformer.anatomy import is_norm
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused import can_fuse
from core.transformer.passes.fused_attention import Seen, each_layer
from core.transformer.passes.hooks import Body, attached, run_body, z_hook


class _Enough(Exception):
    """All that is to be seen of a block was seen."""


@dataclass(frozen=True)
class PathPatch:
    """Prefix matching of every head in the receiving layers, by sequence, clean and with each sender's path to its keys cut;
    else NaN."""

    clean: Float[Tensor, "n_layers n_heads sequences"]
    patched: Float[Tensor, "senders n_layers n_heads sequences"]


@torch.no_grad()
def path_patch(ablator: Ablator, layout: Layout, senders: Sequence[Head], layers: Sequence[int], mode: Mode) -> PathPatch:
    """Patch the keys of each of `layers` with each of `senders` that lies before it replaced (`zero` or `mean`).

    Without senders nothing is run, on no model: everything is NaN then.

    Raises BadInput for an architecture whose blocks cannot be run on their own, or whose attention does not show its keys.
    """
    model, card = ablator.model, ablator.model.card
    clean = torch.full((card.n_layers, card.n_heads, len(ablator.tokens)), float("nan"))
    patched = torch.full((len(senders), *clean.shape), float("nan"))
    if not senders:
        return PathPatch(clean, patched)
    if not ablator.goes_on or not can_fuse(model, ablator.tokens.shape[1]):
        raise BadInput(
            f"Path patching is not possible for {card.name}: its layers cannot be run one by one with their keys changed."
        )
    control = current_control()
    body = ablator.body
    if ablator.engine != "fused":
        body = run_body(model, ablator.tokens, keep_inputs=True, module=model.bare)
    receivers = {layer: _attention(model, body, layer, body.inputs[layer]) for layer in layers}
    for layer, own in receivers.items():
        clean[layer, : own.query.shape[1]] = _prefix_matching(own, layout)
    for index, sender in enumerate(senders):
        with control.part(index, len(senders), f"cutting paths from {sender.name}"):
            change = _change_of_output(ablator, body, sender, mode)
            for layer, own in receivers.items():
                if layer > sender.layer:
                    keys = _attention(model, body, layer, body.inputs[layer] + change).key
                    patched[index, layer, : own.query.shape[1]] = _prefix_matching(own.with_keys(keys), layout)
    return PathPatch(clean, patched)


def _change_of_output(ablator: Ablator, body: Body, sender: Head, mode: Mode) -> Float[Tensor, "sequences tokens d_model"]:
    """What the sender's layer adds to the residual stream with the sender replaced, less what it adds, MLP held clean.

    Everything in the layer but its attention and its norms keeps its clean output, so the change passes whatever norm or
    multiplier the family puts behind its attention, and nothing else.
    """
    model, (layer, head) = ablator.model, sender
    stand_in = ablator.stand_in(mode, layer)
    block = model.blocks(model.bare)[layer]

    def replace(z: Float[Tensor, "sequences tokens n_heads _d_head"]) -> Tensor:
        changed = z.clone()
        changed[:, :, head] = 0.0 if stand_in is None else stand_in[:, :, head].to(z.dtype)
        return changed

    kept: dict[str, Any] = {}
    others = list(_others(block, model.anatomy.attention[layer].name.removeprefix(f"{model.anatomy.blocks[layer]}.")))
    with model.lock:
        before = _hooked_run(body, layer, block, body.inputs[layer], [(part, _keep(kept, name)) for name, part in others])
        with attached(model, [(z_hook(layer), replace)], model.bare):
            held = [(part, _give(kept[name])) for name, part in others if name in kept]
            after = _hooked_run(body, layer, block, body.inputs[layer], held)
    return after - before


def _others(block: nn.Module, attention: str) -> Iterator[tuple[str, nn.Module]]:
    """A block's parts beside its attention that do more than pass on or norm."""
    for name, part in block.named_children():
        if attention == name or is_norm(part) or isinstance(part, (nn.Dropout, nn.Identity)):
            continue
        if attention.startswith(f"{name}."):
            yield from ((f"{name}.{inner}", found) for inner, found in _others(part, attention.removeprefix(f"{name}.")))
        else:
            yield name, part


def _hooked_run(body: Body, layer: int, block: nn.Module, hidden: Tensor, hooks: Sequence[tuple[nn.Module, Any]]) -> Tensor:
    handles = [part.register_forward_hook(hook) for part, hook in hooks]
    try:
        return body.calls[layer].run(block, hidden)
    finally:
        for handle in handles:
            handle.remove()


def _keep(kept: dict[str, Any], name: str) -> Callable[..., None]:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        kept[name] = output

    return hook


def _give(output: Any) -> Callable[..., Any]:
    def hook(module: nn.Module, arguments: Any, own: Any) -> Any:
        return output

    return hook


def _attention(model: LoadedModel, body: Body, layer: int, hidden: Tensor) -> Seen:
    """A layer's attention when its block runs on `hidden`: what comes after it in the block is not run."""
    seen: list[Seen] = []

    def see(attention: Seen) -> None:
        seen.append(attention)
        raise _Enough

    with model.lock, each_layer(see), suppress(_Enough):
        body.calls[layer].run(model.blocks(model.bare)[layer], hidden)
    return seen[0]


def _prefix_matching(attention: Seen, layout: Layout) -> Float[Tensor, "_heads sequences"]:
    """Prefix matching of each head of a layer on each sequence."""
    queries, attended = (torch.from_numpy(cells).to(attention.query.device) for cells in induction_cells(layout))
    return attention.cells(queries, attended).float().mean(2).T.cpu()
