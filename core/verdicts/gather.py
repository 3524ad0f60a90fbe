"""From a model and probes to evidence: the passes behind verdicts. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from core.ablation.ablator import Ablator
from core.ablation.total_effect import gain_in_logits, total_effects
from core.attention.head_scores import HeadScores
from core.attention.score_pass import measure_heads
from core.behaviour import State
from core.errors import BadInput, Withheld
from core.heads import HeadSet
from core.probes.probe import Probe
from core.runtime.jobs import current_control
from core.settings.modes import Mode
from core.transformer.loaded import LoadedModel
from core.verdicts.attribution import direct_effect
from core.verdicts.evidence import LOOKS, Evidence, joined


def gather_evidence(
    model: LoadedModel, probes: Sequence[Probe], ranges: Sequence[int]
) -> tuple[Evidence, tuple[State | None, ...]]:
    """Where every head looks on all probes together, and the state of the behaviour on each.

    ranges: which part of the ids each probe draws from. Raises BadInput where a probe has no control or no other order.
    """
    control = current_control()
    parts: list[Evidence] = []
    states: list[State | None] = []
    for done, (probe, part) in enumerate(zip(probes, ranges, strict=True)):
        if probe.control is None:
            raise BadInput("These tokens leave too few others for a control, so no head can be called on them.")
        if probe.rotated is None:
            raise BadInput(
                "These tokens have no other order that repeats no pair of neighbours, so no head can be called on them."
            )
        with control.part(done, len(probes), f"measuring at length {probe.length}"):
            scores = measure_heads(model, probe)
        parts.append(_evidence(scores, part))
        states.append(scores.behaviour.state)
    return joined(parts), tuple(states)


def gather_writing(
    model: LoadedModel, probes: Sequence[Probe]
) -> tuple[Float[np.ndarray, " sequences"], Float[np.ndarray, "n_layers n_heads sequences"], str]:
    """The model's gain and every head's direct effect, in logits by sequence, and why the latter is withheld, if it is."""
    gain = np.concatenate([gain_in_logits(model, probe) for probe in probes])
    try:
        direct = np.concatenate([direct_effect(model, probe) for probe in probes], axis=-1)
    except Withheld as error:
        return gain, np.full((model.card.n_layers, model.card.n_heads, len(gain)), np.nan), str(error)
    return gain, direct.astype(np.float64), ""


def gather_total_effects(
    model: LoadedModel, probes: Sequence[Probe], references: Sequence[np.ndarray], heads: HeadSet, mode: Mode
) -> Float[np.ndarray, "heads sequences"]:
    """The total effect of each of `heads` taken away alone, in logits by sequence, over all probes."""
    control = current_control()
    found = []
    for done, (probe, reference) in enumerate(zip(probes, references, strict=True)):
        what = f"taking {len(heads)} heads away one by one at length {probe.length}"
        with control.part(done, len(probes), what):
            ablator = Ablator(model, probe.tokens, reference, seed=probe.options.seed)
            sets = [(head,) for head in heads]
            found.append(total_effects(ablator, sets, mode, probe.layout.second_copy_targets))
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
