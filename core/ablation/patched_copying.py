"""Copying by patch-in: what one head's output, put into a run that has nothing to copy, does for the next token and later ones.

Background: a head that copies tokens makes the *next* token likelier; a head that copies words makes likelier what comes after
that, too: patched at the last token before a word, it raises the word's later tokens. Patched at that one position, one head
alone, from the run where there was something to copy (clean) into the one where there was not (corrupted). The control puts in
the same head's output from another prompt, where something else was copied.
References: Feucht et al. 2025 (The dual-route model of induction); there the change is of probabilities, here of logarithms.

Nothing before the patched position can change, so only the last few tokens are run again: keys and values of all others are
kept from the corrupted run, where that was found to give what whole passes give; elsewhere whole sequences are run.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from core.ablation.copying_prompts import CopyingPrompts
from core.ablation.outcomes import PatchedCopying
from core.errors import Withheld
from core.runtime.jobs import current_control
from core.transformer.conformance import check_removal
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import even_passes, rows_per_pass, runs_side_by_side
from core.transformer.passes.blocks import Blocks, LayerEdit
from core.transformer.passes.fused import Engine, way_of
from core.transformer.passes.fused_attention import NotFused
from core.transformer.passes.hooks import Hidden, Hook, can_resume, run_body, z_hook
from core.transformer.passes.prefix import Prefix
from core.transformer.passes.readout import token_losses
from core.transformer.passes.trials import closeness

# What each layer's heads write at the patched position of each prompt.
PatchedZ = Float[Tensor, "prompts 1 n_heads d_head"]


@torch.no_grad()
def patched_copying(
    model: LoadedModel,
    prompts: CopyingPrompts,
    on_share: Callable[[float], None] | None = None,
    *,
    whole: bool = False,
) -> PatchedCopying:
    """Patch every head alone, those of a layer side by side. whole: run whole sequences, whatever was found.

    Raises Withheld for an architecture whose layers cannot be run one by one, BadInput as `check_removal`.
    """
    # Whose slice is not the whole head has no output that could be put in another's place.
    check_removal(model)
    if not can_resume(model):
        raise Withheld(f"Copying by patch-in is withheld for {model.card.name}: its layers cannot be run one by one.")
    n_tokens = prompts.clean.shape[1]
    way = way_of(model, n_tokens)
    blocks, first = _blocks(model, prompts, way.engine, continues=way.continues and not whole)
    rows = torch.from_numpy(prompts.corrupted[:, first:].copy())
    places = torch.zeros(rows.shape, dtype=torch.bool)
    places[torch.arange(len(rows)), torch.from_numpy(prompts.places - first)] = True
    z = _clean_outputs(model, prompts, way.engine)
    reader = _Reader(model, rows, prompts)
    before = reader.log_probabilities(blocks.body.final)
    changes = np.full((4, model.card.n_layers, model.card.n_heads, len(rows)), np.nan)
    # The own output and, as control, that of the prompt before.
    for done, (layer, own) in enumerate(z.items()):
        for control, stand_in in enumerate((own, own.roll(1, 0))):
            after = _patched(blocks, model, layer, stand_in, places, reader)
            changes[2 * control : 2 * control + 2, layer, : after.shape[1]] = after - before
        if on_share is not None:
            on_share((done + 1) / len(z))
    return PatchedCopying(*changes)


class _Reader:
    """Reads the log-probability of each prompt's `w` off the end of a run: of its first token, and of the others."""

    def __init__(self, model: LoadedModel, rows: Tensor, prompts: CopyingPrompts) -> None:
        most = int(prompts.sizes.max())
        self._model, self._rows = model, rows
        self._targets = torch.arange(rows.shape[1] - most, rows.shape[1])
        # How far each of these is from the beginning of its prompt's `w`: 0 is its first token.
        self._place = np.arange(-most, 0)[None] + prompts.sizes[:, None]

    def log_probabilities(self, final: Hidden) -> Float[np.ndarray, "2 nodes prompts"]:
        """In nats, for one or several nodes side by side."""
        nodes = len(final) // len(self._rows)
        losses = token_losses(self._model, final, self._rows.repeat(nodes, 1), self._targets).double().cpu().numpy()
        by_node = -losses.reshape(nodes, len(self._rows), -1)
        first, later = (self._mean(by_node, self._place == 0), self._mean(by_node, self._place > 0))
        return np.stack([first, later])

    @staticmethod
    def _mean(values: np.ndarray, where: Bool[np.ndarray, "prompts targets"]) -> np.ndarray:
        found: np.ndarray = (values * where).sum(-1) / where.sum(-1)
        return found


