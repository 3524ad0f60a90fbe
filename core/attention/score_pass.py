"""The scoring pass: every score of every head, and every token's loss, from one pass over the model and one over its control.

Attention is reduced while the pass runs and never kept: what stays is a few numbers for each head and sequence.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor

from core.attention.head_scores import HeadScores
from core.attention.reduce import FusedReducer, PatternReducer, Reduced, placebo_name
from core.attention.scores import PLACEBO_SHIFTS, SCORES
from core.probes.layout import Layout
from core.probes.probe import Probe
from core.runtime.jobs import current_control
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import rows_per_pass
from core.transformer.passes.blocks import Engine
from core.transformer.passes.fused import agreement, can_fuse, fused_body
from core.transformer.passes.fused_attention import ExplicitAttention, Seen
from core.transformer.passes.hooks import Hook, check_finite, hooks_attached, pattern_hook, run_body
from core.transformer.passes.readout import token_losses


def measure_heads(model: LoadedModel, probe: Probe, *, engine: Engine | None = None) -> HeadScores:
    """All scores of all heads on `probe`, and the loss of each of its tokens (nats).

    engine: "fused" makes no pattern and needs memory linear in tokens; "hooks" is right for every architecture and is what
    the fast path is held to. By default the fast one where it was found to agree, which the result says; inside `attached`
    always the other, for only that one sees what the hooks do.
    """
    layout = probe.layout
    chosen: Engine = engine or ("fused" if not hooks_attached() and can_fuse(model, layout.n_tokens) else "hooks")
    job = current_control()
    passes = 2 if probe.control is not None else 1
    with job.part(0, passes, "measuring the probe"):
        scores, token_loss = _pass(model, probe.tokens, layout, chosen, control=False)
    per_sequence = {name: scores[name] for name in SCORES}
    if probe.control is not None:
        with job.part(1, passes, "measuring the control"):
            control, _ = _pass(model, probe.control, layout, chosen, control=True)
        per_sequence["induction_control"] = control["induction"]
    placebo = np.stack([scores[placebo_name(shift)] for shift in PLACEBO_SHIFTS])
    return HeadScores(per_sequence=per_sequence, placebo=placebo, token_loss=token_loss, layout=layout, engine=chosen)


def _pass(
    model: LoadedModel, tokens: np.ndarray, layout: Layout, engine: Engine, *, control: bool
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Reduced attention `[n_layers, n_heads, sequences]` by name; token losses `[sequences, tokens]`, none for a control."""
    ids = torch.from_numpy(np.array(tokens))
    rows = rows_per_pass(model, ids.shape[1], patterns=engine == "hooks" or agreement(model, ids.shape[1]).explicit)
    by_pattern = PatternReducer(layout, control=control)
    reduced_pass: Callable[[Tensor], tuple[Tensor, dict[int, dict[str, Reduced]]]]
    if engine == "fused":
        reduced_pass = partial(_fused_pass, model, FusedReducer(layout, control=control), by_pattern)
    else:
        reduced_pass = partial(_hooked_pass, model, by_pattern)
    batches: list[dict[str, Tensor]] = []
    losses: list[Tensor] = []
    job = current_control()
    for start in range(0, len(ids), rows):
        job.checkpoint()
        batch = ids[start : start + rows]
        with torch.no_grad():
            final, layers = reduced_pass(batch)
            check_finite(model, final, batch)
            losses.append(torch.empty(0) if control else token_losses(model, final, batch).cpu())
        if set(layers) != set(model.anatomy.attention):
            raise RuntimeError(f"only {len(layers)} of {len(model.anatomy.attention)} layers showed their attention")
        batches.append({name: _every_layer(model, layers, name) for name in next(iter(layers.values()))})
        job.progress((start + rows) / len(ids), "measuring the control" if control else "measuring the probe")
    joined = {name: torch.cat([batch[name] for batch in batches], dim=-1).numpy() for name in batches[0]}
    return joined, torch.cat(losses).numpy()


def _every_layer(model: LoadedModel, layers: dict[int, dict[str, Reduced]], name: str) -> Tensor:
    """`[n_layers, n_heads, sequences]`; NaN for heads that there are not."""
    sequences = len(next(iter(layers.values()))[name])
    found = torch.full((model.card.n_layers, model.card.n_heads, sequences), float("nan"))
    for layer, reduced in layers.items():
        found[layer, : reduced[name].shape[1]] = reduced[name].T
    return found


def _fused_pass(
    model: LoadedModel, reduce: FusedReducer, by_pattern: PatternReducer, batch: Tensor
) -> tuple[Tensor, dict[int, dict[str, Reduced]]]:
    """The unembedding's input, and every layer's reduced attention."""
    found: list[dict[str, Reduced]] = []

    def see(attention: Seen) -> None:
        explicit = isinstance(attention, ExplicitAttention)
        found.append(by_pattern(attention.pattern) if explicit else reduce(attention))  # type: ignore[union-attr, arg-type]

    final = fused_body(model, batch, see)
    return final, dict(zip(model.anatomy.attention, found, strict=True))


def _hooked_pass(model: LoadedModel, reduce: PatternReducer, batch: Tensor) -> tuple[Tensor, dict[int, dict[str, Reduced]]]:
    """The same with hooks."""
    found: dict[int, dict[str, Reduced]] = {}
    body = run_body(model, batch, [_reducing_hook(layer, found, reduce) for layer in model.anatomy.attention])
    return body.final, found


def _reducing_hook(layer: int, found: dict[int, dict[str, Reduced]], reduce: PatternReducer) -> Hook:
    def keep_reduced(pattern: Tensor) -> None:
        found[layer] = reduce(pattern)

    return pattern_hook(layer), keep_reduced
