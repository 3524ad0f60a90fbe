"""Path patching of the K input (Wang et al. 2022): does an induction head find its keys by what an earlier head wrote?

For a sender and every head of a later layer: the residual stream that enters the later layer, with the sender's own
contribution replaced (by its mean over other repeated sequences, or by nothing), goes through that layer once, only to read
its keys. Then the layer runs on the clean stream with those keys in place of its own: queries, values and everything
before are clean. A head's pattern depends on its own queries and its own (group's) keys alone, so one such run gives every
head of the layer as if it alone had been patched.

Only the direct path counts: what layers between make of the sender's output stays clean. The norm before the attention is
computed again on the patched stream.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from core.ablation.ablator import Ablator
from core.attention.cells import induction_cells
from core.errors import BadInput
from core.heads import Head
from core.probes.layout import Layout
from core.runtime.jobs import current_control
from core.settings.modes import Mode
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import Body, Hook, attached, can_resume, pattern_hook, run_body, z_hook


@dataclass(frozen=True)
class PathPatch:
    """Prefix matching of every head in the receiving layers, clean and with each sender's path to its keys cut; else NaN."""

    clean: Float[Tensor, "n_layers n_heads"]
    patched: Float[Tensor, "senders n_layers n_heads"]


@torch.no_grad()
def path_patch(ablator: Ablator, layout: Layout, senders: Sequence[Head], layers: Sequence[int], mode: Mode) -> PathPatch:
    """Patch the keys of each of `layers` with each of `senders` that lies before it replaced (`zero` or `mean`).

    Raises BadInput for an architecture whose blocks or keys cannot be run or changed on their own.
    """
    model, card = ablator.model, ablator.model.card
    if not can_resume(model):
        raise BadInput(f"Path patching is not possible for {card.name}: its layers cannot be run one by one.")
    control = current_control()
    body = run_body(model, ablator.tokens, keep_inputs=True)
    clean = torch.full((card.n_layers, card.n_heads), float("nan"))
    patched = torch.full((len(senders), card.n_layers, card.n_heads), float("nan"))
    for layer in layers:
        _check_keys_can_be_changed(model, body, layer)
        clean[layer] = _prefix_matching(model, body, layer, layout)
    for index, sender in enumerate(senders):
        with control.part(index, len(senders), f"cutting paths from {sender.name}"):
            change = _change_of_output(ablator, body, sender, mode)
            for layer in layers:
                if layer > sender.layer:
                    keys = _kept(model, body, layer, key_hook(layer), body.inputs[layer] + change)
                    patched[index, layer] = _prefix_matching(model, body, layer, layout, keys)
    return PathPatch(clean, patched)


def key_hook(layer: int) -> str:
    """The name of a layer's hook point on keys, before any rotation."""
    return f"blocks.{layer}.attn.hook_k"


def _change_of_output(ablator: Ablator, body: Body, sender: Head, mode: Mode) -> Float[Tensor, "sequences tokens d_model"]:
    """What the attention of the sender's layer adds to the residual stream with the sender replaced, less what it adds."""
    layer, head = sender
    stand_in = ablator.stand_in(mode, layer)

    def replace(z: Float[Tensor, "sequences tokens n_heads d_head"]) -> Tensor:
        changed = z.clone()
        changed[:, :, head] = 0.0 if stand_in is None else stand_in[:, :, head].to(z.dtype)
        return changed

    # Read after any norm that the architecture puts behind its attention, so the change is what really arrives.
    output = f"blocks.{layer}.hook_attn_out"
    before = _kept(ablator.model, body, layer, output, body.inputs[layer])
    return _kept(ablator.model, body, layer, output, body.inputs[layer], [(z_hook(layer), replace)]) - before


def _prefix_matching(
    model: LoadedModel, body: Body, layer: int, layout: Layout, keys: Tensor | None = None
) -> Float[Tensor, " n_heads"]:
    """Prefix matching of each head of a layer on its clean input, with `keys` in place of its own if given."""
    queries, attended = (torch.from_numpy(cells).to(model.device) for cells in induction_cells(layout))
    hooks: list[Hook] = [] if keys is None else [(key_hook(layer), _always(keys))]
    pattern = _kept(model, body, layer, pattern_hook(layer), body.inputs[layer], hooks)
    return pattern[:, :, queries, attended].float().mean((0, 2)).cpu()


def _kept(model: LoadedModel, body: Body, layer: int, point: str, hidden: Tensor, hooks: Sequence[Hook] = ()) -> Tensor:
    """What passes `point` when block `layer` runs on `hidden`, with `hooks` attached."""
    found: list[Tensor] = []
    if any(name not in model.bridge.hook_dict for name in (point, *(name for name, _ in hooks))):
        raise BadInput(f"Path patching is not possible for {model.card.name}: its attention does not show {point}.")
    with attached(model, [*hooks, (point, lambda activation: found.append(activation.clone()))]):
        body.calls[layer].run(model.bridge.blocks[layer], hidden)
    if not found:
        raise BadInput(f"Path patching is not possible for {model.card.name}: its attention does not show {point}.")
    return found[0]


def _check_keys_can_be_changed(model: LoadedModel, body: Body, layer: int) -> None:
    """An architecture that shows copies of its keys would ignore a change to them, silently.

    Raises BadInput for these.
    """
    hidden = body.inputs[layer][:1]
    own = _kept(model, body, layer, pattern_hook(layer), hidden)
    without = _kept(model, body, layer, pattern_hook(layer), hidden, [(key_hook(layer), torch.zeros_like)])
    if torch.equal(own, without):
        raise BadInput(f"Path patching is not possible for {model.card.name}: changing its keys changes nothing.")


def _always(keys: Tensor) -> Callable[[Tensor], Tensor]:
    def give(own: Tensor) -> Tensor:
        return keys.to(own.dtype)

    return give
