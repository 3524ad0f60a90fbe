"""A model one block at a time, from a clean pass that is kept: any block again, for many rows, with heads changed inside it.

Two thin adapters of one face. `FusedBlocks` runs the bare module with fused attention: nothing but what must be multiplied.
`HookedBlocks` runs the bridge with hooks: right for every architecture whose blocks can be run on their own, and what the
fast one is held to.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from core.errors import BadInput
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused import can_fuse, fused_body
from core.transformer.passes.fused_attention import FusedAttention, HeadsFirst, NotFused, attend, each_layer
from core.transformer.passes.hooks import (
    Body,
    Hidden,
    Hook,
    attached,
    can_resume,
    pattern_hook,
    recorded,
    run_block,
    run_body,
    z_hook,
)
from core.transformer.passes.trials import closeness, trial_tokens

Z = Float[Tensor, "batch tokens n_heads d_head"]
Engine = Literal["fused", "hooks"]


@dataclass(frozen=True)
class LayerEdit:
    """What to change in one layer, for rows that are `nodes` times the clean sequences, one node after the other.

    ablated: which heads of each node lose their `z`.
    stand_in: what takes its place, by clean sequence and position or the same for all; None for nothing.
    frozen: whether the layer's patterns are held at their clean values.
    watch: shown `z` as it is before anything is replaced.
    """

    ablated: Bool[Tensor, "nodes n_heads"]
    stand_in: Float[Tensor, "sequences_or_1 tokens_or_1 n_heads d_head"] | None = None
    frozen: bool = False
    watch: Callable[[Z], None] | None = None

    def replaced(self, z: Z) -> Z:
        """`z` of all rows with the ablated heads' replaced."""
        if self.watch is not None:
            self.watch(z)
        if not self.ablated.any():
            return z
        nodes, n_heads = self.ablated.shape
        whole = z.view(nodes, -1, *z.shape[1:])
        chosen = self.ablated.to(z.device).view(nodes, 1, 1, n_heads, 1)
        other = z.new_zeros(()) if self.stand_in is None else self.stand_in.to(z.dtype)[None]
        return torch.where(chosen, other, whole).reshape(z.shape)


@runtime_checkable
class Blocks(Protocol):
    """A model's blocks, and the clean pass over some sequences that they go on from."""

    engine: Engine
    body: Body

    def run(self, layer: int, hidden: Hidden, edit: LayerEdit | None = None) -> Hidden:
        """Block `layer` on `hidden`, whatever its batch, with `edit` inside."""
        ...

    def finish(self, hidden: Hidden) -> Hidden:
        """From the last block's output to the unembedding's input."""
        ...

    def heads_of(self, tokens: Int[Tensor, "batch tokens"], keep: Callable[[Z], Tensor]) -> dict[int, Tensor]:
        """What `keep` makes of each layer's `z` in a pass over `tokens`."""
        ...

    def prepare_frozen(self) -> None:
        """Make ready, once, for edits whose patterns are frozen; raises BadInput where they cannot be."""
        ...


class FusedBlocks:
    """Blocks of the bare module, with fused attention. Only for models that `can_edit_fused`."""

    engine: Engine = "fused"

    def __init__(self, model: LoadedModel, tokens: Int[Tensor, "batch tokens"]) -> None:
        self._model, self._tokens = model, tokens
        self._blocks, self._final_norm = bare_parts(model)
        self._clean: list[tuple[HeadsFirst, HeadsFirst]] = []
        with torch.no_grad(), recorded(model, self._blocks, tokens) as (inputs, calls):
            final = fused_body(model, tokens, lambda attention: None)
        self.body = Body(final=final, inputs=tuple(inputs), calls=tuple(calls))

    def run(self, layer: int, hidden: Hidden, edit: LayerEdit | None = None) -> Hidden:
        """As `Blocks.run`."""
        see = (lambda attention: None) if edit is None else partial(self._edited, layer, edit)
        # Another person's ablator may be recording these very blocks.
        with self._model.lock, each_layer(see):
            return self.body.calls[layer].run(self._blocks[layer], hidden)

    def finish(self, hidden: Hidden) -> Hidden:
        """As `Blocks.finish`."""
        return self._final_norm(hidden)

    def heads_of(self, tokens: Int[Tensor, "batch tokens"], keep: Callable[[Z], Tensor]) -> dict[int, Tensor]:
        """As `Blocks.heads_of`."""
        found: list[Tensor] = []
        with torch.no_grad():
            fused_body(self._model, tokens, lambda attention: found.append(keep(attention.output.transpose(1, 2))))
        return dict(enumerate(found))

    def prepare_frozen(self) -> None:
        """Keep every layer's clean queries and keys: with new values they give the clean pattern's output."""
        if not self._clean:
            with torch.no_grad():
                fused_body(self._model, self._tokens, lambda attention: self._clean.append((attention.query, attention.key)))

    def _edited(self, layer: int, edit: LayerEdit, attention: FusedAttention) -> HeadsFirst:
        output = attention.output
        if edit.frozen:
            query, key = (kept.repeat(len(edit.ablated), 1, 1, 1) for kept in self._clean[layer])
            output, _ = attend(query, key, attention.value, attention.scale)
        return edit.replaced(output.transpose(1, 2)).transpose(1, 2)


