"""Verdicts straight from a model, without a request or a store."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.behaviour import strongest
from core.heads import Head
from core.probes.probe import Probe, ProbeOptions
from core.probes.repeated import repeated_probe
from core.settings.experiment import EFFECT_FLOOR
from core.transformer.loaded import LoadedModel
from core.verdicts.evidence import LOOKS, Effects, Evidence
from core.verdicts.gather import Bench, gather_evidence, gather_total_effects, gather_writing
from core.verdicts.judge import Verdict, judge_heads
from core.verdicts.matching import matching
from core.verdicts.plan import WHOLE_RANGE

LENGTHS = (8, 12, 16)
EACH = 32


def probes_for(model: LoadedModel, seed: int, lengths: Sequence[int] = LENGTHS, each: int = EACH) -> list[Probe]:
    """Drawn probes of several lengths, a seed each."""
    return [repeated_probe(model.vocabulary, ProbeOptions(n, each, seed + index)) for index, n in enumerate(lengths)]


def judged(
    model: LoadedModel,
    picking: Sequence[Probe],
    judging: Sequence[Probe] | None = None,
    references: Sequence[np.ndarray] | None = None,
    floor: float = EFFECT_FLOOR,
) -> tuple[Verdict, ...]:
    """A verdict on every head, picked on some probes and judged on others (else the same), their controls as references."""
    evidence, states = gather_evidence(model, picking, [WHOLE_RANGE] * len(picking))
    judging = picking if judging is None else judging
    fresh = [probe.control for probe in judging] if references is None else references
    bench = Bench(model, judging, fresh)  # type: ignore[arg-type]
    gain, direct, withheld = gather_writing(bench)
    matches = matching(evidence).above(floor)
    total = np.full(direct.shape, np.nan)
    heads = tuple(Head(*map(int, head)) for head in np.argwhere(matches))
    if heads:
        total[matches] = gather_total_effects(bench, heads, "mean")
    lengths = np.concatenate([np.full(probe.n_sequences, probe.length) for probe in judging])
    return judge_heads(evidence, Effects(total, direct, gain, lengths, withheld), strongest(list(states)), floor)


def made_evidence(random: np.random.Generator, n: int = 64, **heads: Sequence[float]) -> Evidence:
    """Evidence of one layer: for each array its mean by head, with a little noise; what is not given is 0.

    specificity: one number a head, the same at every offset.
    """
    count = max(len(means) for means in heads.values())

    def noisy(name: str) -> np.ndarray:
        means = np.asarray(heads.get(name, [0.0] * count), dtype=float)
        return means[None, :, None] + 0.01 * random.normal(size=(1, count, n))

    return Evidence(
        **{name: noisy(name) for name in (*LOOKS, "contrast", "rotation_contrast")},
        specificity_by_offset=np.stack([noisy("specificity")] * 6),
        chance=np.full((len(LOOKS), 1, n), 0.02),
        lengths=np.repeat([8, 16], n // 2),
        ranges=np.full(n, WHOLE_RANGE),
    )


def made_effects(
    random: np.random.Generator, total: Sequence[float], direct: Sequence[float], gain: float = 10.0, n: int = 24
) -> Effects:
    """Effects of one layer, as shares of a gain of `gain` logits, with a little noise."""

    def noisy(means: Sequence[float]) -> np.ndarray:
        return gain * (np.asarray(means, dtype=float)[None, :, None] + 0.001 * random.normal(size=(1, len(means), n)))

    return Effects(noisy(total), noisy(direct), gain + 0.1 * random.normal(size=n), np.repeat([8, 16], n // 2))
