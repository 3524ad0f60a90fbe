"""Passes over a probe and its other halves, which all begin alike: a batch goes once through what they share.

Attention is reduced while a pass runs and never kept: what stays is a few numbers for each head and sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from core.attention.reduce import Reduced
from core.errors import ModelUnavailable
from core.runtime.jobs import current_control
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import even_passes, rows_per_pass
from core.transformer.passes.fused import Engine, agreement, first_half, fused_body
from core.transformer.passes.fused_attention import ExplicitAttention, FusedAttention, Seen
from core.transformer.passes.hooks import Hook, check_finite, pattern_hook, run_body, z_hook
from core.transformer.passes.prefix import Prefix

Tokens = Int[np.ndarray, "sequences tokens"]
# What a layer's attention comes to, for the sequences that a slice of the probe's rows picks; None reads no attention.
ReadFused = Callable[[FusedAttention, slice], dict[str, Reduced]]
# The same of a whole pattern, with the length of each head's value at each key where that is known.
ReadPattern = Callable[[Tensor, Tensor | None, slice], dict[str, Reduced]]
# Shown a layer's `z` `[batch, tokens, n_heads, d_head]`, of the tokens that are run.
ReadZ = Callable[[int, Tensor], None]
# What the unembedding's input of some sequences comes to, `[batch, anything]`, by name.
ReadEnd = Callable[[Tensor, Tensor, slice], dict[str, Tensor]]


@dataclass(frozen=True)
class Half:
    """Sequences to run, and what to read: attention, either way, and the end.

    late: whether only queries of the second half are read, so that the rest need not be run where another pass has been there;
    `end` is then shown the second half alone.
    outputs: what is shown each head's output, too.
    """

    name: str
    tokens: Tokens
    fused: ReadFused | None
    pattern: ReadPattern | None
    end: ReadEnd
    late: bool = True
    outputs: ReadZ | None = None


@dataclass(frozen=True)
class Read:
    """Reduced attention `[n_layers, n_heads, sequences]`, and what the end came to `[sequences, ...]`, each by name."""

    attention: dict[str, np.ndarray]
    end: dict[str, np.ndarray]


def run_halves(model: LoadedModel, halves: Sequence[Half], engine: Engine) -> list[Read]:
    """Run sequences that begin alike, batch by batch; raises ModelUnavailable for undefined numbers or too little memory."""
    n_tokens, job = halves[0].tokens.shape[1], current_control()
    found = agreement(model, n_tokens) if engine == "fused" else None
    first = first_half(n_tokens)
    kept = found.kept_bytes if found is not None and len(halves) > 1 else 0
    patterns = found is None or found.explicit
    step = rows_per_pass(model, n_tokens, patterns=patterns, kept=kept * first, makes_way=True)
    batches: list[list[Read]] = [[] for _ in halves]
    passes = even_passes(len(halves[0].tokens), step)
    for done, rows in enumerate(passes):
        prefix = Prefix(first) if kept else None
        if prefix is not None and halves[0].late:
            # Nobody reads them from the first token on.
            fused_body(model, torch.from_numpy(np.array(halves[0].tokens[rows, :first])), None, keep=prefix, makes_way=True)
        for place, half in enumerate(halves):
            job.checkpoint()
            batches[place].append(_batch(model, half, rows, engine, first, prefix))
            job.progress((done * len(halves) + place + 1) / (len(passes) * len(halves)), f"measuring {half.name}")
    return [Read(_joined([read.attention for read in each], -1), _joined([read.end for read in each], 0)) for each in batches]


@torch.no_grad()
def _batch(model: LoadedModel, half: Half, rows: slice, engine: Engine, first: int, prefix: Prefix | None) -> Read:
    batch = torch.from_numpy(np.array(half.tokens[rows]))
    if engine == "hooks":
        final, layers = _hooked_pass(model, batch, rows, half)
    elif prefix is None:
        final, layers = _fused_pass(model, batch, rows, half)
    elif half.late:
        final, layers = _fused_pass(model, batch[:, first:], rows, half, after=prefix)
    else:
        final, layers = _fused_pass(model, batch, rows, half, keep=prefix)
    check_finite(model, final, batch)
    if half.late:
        second = batch.shape[1] - first
        final, batch = final[:, -second:], batch[:, first:]
    end = {name: value.cpu().numpy() for name, value in half.end(final, batch, rows).items()}
    if half.fused is None:
        return Read({}, end)
    if set(layers) != set(model.anatomy.attention):
        raise ModelUnavailable(f"Not every layer of {model.card.name} shows its attention, so no head can be scored.")
    return Read({name: _every_layer(model, layers, name) for name in next(iter(layers.values()))}, end)


def _every_layer(model: LoadedModel, layers: dict[int, dict[str, Reduced]], name: str) -> np.ndarray:
    """`[n_layers, n_heads, sequences]`; NaN for heads that there are not."""
    sequences = len(next(iter(layers.values()))[name])
    found = np.full((model.card.n_layers, model.card.n_heads, sequences), np.nan, dtype=np.float32)
    for layer, reduced in layers.items():
        found[layer, : reduced[name].shape[1]] = reduced[name].T.numpy()
    return found


def _joined(batches: list[dict[str, np.ndarray]], axis: int) -> dict[str, np.ndarray]:
    return {name: np.concatenate([batch[name] for batch in batches], axis=axis) for name in batches[0]}


def _fused_pass(
    model: LoadedModel, batch: Tensor, rows: slice, half: Half, *, keep: Prefix | None = None, after: Prefix | None = None
) -> tuple[Tensor, dict[int, dict[str, Reduced]]]:
    """The unembedding's input, and every layer's reduced attention."""
    found: list[dict[str, Reduced]] = []
    read_fused, read_pattern = half.fused, half.pattern

    def see(attention: Seen) -> None:
        assert read_fused is not None
        assert read_pattern is not None
        if isinstance(attention, ExplicitAttention):
            found.append(read_pattern(attention.pattern, attention.value.float().norm(dim=-1), rows))
        else:
            found.append(read_fused(attention, rows))

    shown = None if read_fused is None else see
    final = fused_body(model, batch, shown, _output_hooks(model, half), keep=keep, after=after, makes_way=True)
    return final, dict(zip(model.anatomy.attention, found, strict=half.fused is not None))


def _hooked_pass(model: LoadedModel, batch: Tensor, rows: slice, half: Half) -> tuple[Tensor, dict[int, dict[str, Reduced]]]:
    """The same with hooks, which do not see values."""
    found: dict[int, dict[str, Reduced]] = {}
    read = half.pattern

    def reading_hook(layer: int) -> Hook:
        def keep(pattern: Tensor) -> None:
            assert read is not None
            found[layer] = read(pattern, None, rows)

        return pattern_hook(layer), keep

    hooks = [] if read is None else [reading_hook(layer) for layer in model.anatomy.attention]
    return run_body(model, batch, [*hooks, *_output_hooks(model, half)], makes_way=True).final, found


def _output_hooks(model: LoadedModel, half: Half) -> list[Hook]:
    return [] if half.outputs is None else [(z_hook(layer), partial(half.outputs, layer)) for layer in model.anatomy.attention]
