"""Ablation: what the loss becomes when heads are taken away.

On `z`, per query head, before `W_O`: zeroing a slice of the attention *output* would ablate no head at all. What stands
in for a head's `z`:

- `zero`: nothing.
- `mean`: its mean over a reference set of other repeated sequences, for each position.
- `resample`: its own `z` on another sequence of the probe (a derangement: never its own).
- `pattern`: pattern-preserving (Olsson et al. 2022): every attention pattern is held at its clean value and the head's
  output is zeroed, so only what flows through values is lost. Blind to previous-token heads by construction.

Weights are the model's own, never folded: folding `b_V` into `b_O` would leave a part of the head behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from core.errors import BadInput
from core.forward import Hook, attached, can_resume, pattern_hook, rows_per_pass, run_body, run_from, token_losses, z_hook
from core.head_sets import MODES, HeadSet, Mode
from core.models.loaded import LoadedModel

# Rows beyond this many tokens make no matrix product faster on a CPU, and cost memory.
CPU_TOKENS_PER_PASS = 2048
GPU_TOKENS_PER_PASS = 1 << 16


class AblationBench:
    """One model on one set of sequences, ready to try many head sets.

    The clean pass is made once; each ablation goes on from the first layer it touches. Thread-safe: a pass holds the
    model's lock only while it runs, and removes its hooks whatever happens.
    """

    def __init__(
        self,
        model: LoadedModel,
        tokens: np.ndarray,
        reference: np.ndarray | None = None,
        *,
        seed: int = 0,
        mean_over_positions: bool = False,
    ) -> None:
        """`tokens` `[sequences, tokens]`; `reference`, for mode `mean`, has rows of the same length.

        With `mean_over_positions` the mean is over the reference's positions too, and its rows may have any length.
        """
        self.model = model
        self.tokens = torch.from_numpy(np.array(tokens))
        self._reference = reference
        self._seed = seed
        self._mean_axes = (0, 1) if mean_over_positions else (0,)
        self._replacements: dict[Mode, dict[int, Tensor]] = {}
        self._patterns: dict[int, Tensor] = {}
        with torch.no_grad():
            self._body = run_body(model, self.tokens, keep_inputs=True)
            self.clean: Float[np.ndarray, "sequences tokens"] = self._losses(self._body.final)
        self._resumable = can_resume(model)

    def token_loss(
        self, sets: Sequence[HeadSet], mode: Mode, on_set: Callable[[int], None] | None = None
    ) -> Float[np.ndarray, "sets sequences tokens"]:
        """Each token's loss in nats, by target position, with each of `sets` ablated; an empty set gives the clean loss.

        `on_set` is called with the number of sets done, after each pass. Raises BadInput for a mode that is unknown or that
        these sequences or this architecture cannot have.
        """
        if mode not in MODES:
            raise BadInput(f"The ablation mode must be one of {', '.join(MODES)}, not {mode!r}.")
        self._prepare(mode)
        result = np.empty((len(sets), *self.clean.shape), dtype=np.float32)
        done = 0
        for first_layer, indices in self._groups(sets):
            if first_layer is None:
                result[indices] = self.clean
            else:
                result[indices] = self._one_pass([sets[i] for i in indices], mode, first_layer)
            done += len(indices)
            if on_set is not None:
                on_set(done)
        return result

    def stand_in(self, mode: Mode, layer: int) -> Float[Tensor, "sequences tokens n_heads d_head"] | None:
        """What `mode` puts in the place of `z` in `layer`, by sequence or the same for all; None for nothing."""
        self._prepare(mode)
        return self._replacements.get(mode, {}).get(layer)

    def _groups(self, sets: Sequence[HeadSet]) -> list[tuple[int | None, list[int]]]:
        """Sets that start in the same layer, as many together as one pass takes."""
        by_layer: dict[int | None, list[int]] = {}
        for index, heads in enumerate(sets):
            by_layer.setdefault(min((layer for layer, _ in heads), default=None), []).append(index)
        size = self._sets_per_pass()
        return [(layer, found[at : at + size]) for layer, found in by_layer.items() for at in range(0, len(found), size)]

    def _sets_per_pass(self) -> int:
        sequences, n_tokens = self.tokens.shape
        on_gpu = self.model.device.type == "cuda"
        by_speed = (GPU_TOKENS_PER_PASS if on_gpu else CPU_TOKENS_PER_PASS) // (sequences * n_tokens)
        by_memory = rows_per_pass(self.model, n_tokens) // sequences
        return max(1, min(by_speed, by_memory))

    def _one_pass(self, sets: Sequence[HeadSet], mode: Mode, first_layer: int) -> Float[np.ndarray, "sets sequences tokens"]:
        hooks = self._hooks(sets, mode, first_layer)
        rows = self.tokens.repeat(len(sets), 1)
        with torch.no_grad():
            if self._resumable:
                hidden = self._body.inputs[first_layer].repeat(len(sets), 1, 1)
                final = run_from(self.model, self._body, first_layer, hidden, hooks)
            else:
                final = run_body(self.model, rows, hooks).final
        return self._losses(final, rows).reshape(len(sets), *self.clean.shape)

    def _hooks(self, sets: Sequence[HeadSet], mode: Mode, first_layer: int) -> list[Hook]:
        card = self.model.card
        chosen = torch.zeros(card.n_layers, len(sets), card.n_heads, dtype=torch.bool)
        for index, heads in enumerate(sets):
            for layer, head in heads:
                chosen[layer, index, head] = True
        sequences = len(self.tokens)
        hooks: list[Hook] = []
        for layer in range(first_layer, card.n_layers):
            if mode == "pattern":
                hooks.append((pattern_hook(layer), _give(self._patterns[layer], len(sets))))
            if chosen[layer].any():
                ablated = chosen[layer].repeat_interleave(sequences, dim=0)[:, None, :, None].to(self.model.device)
                hooks.append((z_hook(layer), _replace(ablated, self.stand_in(mode, layer), len(sets))))
        return hooks

    def _prepare(self, mode: Mode) -> None:
        """Make, once, what `mode` puts in the place of a head's output."""
        if mode == "mean" and mode not in self._replacements:
            if self._reference is None:
                raise BadInput("Mean ablation needs reference sequences; choose another mode for these tokens.")
            self._replacements[mode] = _mean_z(self.model, torch.from_numpy(np.array(self._reference)), self._mean_axes)
        elif mode == "resample" and mode not in self._replacements:
            order = torch.from_numpy(derangement(len(self.tokens), self._seed))
            self._replacements[mode] = {layer: z[order] for layer, z in _clean_z(self.model, self.tokens).items()}
        elif mode == "pattern" and not self._patterns:
            self._patterns = _clean_patterns(self.model, self.tokens)

    def _losses(self, final: Tensor, tokens: Tensor | None = None) -> np.ndarray:
        return token_losses(self.model, final, self.tokens if tokens is None else tokens).cpu().numpy()


