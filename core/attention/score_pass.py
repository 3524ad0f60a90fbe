"""The scoring passes: every score of every head and every token's loss, then what the same tokens in other orders give.

Two steps, so that a picture of scores need not wait for the second: first the probe and its control, then the shuffled and the
rotated sequences. Whoever needs both at once has all four in one go, in which their first half is gone through once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.attention.fresh_outputs import FreshOutputs
from core.attention.half_passes import Half, Read, ReadEnd, run_halves
from core.attention.head_scores import HeadScores, OtherHalves, PerSequence, Successor
from core.attention.reduce import FusedReducer, PatternReducer, Reduced, placebo_name
from core.attention.rotated import SuccessorReader, successor_name
from core.attention.scores import OF_WHOLE_ROWS, PLACEBO_SHIFTS, SCORES, SUCCESSOR_SHIFTS, WHOLE_ROWS_WITHIN_TOKENS
from core.attention.second_copy import losses_and_hits
from core.probes.layout import Layout
from core.probes.probe import Probe
from core.transformer.loaded import LoadedModel
from core.transformer.passes.fused import Engine, first_half, way_of
from core.transformer.passes.fused_attention import FusedAttention
from core.transformer.passes.readout import token_losses
from core.transformer.passes.windows import layer_windows


def measure_heads(
    model: LoadedModel,
    probe: Probe,
    *,
    engine: Engine | None = None,
    whole_rows: bool = True,
    outputs: FreshOutputs | None = None,
) -> HeadScores:
    """All scores of all heads on `probe`, the loss of each of its tokens (nats), and the behaviour.

    engine: "fused" makes no pattern and needs memory linear in tokens; "hooks" is right for every architecture and is what
    the fast path is held to. By default the fast one where it was found to agree, which the result says; inside `attached`
    always the other, for only that one sees what the hooks do. whole_rows: without it, what needs whole rows of attention or
    the loss of every token is left out: entropy, value-weighted matching, and losses before the second copy, which are NaN.
    outputs: where heads' outputs on the control are left, by the way.
    """
    chosen = way_of(model, probe.layout.n_tokens, engine).engine
    repeated = _repeated(model, probe, whole_rows=whole_rows, every_loss=whole_rows)
    halves = [*_left_in(outputs, probe, [repeated, *_control(model, probe)]), *_other_orders(model, probe)]
    read = {half.name: found for half, found in zip(halves, run_halves(model, halves, chosen), strict=True)}
    return _first_scores(model, probe, chosen, read).completed(_other_halves(probe, read))


def measure_first(model: LoadedModel, probe: Probe, *, engine: Engine | None = None) -> HeadScores:
    """The first step of `measure_heads`: what the probe and its control give.

    On sequences of more than `WHOLE_ROWS_WITHIN_TOKENS` without the scores of whole rows, which are left for later.
    """
    chosen = way_of(model, probe.layout.n_tokens, engine).engine
    by_the_way = probe.layout.n_tokens <= WHOLE_ROWS_WITHIN_TOKENS
    halves = [_repeated(model, probe, whole_rows=by_the_way, every_loss=True), *_control(model, probe)]
    read = {half.name: found for half, found in zip(halves, run_halves(model, halves, chosen), strict=True)}
    return _first_scores(model, probe, chosen, read)


def measure_fresh_outputs(model: LoadedModel, probe: Probe, outputs: FreshOutputs, *, engine: Engine | None = None) -> None:
    """Leave in `outputs` what `measure_heads` leaves there, to the bit: the same passes, of which nothing else is read."""
    chosen = way_of(model, probe.layout.n_tokens, engine).engine
    repeated = _repeated(model, probe, whole_rows=False, every_loss=False)
    halves = [
        replace(half, fused=None, pattern=None, end=lambda final, tokens, rows: {})
        for half in _left_in(outputs, probe, [repeated, *_control(model, probe)])
    ]
    run_halves(model, halves, chosen)


def measure_whole_rows(model: LoadedModel, probe: Probe, *, engine: Engine | None = None) -> dict[str, PerSequence]:
    """The scores that `measure_first` leaves for later, by name: a pass of their own, whose end nobody reads."""
    chosen = way_of(model, probe.layout.n_tokens, engine).engine
    half = replace(_repeated(model, probe, whole_rows=True, every_loss=False), end=lambda final, tokens, rows: {})
    [read] = run_halves(model, [half], chosen)
    return {name: read.attention[name] for name in OF_WHOLE_ROWS}


def measure_other_halves(model: LoadedModel, probe: Probe, *, engine: Engine | None = None) -> OtherHalves | None:
    """The second step of `measure_heads`: the shuffled and the rotated sequences; None where the probe has none."""
    halves = _other_orders(model, probe)
    if not halves:
        return None
    found = run_halves(model, halves, way_of(model, probe.layout.n_tokens, engine).engine)
    return _other_halves(probe, {half.name: read for half, read in zip(halves, found, strict=True)})


# What each of the four is called while it is measured.
_PROBE, _FRESH, _SHUFFLED, _ROTATED = "the probe", "the control", "the same tokens shuffled", "the same tokens rotated"


def _repeated(model: LoadedModel, probe: Probe, *, whole_rows: bool, every_loss: bool) -> Half:
    layout = probe.layout
    fused, pattern = FusedReducer(layout, whole_rows=whole_rows), PatternReducer(layout, whole_rows=whole_rows)
    second = torch.from_numpy(layout.second_copy_targets)
    # The rest is all before it: losses are joined in the order of their targets.
    before = torch.arange(1, int(second[0]))

    def end(final: Tensor, tokens: Tensor, rows: slice) -> dict[str, Tensor]:
        late, hits = losses_and_hits(model, final, tokens, second)
        early = token_losses(model, final, tokens, before) if every_loss else late.new_full((len(late), len(before)), torch.nan)
        loss = torch.nn.functional.pad(torch.cat([early, late], dim=-1), (1, 0), value=float("nan"))
        return {"loss": loss, "hits": hits}

    return Half(
        _PROBE,
        probe.tokens,
        lambda attention, rows: fused(attention),
        lambda found, norms, rows: pattern(found, norms),
        end,
        late=False,
    )


def _control(model: LoadedModel, probe: Probe) -> list[Half]:
    if probe.control is None:
        return []
    fused, pattern = FusedReducer(probe.layout, control=True), PatternReducer(probe.layout, control=True)
    readers = None if probe.rotation is None else _SuccessorReaders(probe.layout, probe.rotation)

    def read_fused(attention: FusedAttention, rows: slice) -> dict[str, Reduced]:
        return fused(attention) | ({} if readers is None else readers.fused(attention, rows))

    def read_pattern(found: Tensor, norms: Tensor | None, rows: slice) -> dict[str, Reduced]:
        return pattern(found) | ({} if readers is None else readers.pattern(found, norms, rows))

    return [Half(_FRESH, probe.control, read_fused, read_pattern, _second_losses(model, probe.layout))]


def _left_in(outputs: FreshOutputs | None, probe: Probe, halves: list[Half]) -> list[Half]:
    """The probe and its control, whose heads' outputs are left there."""
    if outputs is None or probe.control is None:
        return halves
    repeated, control = halves
    return [replace(repeated, outputs=outputs.of_probe), replace(control, outputs=outputs.of_control)]