def _blocks(model: LoadedModel, prompts: CopyingPrompts, engine: Engine, *, continues: bool) -> tuple[Blocks, int]:
    """The corrupted run, to go on from, and at which token it begins: the last ones alone, where that gives the same end."""
    tokens = torch.from_numpy(prompts.corrupted)
    first = int(prompts.places.min())
    if not continues or first < 1:
        return Blocks(model, tokens, engine), 0
    prefix = Prefix(first)
    whole = Blocks(model, tokens, engine, prefix)
    try:
        window = Blocks(model, tokens[:, first:], engine, after=prefix)
    except (NotFused, RuntimeError, TypeError, ValueError, LookupError):
        return whole, 0
    wanted = whole.body.final[:, first:]
    same = torch.allclose(window.body.final, wanted, atol=closeness(model, wanted), rtol=0)
    return (window, first) if same else (whole, 0)


def _clean_outputs(model: LoadedModel, prompts: CopyingPrompts, engine: Engine) -> dict[int, PatchedZ]:
    """Each layer's `z` of the clean run, at the position where it is put in."""
    tokens, places = torch.from_numpy(prompts.clean), torch.from_numpy(prompts.places)
    kept: dict[int, list[Tensor]] = {layer: [] for layer in model.anatomy.attention}
    size = rows_per_pass(model, tokens.shape[1], patterns=engine == "hooks", makes_way=True)
    for rows in even_passes(len(tokens), size):
        current_control().checkpoint()
        where = places[rows]

        def hook(layer: int, where: Tensor = where) -> Hook:
            def see(z: Tensor) -> None:
                kept[layer].append(z[torch.arange(len(where)), where][:, None].clone())

            return z_hook(layer), see

        module = model.bare if engine == "fused" else model.module
        run_body(model, tokens[rows], [hook(layer) for layer in kept], module=module, makes_way=True)
    return {layer: torch.cat(parts) for layer, parts in kept.items()}


def _patched(
    blocks: Blocks,
    model: LoadedModel,
    layer: int,
    stand_in: PatchedZ,
    places: Bool[Tensor, "prompts tokens"],
    reader: _Reader,
) -> Float[np.ndarray, "2 n_heads prompts"]:
    """The log-probabilities with each head of `layer` patched alone, as many at once as fit."""
    n_heads = model.anatomy.heads_in(layer)
    found = []
    size = runs_side_by_side(model, *places.shape, patterns=blocks.engine == "hooks")
    for start in range(0, n_heads, size):
        current_control().checkpoint()
        heads = range(start, min(start + size, n_heads))
        ablated = torch.zeros(len(heads), n_heads, dtype=torch.bool)
        ablated[torch.arange(len(heads)), torch.tensor(list(heads))] = True
        hidden = blocks.body.inputs[layer].repeat(len(heads), 1, 1)
        hidden = blocks.run(layer, hidden, LayerEdit(ablated, stand_in, places=places))
        for later in range(layer + 1, model.card.n_layers):
            hidden = blocks.run(later, hidden)
        found.append(reader.log_probabilities(blocks.finish(hidden)))
    return np.concatenate(found, axis=1)