def derangement(count: int, seed: int) -> np.ndarray:
    """A random order of `0 .. count-1` in which nothing stays in its place: one cycle through a random order.

    Raises BadInput for fewer than two, which have none.
    """
    if count < 2:
        raise BadInput("Resample ablation needs at least 2 sequences: a head's output must come from another one.")
    order = np.random.default_rng(seed).permutation(count)
    moved = np.empty(count, dtype=np.int64)
    moved[order] = np.roll(order, 1)
    return moved


def _replace(ablated: Bool[Tensor, "rows 1 n_heads 1"], replacement: Tensor | None, sets: int) -> Callable[[Tensor], Tensor]:
    """A `z` hook that swaps in `replacement` (nothing for zero) where `ablated`."""

    def edit(z: Float[Tensor, "rows tokens n_heads d_head"]) -> Tensor:
        if replacement is None:
            return z.masked_fill(ablated, 0.0)
        stand_in = replacement.repeat(sets, 1, 1, 1) if replacement.shape[0] > 1 else replacement
        return torch.where(ablated, stand_in.to(z.dtype), z)

    return edit


def _give(pattern: Float[Tensor, "sequences n_heads query key"], sets: int) -> Callable[[Tensor], Tensor]:
    def frozen(current: Tensor) -> Tensor:
        return pattern.repeat(sets, 1, 1, 1).to(current.dtype)

    return frozen


def _mean_z(
    model: LoadedModel, tokens: Tensor, axes: tuple[int, ...]
) -> dict[int, Float[Tensor, "1 tokens_or_1 n_heads d_head"]]:
    """Each layer's `z` averaged over `axes`: sequences, or sequences and positions."""
    found: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], None]:
        def hook(z: Tensor) -> None:
            found[layer] = z.float().mean(axes, keepdim=True)

        return hook

    with torch.no_grad():
        run_body(model, tokens, [(z_hook(layer), keep(layer)) for layer in range(model.card.n_layers)])
    return found


def _clean_z(model: LoadedModel, tokens: Tensor) -> dict[int, Float[Tensor, "sequences tokens n_heads d_head"]]:
    return _kept(model, tokens, z_hook)


def _clean_patterns(model: LoadedModel, tokens: Tensor) -> dict[int, Float[Tensor, "sequences n_heads query key"]]:
    _check_patterns_can_be_frozen(model, tokens)
    return _kept(model, tokens, pattern_hook)


def _kept(model: LoadedModel, tokens: Tensor, point: Callable[[int], str]) -> dict[int, Tensor]:
    found: dict[int, Tensor] = {}

    def keep(layer: int) -> Callable[[Tensor], None]:
        def hook(activation: Tensor) -> None:
            found[layer] = activation.clone()

        return hook

    with torch.no_grad():
        run_body(model, tokens, [(point(layer), keep(layer)) for layer in range(model.card.n_layers)])
    return found


def _check_patterns_can_be_frozen(model: LoadedModel, tokens: Tensor) -> None:
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