def _other_orders(model: LoadedModel, probe: Probe) -> list[Half]:
    if probe.shuffled is None or probe.rotated is None or probe.rotation is None:
        return []
    readers, end = _SuccessorReaders(probe.layout, probe.rotation), _second_losses(model, probe.layout)
    return [
        Half(_SHUFFLED, probe.shuffled, None, None, end),
        Half(_ROTATED, probe.rotated, readers.fused, readers.pattern, end),
    ]


def _second_losses(model: LoadedModel, layout: Layout) -> ReadEnd:
    """The losses of the second copy's targets, read off the second half alone."""
    targets = torch.from_numpy(layout.second_copy_targets - first_half(layout.n_tokens))
    return lambda final, tokens, rows: {"loss": token_losses(model, final, tokens, targets)}


def _first_scores(model: LoadedModel, probe: Probe, engine: Engine, read: Mapping[str, Read]) -> HeadScores:
    layout, scores, fresh = probe.layout, read[_PROBE].attention, read.get(_FRESH)
    per_sequence = {name: scores[name] for name in SCORES if name in scores}
    if fresh is not None:
        per_sequence["induction_control"] = fresh.attention["induction"]
    return HeadScores(
        per_sequence=per_sequence,
        placebo=np.stack([scores[placebo_name(shift)] for shift in PLACEBO_SHIFTS]),
        token_loss=read[_PROBE].end["loss"],
        layout=layout,
        engine=engine,
        top1=read[_PROBE].end["hits"].mean(-1),
        fresh_loss=None if fresh is None else fresh.end["loss"].mean(-1),
        rotated_control=None if fresh is None or probe.rotation is None else _successor(fresh.attention),
        windows=layer_windows(model, layout.n_tokens),
    )


def _other_halves(probe: Probe, read: Mapping[str, Read]) -> OtherHalves | None:
    if _ROTATED not in read or probe.rotation is None:
        return None
    loss = read[_ROTATED].end["loss"]
    # Nothing says that the first token of `r` follows its last one.
    wrap = probe.n_tokens - probe.rotation[:, None] == probe.layout.second_copy_targets[None]
    return OtherHalves(
        shuf_loss=read[_SHUFFLED].end["loss"].mean(-1),
        rot_loss=np.where(wrap, 0.0, loss).sum(-1) / (~wrap).sum(-1),
        rotated=_successor(read[_ROTATED].attention),
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


def _successor(reduced: Mapping[str, Float[np.ndarray, "n_layers n_heads sequences"]]) -> Successor:
    return np.stack([reduced[successor_name(shift)] for shift in SUCCESSOR_SHIFTS])
