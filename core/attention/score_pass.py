"""The scoring passes: every score of every head and every token's loss, then what the same tokens in other orders give.

Two steps, so that a picture of scores need not wait for the second: first the probe and its control, then the shuffled and the
rotated sequences. Attention is reduced while a pass runs and never kept: what stays is a few numbers for each head and
sequence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.attention.head_scores import HeadScores, OtherHalves, Successor
from core.attention.reduce import FusedReducer, PatternReducer, Reduced, placebo_name
from core.attention.rotated import SuccessorReader, successor_name
from core.attention.scores import PLACEBO_SHIFTS, SCORES, SUCCESSOR_SHIFTS
from core.attention.second_copy import losses_and_hits
from core.errors import ModelUnavailable
from core.probes.layout import Layout
from core.probes.probe import Probe
from core.runtime.jobs import current_control
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import rows_per_pass
from core.transformer.passes.blocks import Engine
from core.transformer.passes.fused import agreement, can_fuse, fused_body
from core.transformer.passes.fused_attention import ExplicitAttention, FusedAttention, Seen
from core.transformer.passes.hooks import Hook, check_finite, hooks_attached, pattern_hook, run_body
from core.transformer.passes.readout import token_losses
from core.transformer.passes.windows import layer_windows

Tokens = Int[np.ndarray, "sequences tokens"]
# What a layer's attention comes to, for the sequences that a slice of the probe's rows picks; None reads no attention.
ReadFused = Callable[[FusedAttention, slice], dict[str, Reduced]]
# The same of a whole pattern, with the length of each head's value at each key where that is known.
ReadPattern = Callable[[Tensor, Tensor | None, slice], dict[str, Reduced]]
# What the unembedding's input of some sequences comes to, `[batch, anything]`, by name.
ReadEnd = Callable[[Tensor, Tensor, slice], dict[str, Tensor]]


@dataclass(frozen=True)
class Reading:
    """What to read in a pass: attention, either way, and the end."""

    fused: ReadFused | None
    pattern: ReadPattern | None
    end: ReadEnd


def measure_heads(model: LoadedModel, probe: Probe, *, engine: Engine | None = None) -> HeadScores:
    """All scores of all heads on `probe`, the loss of each of its tokens (nats), and the behaviour.

    engine: "fused" makes no pattern and needs memory linear in tokens; "hooks" is right for every architecture and is what
    the fast path is held to. By default the fast one where it was found to agree, which the result says; inside `attached`
    always the other, for only that one sees what the hooks do.
    """
    job = current_control()
    with job.part(0, 2, "measuring every head"):
        first = measure_first(model, probe, engine=engine)
    with job.part(1, 2, "measuring the behaviour"):
        return first.completed(measure_other_halves(model, probe, engine=engine))


def measure_first(model: LoadedModel, probe: Probe, *, engine: Engine | None = None) -> HeadScores:
    """The first step of `measure_heads`: what the probe and its control give."""
    layout, chosen, job = probe.layout, _chosen(model, probe.layout.n_tokens, engine), current_control()
    passes = 2 if probe.control is not None else 1
    with job.part(0, passes, "measuring the probe"):
        scores, ends = _pass(model, probe.tokens, chosen, _probe_reading(model, layout))
    per_sequence = {name: scores[name] for name in SCORES}
    fresh_loss = rotated_control = None
    if probe.control is not None:
        with job.part(1, passes, "measuring the control"):
            control, control_ends = _pass(model, probe.control, chosen, _control_reading(model, layout, probe.rotation))
        per_sequence["induction_control"] = control["induction"]
        fresh_loss = control_ends["loss"].mean(-1)
        rotated_control = None if probe.rotation is None else _successor(control)
    return HeadScores(
        per_sequence=per_sequence,
        placebo=np.stack([scores[placebo_name(shift)] for shift in PLACEBO_SHIFTS]),
        token_loss=ends["loss"],
        layout=layout,
        engine=chosen,
        top1=ends["hits"].mean(-1),
        fresh_loss=fresh_loss,
        rotated_control=rotated_control,
        windows=layer_windows(model, layout.n_tokens),
    )


def measure_other_halves(model: LoadedModel, probe: Probe, *, engine: Engine | None = None) -> OtherHalves | None:
    """The second step of `measure_heads`: the shuffled and the rotated sequences; None where the probe has none."""
    if probe.shuffled is None or probe.rotated is None or probe.rotation is None:
        return None
    layout, chosen, job = probe.layout, _chosen(model, probe.layout.n_tokens, engine), current_control()
    targets = torch.from_numpy(layout.second_copy_targets)
    with job.part(0, 2, "measuring the same tokens shuffled"):
        _, shuffled = _pass(model, probe.shuffled, chosen, Reading(None, None, _losses_at(model, targets)))
    reader = _SuccessorReaders(layout, probe.rotation)
    with job.part(1, 2, "measuring the same tokens rotated"):
        reading = Reading(reader.fused, reader.pattern, _losses_at(model, targets))
        rotated, rotated_ends = _pass(model, probe.rotated, chosen, reading)
    # Nothing says that the first token of `r` follows its last one.
    wrap = layout.n_tokens - probe.rotation[:, None] == layout.second_copy_targets[None]
    loss = rotated_ends["loss"]
    return OtherHalves(
        shuf_loss=shuffled["loss"].mean(-1),
        rot_loss=np.where(wrap, 0.0, loss).sum(-1) / (~wrap).sum(-1),
        rotated=_successor(rotated),
    )


def _chosen(model: LoadedModel, n_tokens: int, engine: Engine | None) -> Engine:
    return engine or ("fused" if not hooks_attached() and can_fuse(model, n_tokens) else "hooks")


def _probe_reading(model: LoadedModel, layout: Layout) -> Reading:
    fused, pattern = FusedReducer(layout, control=False), PatternReducer(layout, control=False)
    second = torch.from_numpy(layout.second_copy_targets)
    # The rest is all before it: losses are joined in the order of their targets.
    before = torch.arange(1, int(second[0]))

    def end(final: Tensor, tokens: Tensor, rows: slice) -> dict[str, Tensor]:
        early = token_losses(model, final, tokens, before)
        late, hits = losses_and_hits(model, final, tokens, second)
        loss = torch.nn.functional.pad(torch.cat([early, late], dim=-1), (1, 0), value=float("nan"))
        return {"loss": loss, "hits": hits}

    return Reading(lambda attention, rows: fused(attention), lambda found, norms, rows: pattern(found, norms), end)


def _control_reading(model: LoadedModel, layout: Layout, rotation: Int[np.ndarray, " sequences"] | None) -> Reading:
    fused, pattern = FusedReducer(layout, control=True), PatternReducer(layout, control=True)
    successors = None if rotation is None else _SuccessorReaders(layout, rotation)
    end = _losses_at(model, torch.from_numpy(layout.second_copy_targets))
    if successors is None:
        return Reading(lambda attention, rows: fused(attention), lambda found, norms, rows: pattern(found, norms), end)
    return Reading(
        lambda attention, rows: fused(attention) | successors.fused(attention, rows),
        lambda found, norms, rows: pattern(found) | successors.pattern(found, norms, rows),
        end,
    )


class _SuccessorReaders:
    """`SuccessorReader` of the sequences that a slice picks: each layer of a pass asks for the same ones."""

    def __init__(self, layout: Layout, rotation: Int[np.ndarray, " sequences"]) -> None:
        self._layout, self._rotation = layout, rotation
        self._readers: dict[int, SuccessorReader] = {}

    def fused(self, attention: FusedAttention, rows: slice) -> dict[str, Reduced]:
        return self._of(rows).of_fused(attention)

    def pattern(self, found: Tensor, norms: Tensor | None, rows: slice) -> dict[str, Reduced]:
        return self._of(rows).of_pattern(found)

    def _of(self, rows: slice) -> SuccessorReader:
        if rows.start not in self._readers:
            self._readers = {rows.start: SuccessorReader(self._layout, self._rotation[rows])}
        return self._readers[rows.start]


def _losses_at(model: LoadedModel, targets: Int[Tensor, " targets"]) -> ReadEnd:
    return lambda final, tokens, rows: {"loss": token_losses(model, final, tokens, targets)}


def _successor(reduced: Mapping[str, Float[np.ndarray, "n_layers n_heads sequences"]]) -> Successor:
    return np.stack([reduced[successor_name(shift)] for shift in SUCCESSOR_SHIFTS])


def _pass(
    model: LoadedModel, tokens: Tokens, engine: Engine, reading: Reading
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reduced attention `[n_layers, n_heads, sequences]`, and what the end came to `[sequences, ...]`, each by name."""
    ids = torch.from_numpy(np.array(tokens))
    step = rows_per_pass(model, ids.shape[1], patterns=engine == "hooks" or agreement(model, ids.shape[1]).explicit)
    reduced: list[dict[str, Tensor]] = []
    ends: list[dict[str, Tensor]] = []
    job = current_control()
    for start in range(0, len(ids), step):
        job.checkpoint()
        rows = slice(start, start + step)
        batch = ids[rows]
        with torch.no_grad():
            final, layers = (_fused_pass if engine == "fused" else _hooked_pass)(model, batch, rows, reading)
            check_finite(model, final, batch)
            ends.append({name: value.cpu() for name, value in reading.end(final, batch, rows).items()})
        if reading.fused is not None:
            if set(layers) != set(model.anatomy.attention):
                raise ModelUnavailable(f"Not every layer of {model.card.name} shows its attention, so no head can be scored.")
            reduced.append({name: _every_layer(model, layers, name) for name in next(iter(layers.values()))})
        job.progress(min(1.0, (start + step) / len(ids)), "measuring")
    return _joined(reduced, -1), _joined(ends, 0)


