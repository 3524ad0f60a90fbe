"""What pages show of what was removed and judged: cached at once, otherwise shared work with its progress in this place.

Each gives None while its result is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import DEFAULT_BASELINES
from core.ablation.cached import (
    ablate,
    causal_map,
    estimated_map,
    known_causal_map,
    known_sweep,
    random_baselines,
    single_effects,
    sweep,
)
from core.ablation.outcomes import Ablation, Baselines, CausalMap
from core.ablation.sweep import Sweep
from core.heads import HeadSet, named
from core.settings.modes import Mode
from core.settings.subject import Subject
from core.text.paragraph import PARAGRAPH
from core.ui.frame.waiting import await_job, await_result, job_key
from core.verdicts.cached import judge
from core.verdicts.judgement import Judgement


def ablation_of(subject: Subject, heads: HeadSet, mode: Mode) -> Ablation | None:
    """The ablation on the probe, without a text."""
    work = partial(ablate, subject, heads, mode, text=None)
    return await_result(job_key(subject, "ablation", mode, named(heads)), work, "Taking heads away")


def text_ablation_of(subject: Subject, heads: HeadSet, mode: Mode, paragraph: str) -> Ablation | None:
    """The ablation with a text, the built-in one if it is empty."""
    work = partial(ablate, subject, heads, mode, text=paragraph or PARAGRAPH)
    key = job_key(subject, "text", mode, named(heads), paragraph)
    return await_result(key, work, "Reading the text", background=True)


def kept_alone(subject: Subject, others: HeadSet, mode: Mode) -> Ablation | None:
    """The ablation of every head but the set (`others`)."""
    work = partial(ablate, subject, others, mode, text=None)
    key = job_key(subject, "ablation", mode, named(others))
    return await_result(key, work, "Keeping only these heads", background=True)


def baselines_of(subject: Subject, heads: HeadSet, mode: Mode) -> Baselines | None:
    """The same ablation of random sets."""
    work = partial(random_baselines, subject, heads, mode)
    key = job_key(subject, "baselines", mode, named(heads))
    return await_result(key, work, "Taking random heads away, to compare", background=True)


def singles_of(subject: Subject, heads: HeadSet, mode: Mode) -> Float[np.ndarray, " heads"] | None:
    """The effect of each head alone."""
    work = partial(single_effects, subject, heads, mode)
    key = job_key(subject, "singles", mode, named(heads))
    return await_result(key, work, "Taking one head away at a time", background=True)


def estimate_of(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"] | None:
    """The gradient estimate of every head's effect."""
    work = partial(estimated_map, subject, mode)
    return await_result(job_key(subject, "estimate", mode), work, "Estimating every head's effect")


def map_of(subject: Subject, mode: Mode, *, wanted: bool) -> CausalMap | None:
    """What is known of the exact map, in part or whole. If `wanted`, the rest is measured.

    The page runs again whenever a layer is done.
    """
    known = known_causal_map(subject, mode)
    if wanted and (known is None or not known.complete):
        doing = "Taking each head away alone, the last layer first; the map fills in as it comes"
        work = partial(causal_map, subject, mode)
        whole = await_job(job_key(subject, "map", mode), work, doing, background=True, live=True)
        known = whole if whole is not None else known_causal_map(subject, mode)
    return known


def costs_of(subject: Subject, mode: Mode, layers: Sequence[int]) -> CausalMap | None:
    """The exact map as far as it is known, `layers` of it measured if they are missing.

    The page runs again whenever a layer is done.
    """
    known = known_causal_map(subject, mode)
    if _lacks_layers(known, layers):
        # All of them are in the key, so that everybody who looks at these heads shares one job from its start to its end.
        key = job_key(subject, "costs", mode, *layers)
        doing = "Taking each of these heads away alone, to add what it costs"
        measured = await_job(key, partial(causal_map, subject, mode, layers), doing, background=True, live=True)
        known = known_causal_map(subject, mode)
        # A finished job answers for as long as it is remembered, whether or not the store still has its layers.
        if measured is not None and _lacks_layers(known, layers):
            return measured
    return known


def sweep_of(
    subject: Subject, thresholds: Sequence[float], mode: Mode, score: str, *, count: int = DEFAULT_BASELINES
) -> Sweep | None:
    """The sweep, random sets as far as they are known; None while not even the head sets' own losses are.

    The page runs again whenever the random sets beside a point are done.
    """
    known = known_sweep(subject, thresholds, mode, score=score, count=count)
    if known is None:
        alone = partial(sweep, subject, thresholds, mode, score=score, count=0)
        key = job_key(subject, "sweep", mode, score, *thresholds)
        known = await_job(key, alone, f"Sweeping the threshold ({mode})")
    if known is None or not count or not _lacks_baselines(known):
        return known
    whole = partial(sweep, subject, thresholds, mode, score=score, count=count)
    key = job_key(subject, "sweep beside random sets", mode, score, count, *thresholds)
    doing = "Taking random heads away, to compare; the band fills in as it comes"
    return await_job(key, whole, doing, background=True, live=True) or known


def judged_of(subject: Subject, floor: float) -> Judgement | None:
    """The verdicts. A new floor computes nothing."""
    work = partial(judge, subject, floor=floor)
    doing = "Testing every head on several lengths; this happens once for these settings"
    found = await_result(job_key(subject, "verdicts"), work, doing)
    # The job may have been asked for with another floor.
    return found if found is None or found.floor == floor else work()


def _lacks_layers(known: CausalMap | None, layers: Sequence[int]) -> bool:
    return any(known is None or np.isnan(known.effect[layer]).any() for layer in layers)


def _lacks_baselines(sweep: Sweep) -> bool:
    return any(row.heads and np.isnan(row.baseline_low) for row in sweep.rows)