class HookedBlocks:
    """Blocks of the bridge, with hooks. Only for models that `can_resume`."""

    engine: Engine = "hooks"

    def __init__(self, model: LoadedModel, tokens: Int[Tensor, "batch tokens"]) -> None:
        self._model, self._tokens = model, tokens
        self._patterns: dict[int, Tensor] = {}
        with torch.no_grad():
            self.body = run_body(model, tokens, keep_inputs=True)

    def run(self, layer: int, hidden: Hidden, edit: LayerEdit | None = None) -> Hidden:
        """As `Blocks.run`."""
        return run_block(self._model, self.body, layer, hidden, [] if edit is None else self._hooks(layer, edit))

    def finish(self, hidden: Hidden) -> Hidden:
        """As `Blocks.finish`."""
        with self._model.lock:
            found: Hidden = self._model.bridge.ln_final(hidden)
            return found

    def heads_of(self, tokens: Int[Tensor, "batch tokens"], keep: Callable[[Z], Tensor]) -> dict[int, Tensor]:
        """As `Blocks.heads_of`."""
        return _kept_at(self._model, tokens, z_hook, keep)

    def prepare_frozen(self) -> None:
        """Keep every layer's clean pattern; raises BadInput where a change to it would come too late."""
        if not self._patterns:
            _check_patterns_can_be_frozen(self._model, self._tokens)
            self._patterns = _kept_at(self._model, self._tokens, pattern_hook, torch.clone)

    def whole_pass(self, edits: dict[int, LayerEdit], nodes: int) -> Hidden:
        """The unembedding's input of a pass from the first token on: for models whose blocks cannot be run on their own."""
        hooks = [hook for layer, edit in edits.items() for hook in self._hooks(layer, edit)]
        return run_body(self._model, self._tokens.repeat(nodes, 1), hooks).final

    def _hooks(self, layer: int, edit: LayerEdit) -> list[Hook]:
        """What makes `edit` happen in a pass of the bridge."""
        hooks: list[Hook] = [(z_hook(layer), edit.replaced)]
        if edit.frozen:
            clean = self._patterns[layer]
            hooks.append((pattern_hook(layer), lambda own: clean.repeat(len(edit.ablated), 1, 1, 1).to(own.dtype)))
        return hooks


def bare_parts(model: LoadedModel) -> tuple[list[torch.nn.Module], Callable[[Tensor], Tensor]]:
    """The bare module's blocks, first to last, and its final norm.

    Raises AttributeError where the module has none under the names that the library's adapter knows.
    """
    bare: Any = model.bare
    if hasattr(bare, "layers") and hasattr(bare, "ln_out"):
        return list(bare.layers), bare.ln_out
    parts = model.bridge.adapter.component_mapping
    return list(bare.get_submodule(parts["blocks"].name)), bare.get_submodule(parts["ln_final"].name)


def can_edit_fused(model: LoadedModel) -> bool:
    """Whether the bare blocks, one by one with heads changed, give what the hooks give; tried once for each model."""
    if model not in _EDITABLE:
        _EDITABLE[model] = can_resume(model) and can_fuse(model) and _edits_agree(model)
    return _EDITABLE[model]


_EDITABLE: weakref.WeakKeyDictionary[LoadedModel, bool] = weakref.WeakKeyDictionary()


def _edits_agree(model: LoadedModel) -> bool:
    tokens = trial_tokens(model)
    ablated = torch.zeros(2, model.card.n_heads, dtype=torch.bool)
    # Two nodes, different heads: a mix-up of nodes, sequences or heads would show.
    ablated[0, 0] = ablated[1, -1] = True
    try:
        fused = _edited_end(model, FusedBlocks(model, tokens), ablated)
        hooked = _edited_end(model, HookedBlocks(model, tokens), ablated)
    except (NotFused, RuntimeError, TypeError, AttributeError, ValueError, KeyError, IndexError):
        return False
    return bool(torch.allclose(fused, hooked, atol=closeness(model, hooked), rtol=0))


@torch.no_grad()
def _edited_end(model: LoadedModel, blocks: Blocks, ablated: Bool[Tensor, "nodes n_heads"]) -> Hidden:
    hidden = blocks.body.inputs[0].repeat(len(ablated), 1, 1)
    for layer in range(model.card.n_layers):
        hidden = blocks.run(layer, hidden, LayerEdit(ablated))
    return blocks.finish(hidden)


def _kept_at(
    model: LoadedModel, tokens: Int[Tensor, "batch tokens"], point: Callable[[int], str], keep: Callable[[Tensor], Tensor]
) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}

    def hook(layer: int) -> Callable[[Tensor], None]:
        def see(activation: Tensor) -> None:
            found[layer] = keep(activation)

        return see

    with torch.no_grad():
        run_body(model, tokens, [(point(layer), hook(layer)) for layer in range(model.card.n_layers)])
    return found


def _check_patterns_can_be_frozen(model: LoadedModel, tokens: Int[Tensor, "batch tokens"]) -> None:
    """Some architectures show their pattern only after it was used; a change to it would then do nothing, silently.

    Raises BadInput for these.
    """
    seen: list[Tensor] = []

    def keep(z: Tensor) -> None:
        seen.append(z.detach().clone())

    def nothing(pattern: Tensor) -> Tensor:
        return torch.zeros_like(pattern)

    with torch.no_grad(), attached(model, [(pattern_hook(0), nothing)]):
        run_body(model, tokens[:1, : min(4, tokens.shape[1])], [(z_hook(0), keep)])
    if seen[0].abs().max() > 0:
        raise BadInput(
            f"Pattern-preserving ablation is not possible for {model.card.name}: this architecture shows its attention "
            "pattern only after use. Choose zero, mean or resample."
        )
