"""From a subject to its sweep: what each threshold keeps, ablated together, beside other sets; each computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from core.ablation.baselines import DEFAULT_BASELINES
from core.ablation.cached import ablate, ablate_all, checked_draw, random_baselines
from core.ablation.outcomes import Ablation, Baselines
from core.ablation.subjects import check_mode
from core.ablation.sweep import SetCost, Sweep, assemble_sweep, checked_thresholds, sets_by_threshold
from core.attention.cached import scores_and_behaviour
from core.attention.head_scores import HeadScores
from core.attention.words import withheld_sentence
from core.errors import BadInput, Withheld
from core.heads import HeadSet
from core.numbers import counted
from core.runtime.cache import if_cached
from core.runtime.jobs import current_control
from core.settings.cost import layers_again
from core.settings.modes import Mode
from core.settings.request import Request
from core.settings.subject import Subject, bind


def sweep(
    asked: Subject | Request | str,
    thresholds: Sequence[float],
    mode: Mode = "mean",
    *,
    score: str = "induction",
    count: int = DEFAULT_BASELINES,
    seed: int = 0,
) -> Sweep:
    """Ablate what each threshold keeps, beside other sets (`count` 0 for none); equal sets are computed once.

    In a job, the number of sets done is its partial result: `known_sweep` then has that much more to show.

    >>> from core import Request, sweep
    >>> found = sweep(Request("by-construction", length=20), [0.2, 0.8], "zero", count=0)
    >>> [row.n_heads for row in found.rows]
    [1, 1]

    Raises BadInput for thresholds, a score, a mode or a count that cannot be used; the order of thresholds says nothing.
    """
    thresholds = checked_thresholds(thresholds)
    count, seed = checked_draw(count, seed)
    subject = bind(asked)
    scores, sets = _sweep_sets(subject, thresholds, mode, score)
    control = current_control()
    distinct = sorted(set(sets), key=len)
    n_layers = subject.card.n_layers
    costs = [layers_again(n_layers, min((head.layer for head in heads), default=n_layers)) for heads in distinct]
    missing = [bool(heads and count) and _known_baselines(subject, heads, mode, count, seed) is None for heads in distinct]
    beside_costs = [count * cost if lacking else 0.0 for cost, lacking in zip(costs, missing, strict=True)]
    stages = (sum(costs), sum(beside_costs))
    with control.part(0, stages):
        alone = ablate_all(subject, distinct, mode)
    own = {heads: _cost(found) for heads, found in zip(distinct, alone, strict=True)}
    beside: dict[HeadSet, Baselines] = {}
    control.partial(0)
    with control.part(1, stages):
        for done, heads in enumerate(distinct):
            what = f"other sets beside {counted(len(heads), 'head')}: {done + 1} of {len(distinct)}"
            with control.part(done, beside_costs, what):
                if heads and count:
                    beside[heads] = random_baselines(subject, heads, mode, count, seed)
            control.partial(done + 1)
    return _assembled(thresholds, sets, own, beside, scores)


def known_sweep(
    subject: Subject,
    thresholds: Sequence[float],
    mode: Mode,
    *,
    score: str = "induction",
    count: int = DEFAULT_BASELINES,
    seed: int = 0,
) -> Sweep | None:
    """The sweep from what is there, baselines only where they are; None if a head set's own loss is not. Computes nothing."""
    thresholds = checked_thresholds(thresholds)
    found = if_cached(partial(_sweep_sets, subject, thresholds, mode, score))
    if found is None:
        return None
    scores, sets = found
    own: dict[HeadSet, SetCost] = {}
    beside: dict[HeadSet, Baselines] = {}
    for heads in set(sets):
        alone = if_cached(partial(ablate, subject, heads, mode, text=None))
        if alone is None:
            return None
        own[heads] = _cost(alone)
        random = _known_baselines(subject, heads, mode, count, seed) if heads and count else None
        if random is not None:
            beside[heads] = random
    return _assembled(thresholds, sets, own, beside, scores)


def _known_baselines(subject: Subject, heads: HeadSet, mode: Mode, count: int, seed: int) -> Baselines | None:
    return if_cached(partial(random_baselines, subject, heads, mode, count, seed))


def _assembled(
    thresholds: Sequence[float],
    sets: Sequence[HeadSet],
    own: Mapping[HeadSet, SetCost],
    beside: Mapping[HeadSet, Baselines],
    scores: HeadScores,
) -> Sweep:
    losses = {heads: found.second_copy for heads, found in beside.items()}
    notes = {heads: found.note for heads, found in beside.items()}
    return assemble_sweep(thresholds, sets, own, losses, scores.losses(), notes)


def _cost(alone: Ablation) -> SetCost:
    return SetCost(alone.ablated_losses.second_copy, alone.second_copy_change, len(alone.clean))


def _sweep_sets(
    subject: Subject, thresholds: Sequence[float], mode: Mode, score: str
) -> tuple[HeadScores, tuple[HeadSet, ...]]:
    check_mode(subject, mode)
    scores = scores_and_behaviour(subject)
    if score in scores.withheld:
        raise Withheld(withheld_sentence(scores, score))
    if score not in scores.names:
        raise BadInput(f"The sweep needs a score that was measured: {', '.join(scores.names)}.")
    return scores, sets_by_threshold(scores.mean(score), thresholds)