def _every_layer(model: LoadedModel, layers: dict[int, dict[str, Reduced]], name: str) -> Tensor:
    """`[n_layers, n_heads, sequences]`; NaN for heads that there are not."""
    sequences = len(next(iter(layers.values()))[name])
    found = torch.full((model.card.n_layers, model.card.n_heads, sequences), float("nan"))
    for layer, reduced in layers.items():
        found[layer, : reduced[name].shape[1]] = reduced[name].T
    return found


def _joined(batches: list[dict[str, Tensor]], dim: int) -> dict[str, np.ndarray]:
    names = batches[0] if batches else {}
    return {name: torch.cat([batch[name] for batch in batches], dim=dim).numpy() for name in names}


def _fused_pass(
    model: LoadedModel, batch: Tensor, rows: slice, reading: Reading
) -> tuple[Tensor, dict[int, dict[str, Reduced]]]:
    """The unembedding's input, and every layer's reduced attention."""
    found: list[dict[str, Reduced]] = []

    def see(attention: Seen) -> None:
        if reading.fused is None or reading.pattern is None:
            return
        if isinstance(attention, ExplicitAttention):
            found.append(reading.pattern(attention.pattern, attention.value.float().norm(dim=-1), rows))
        else:
            found.append(reading.fused(attention, rows))

    final = fused_body(model, batch, see)
    return final, dict(zip(model.anatomy.attention, found, strict=reading.fused is not None))


def _hooked_pass(
    model: LoadedModel, batch: Tensor, rows: slice, reading: Reading
) -> tuple[Tensor, dict[int, dict[str, Reduced]]]:
    """The same with hooks, which do not see values."""
    found: dict[int, dict[str, Reduced]] = {}
    read = reading.pattern

    def reading_hook(layer: int) -> Hook:
        def keep(pattern: Tensor) -> None:
            assert read is not None
            found[layer] = read(pattern, None, rows)

        return pattern_hook(layer), keep

    hooks = [] if read is None else [reading_hook(layer) for layer in model.anatomy.attention]
    return run_body(model, batch, hooks).final, found
