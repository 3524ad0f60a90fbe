"""From a model and probes to evidence: the passes behind verdicts. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from core.ablation.ablator import Ablator
from core.ablation.reference import ReferenceMeans
from core.ablation.total_effect import gain_in_logits, total_effects
from core.attention.fresh_outputs import FreshOutputs
from core.attention.head_scores import HeadScores
from core.attention.score_pass import measure_fresh_outputs, measure_heads
from core.behaviour import State
from core.errors import BadInput, Withheld
from core.heads import HeadSet
from core.numbers import counted
from core.probes.probe import Probe
from core.runtime.jobs import current_control, share_of
from core.runtime.made_once import made_once
from core.settings.modes import Mode
from core.transformer.loaded import LoadedModel
from core.verdicts.attribution import DirectEffects
from core.verdicts.evidence import LOOKS, Evidence, joined


def gather_evidence(
    model: LoadedModel, probes: Sequence[Probe], ranges: Sequence[int], outputs: FreshOutputs | None = None
) -> tuple[Evidence, tuple[State | None, ...]]:
    """Where every head looks on all probes together, and the state of the behaviour on each.

    ranges: which part of the ids each probe draws from. outputs: where heads' outputs on the controls of probes of that length
    are left. Raises BadInput where a probe has no control or no other order.
    """
    control = current_control()
    parts: list[Evidence] = []
    states: list[State | None] = []
    costs = [float(probe.tokens.size) for probe in probes]
    for done, (probe, part) in enumerate(zip(probes, ranges, strict=True)):
        if probe.control is None:
            raise BadInput("These tokens leave too few others for a control, so no head can be called on them.")
        if probe.rotated is None:
            raise BadInput(
                "These tokens have no other order that repeats no pair of neighbours, so no head can be called on them."
            )
        with control.part(done, costs, f"measuring at length {probe.length}"):
            left = outputs if outputs is not None and outputs.n_tokens == probe.n_tokens else None
            scores = measure_heads(model, probe, whole_rows=False, outputs=left)
        parts.append(_evidence(scores, part))
        states.append(scores.behaviour.state)
    return joined(parts), tuple(states)


def gather_outputs(model: LoadedModel, probes: Sequence[Probe]) -> FreshOutputs:
    """Heads' outputs on the controls of probes of one length, the same to the bit as `gather_evidence` leaves them."""
    outputs = FreshOutputs(probes[0].n_tokens)
    for probe in probes:
        measure_fresh_outputs(model, probe, outputs)
    return outputs


class Bench:
    """A model on the probes that heads are judged on: one ablator for each, whose clean pass is made once and serves for all.

    What heads write is read off it whoever asks first, so that no number depends on what was at hand.

    references: for each probe, rows as long, whose mean stands in for a head. longest: means that are used instead for all
    probes for which they serve; by default those of the longest rows.
    """

    def __init__(
        self,
        model: LoadedModel,
        probes: Sequence[Probe],
        references: Sequence[np.ndarray],
        longest: ReferenceMeans | None = None,
    ) -> None:
        self.model, self.probes, self._references, self._longest = model, tuple(probes), tuple(references), longest
        self.writing = tuple(DirectEffects(model, probe.layout.second_copy_targets) for probe in probes)

    @made_once
    def ablators(self) -> tuple[Ablator, ...]:
        """One for each probe."""
        longest = self._longest or ReferenceMeans(self.model, max(self._references, key=lambda rows: rows.shape[1]))

        def ablator(probe: Probe, rows: np.ndarray, writing: DirectEffects) -> Ablator:
            means = longest if longest.serves(probe.n_tokens) else rows
            return Ablator(self.model, probe.tokens, means, seed=probe.options.seed, keep_first_half=True, through=writing)

        return tuple(map(ablator, self.probes, self._references, self.writing))


def gather_writing(
    bench: Bench,
) -> tuple[Float[np.ndarray, " sequences"], Float[np.ndarray, "n_layers n_heads sequences"], str]:
    """The model's gain and every head's direct effect, in logits by sequence, and why the latter is withheld, if it is."""
    model, probes = bench.model, bench.probes
    gain = np.concatenate([gain_in_logits(ablator, probe) for ablator, probe in zip(bench.ablators, probes, strict=True)])
    try:
        direct = np.concatenate([writing.found for writing in bench.writing], axis=-1)
    except Withheld as error:
        return gain, np.full((model.card.n_layers, model.card.n_heads, len(gain)), np.nan), str(error)
    return gain, direct.astype(np.float64), ""


def gather_total_effects(bench: Bench, heads: HeadSet, mode: Mode) -> Float[np.ndarray, "heads sequences"]:
    """The total effect of each of `heads` taken away alone, in logits by sequence, over all probes."""
    control = current_control()
    found = []
    costs = [float(probe.tokens.size) for probe in bench.probes]
    for done, (probe, ablator) in enumerate(zip(bench.probes, bench.ablators, strict=True)):
        what = f"taking {counted(len(heads), 'head')} away one by one at length {probe.length}"
        with control.part(done, costs, what):
            sets = [(head,) for head in heads]
            found.append(total_effects(ablator, sets, mode, probe.layout.second_copy_targets, share_of(what)))
    return np.concatenate(found, axis=-1)


def _evidence(scores: HeadScores, part: int) -> Evidence:
    def by_sequence(name: str) -> Float[np.ndarray, "n_layers n_heads sequences"]:
        return scores.sequences(name).astype(np.float64)

    count = len(scores.token_loss)
    return Evidence(
        induction=by_sequence("induction"),
        contrast=by_sequence("contrast"),
        rotation_contrast=by_sequence("rotation_contrast"),
        specificity_by_offset=scores.specificity_by_offset.astype(np.float64),
        previous_token=by_sequence("previous_token"),
        duplicate_token=by_sequence("duplicate_token"),
        sink=by_sequence("sink"),
        chance=np.stack([np.repeat(scores.chance(name)[:, None], count, axis=1) for name in LOOKS]),
        lengths=np.full(count, scores.layout.length),
        ranges=np.full(count, part),
    )
