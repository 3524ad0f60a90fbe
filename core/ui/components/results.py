"""What pages show of what was removed and judged: cached at once, otherwise shared work with its progress in this place.

Each gives None while its result is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from core.ablation.baselines import DEFAULT_BASELINES
from core.ablation.cached import ablate, patched_in, random_baselines, total_effect
from core.ablation.cached_map import causal_map, known_causal_map, screen_estimate, single_effects
from core.ablation.cached_sweep import known_sweep, sweep
from core.ablation.outcomes import Ablation, Baselines, CausalMap, PatchedIn, TotalEffect
from core.ablation.screening import ALWAYS_EXACT_LAYERS
from core.ablation.sweep import Sweep
from core.heads import HeadSet, named
from core.settings.cost import PASSES_OF_ONE_SET, expected_seconds
from core.settings.modes import Mode
from core.settings.subject import Subject
from core.ui.frame.waiting import await_job, await_result, job_key
from core.verdicts.cached import judge, nominees, verdict_seconds
from core.verdicts.judgement import Judgement
from core.verdicts.nominees import Nominee


def ablation_of(subject: Subject, heads: HeadSet, mode: Mode) -> Ablation | None:
    """The ablation on the probe, without a text."""
    work = partial(ablate, subject, heads, mode, text=None)
    key = job_key(subject, "ablation", mode, named(heads))
    return await_result(key, work, "Taking heads away", seconds=partial(expected_seconds, subject, 2.0))


def text_ablation_of(subject: Subject, heads: HeadSet, mode: Mode, text: str) -> Ablation | None:
    """The ablation with a text."""
    work = partial(ablate, subject, heads, mode, text=text)
    key = job_key(subject, "text", mode, named(heads), subject.identity.tokenizer_digest, text)
    return await_result(key, work, "Reading the text", background=True)


def kept_alone(subject: Subject, others: HeadSet, mode: Mode) -> Ablation | None:
    """The ablation of every head but the set (`others`)."""
    work = partial(ablate, subject, others, mode, text=None)
    key = job_key(subject, "ablation", mode, named(others))
    return await_result(key, work, "Keeping only these heads", background=True, seconds=partial(expected_seconds, subject, 2.0))


def baselines_of(subject: Subject, heads: HeadSet, mode: Mode) -> Baselines | None:
    """The same ablation of other sets."""
    work = partial(random_baselines, subject, heads, mode)
    key = job_key(subject, "baselines", mode, named(heads))
    seconds = partial(expected_seconds, subject, PASSES_OF_ONE_SET * DEFAULT_BASELINES)
    return await_result(key, work, "Taking other heads away, to compare", background=True, seconds=seconds)


def total_effect_of(subject: Subject, heads: HeadSet, mode: Mode) -> TotalEffect | None:
    """What the heads give the right token's logit."""
    work = partial(total_effect, subject, heads, mode)
    key = job_key(subject, "total effect", mode, named(heads))
    return await_result(
        key, work, "Reading the right token's logit", background=True, seconds=partial(expected_seconds, subject, 3.0)
    )


def patched_in_of(subject: Subject, heads: HeadSet) -> PatchedIn | None:
    """What the heads' own outputs do in a run without an earlier copy."""
    work = partial(patched_in, subject, heads)
    key, doing = job_key(subject, "patched in", named(heads)), "Putting these heads into a run"
    return await_result(key, work, doing, background=True, seconds=partial(expected_seconds, subject, 3.0))


def singles_of(subject: Subject, heads: HeadSet, mode: Mode) -> Float[np.ndarray, " heads"] | None:
    """The effect of each head alone."""
    work = partial(single_effects, subject, heads, mode)
    key = job_key(subject, "singles", mode, named(heads))
    seconds = partial(expected_seconds, subject, PASSES_OF_ONE_SET * len(heads))
    return await_result(key, work, "Taking one head away at a time", background=True, seconds=seconds)


def estimate_of(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"] | None:
    """The gradient estimate that a larger model's map is screened by; None where there is none."""
    if subject.card.n_layers <= ALWAYS_EXACT_LAYERS:
        return None
    work = partial(screen_estimate, subject, mode)
    seconds = partial(expected_seconds, subject, 4.0)
    return await_result(job_key(subject, "estimate", mode), work, "Estimating every head's effect", seconds=seconds)


def map_of(subject: Subject, mode: Mode) -> CausalMap | None:
    """What is known of the exact map, in part or whole; the rest is measured.

    The page runs again whenever a layer is done.
    """
    known = known_causal_map(subject, mode)
    if known is None or not known.complete:
        doing = "Taking each head away alone; the map fills in as it comes"
        work = partial(causal_map, subject, mode)
        seconds = partial(expected_seconds, subject, PASSES_OF_ONE_SET * subject.card.n_layers * subject.card.n_heads)
        whole = await_job(job_key(subject, "map", mode), work, doing, background=True, live=True, seconds=seconds)
        known = whole if whole is not None else known_causal_map(subject, mode)
    return known


def sweep_of(
    subject: Subject, thresholds: Sequence[float], mode: Mode, score: str, *, count: int = DEFAULT_BASELINES
) -> Sweep | None:
    """The sweep, other sets as far as they are known; None while not even the head sets' own losses are.

    The page runs again whenever the other sets beside a point are done.
    """
    known = known_sweep(subject, thresholds, mode, score=score, count=count)
    if known is None:
        alone = partial(sweep, subject, thresholds, mode, score=score, count=0)
        key = job_key(subject, "sweep", mode, score, *thresholds)
        seconds = partial(expected_seconds, subject, PASSES_OF_ONE_SET * len(thresholds))
        known = await_job(key, alone, f"Sweeping the threshold ({mode})", seconds=seconds)
    if known is None or not count or not _lacks_baselines(known):
        return known
    whole = partial(sweep, subject, thresholds, mode, score=score, count=count)
    key = job_key(subject, "sweep beside other sets", mode, score, count, *thresholds)
    doing = "Taking other heads away, to compare; their range fills in as it comes"
    sets = {row.heads for row in known.rows if row.heads and row.others is None}
    seconds = partial(expected_seconds, subject, PASSES_OF_ONE_SET * count * len(sets))
    return await_job(key, whole, doing, background=True, live=True, seconds=seconds) or known


def judged_of(subject: Subject, floor: float) -> Judgement | None:
    """The verdicts. A new floor measures nothing but what heads do that match only now."""
    work = partial(judge, subject, floor=floor)
    doing = "Testing every head on several lengths; this happens once for these settings"
    found = await_result(job_key(subject, "verdicts"), work, doing, seconds=partial(verdict_seconds, subject))
    # The job may have been asked for with another floor.
    return found if found is None or found.floor == floor else work()


def nominees_of(subject: Subject, floor: float) -> tuple[Nominee, ...] | None:
    """Heads that matter and do not match, without holding the page up."""
    work = partial(nominees, subject, floor=floor)
    key = job_key(subject, "nominees", floor)
    doing = "Taking heads without a label away"
    return await_result(key, work, doing, background=True, seconds=partial(verdict_seconds, subject))


def _lacks_baselines(sweep: Sweep) -> bool:
    return any(row.heads and row.others is None for row in sweep.rows)
