"""Results of interventions for a page: what is at hand at once, otherwise shared work with its progress in this place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from core.ablation.cached import (
    Ablation,
    CausalMap,
    Controls,
    ablate,
    ablation_controls,
    causal_map,
    estimated_map,
    single_effects,
    stored_causal_map,
    stored_sweep,
    threshold_sweep,
)
from core.ablation.sweep import Sweep
from core.attention.cached import ScoreRequest, score_key
from core.heads import HeadSet, Mode
from core.runtime.cache import at_hand
from core.ui.frame.waiting import awaited

T = TypeVar("T")


def ablation_of(request: ScoreRequest, heads: HeadSet, mode: Mode) -> Ablation | None:
    """The ablation on the probe, without plain text; None while it is not there."""
    return _result(
        _key("ablation", request, mode, heads), partial(ablate, request, heads, mode, text=None), "Taking heads away"
    )


def text_ablation_of(request: ScoreRequest, heads: HeadSet, mode: Mode, paragraph: str) -> Ablation | None:
    """The ablation with plain text; None while it is not there."""
    key = f"{_key('text', request, mode, heads)} {paragraph}"
    return _result(key, partial(ablate, request, heads, mode, text=paragraph), "Reading plain text", background=True)


def kept_alone(request: ScoreRequest, others: HeadSet, mode: Mode) -> Ablation | None:
    """The ablation of every head but the set (`others`); None while it is not there."""
    work = partial(ablate, request, others, mode, text=None)
    return _result(_key("keep", request, mode, others), work, "Keeping only these heads", background=True)


def controls_of(request: ScoreRequest, heads: HeadSet, mode: Mode) -> Controls | None:
    """The same ablation of random sets; None while it is not there."""
    work = partial(ablation_controls, request, heads, mode)
    return _result(_key("controls", request, mode, heads), work, "Taking random heads away, to compare", background=True)


def singles_of(request: ScoreRequest, heads: HeadSet, mode: Mode) -> Float[np.ndarray, " heads"] | None:
    """The effect of each head alone; None while it is not there."""
    work = partial(single_effects, request, heads, mode)
    return _result(_key("singles", request, mode, heads), work, "Taking one head away at a time", background=True)


def estimate_of(request: ScoreRequest, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"] | None:
    """The gradient estimate of every head's effect; None while it is not there."""
    return _result(_key("estimate", request, mode), partial(estimated_map, request, mode), "Estimating every head's effect")


def map_of(request: ScoreRequest, mode: Mode, *, wanted: bool) -> CausalMap | None:
    """What is known of the exact map, in part or whole; None while nothing is. If `wanted`, the rest is measured.

    The page runs again whenever a layer is done.
    """
    known = stored_causal_map(request, mode)
    if wanted and (known is None or not known.complete):
        doing = "Taking each head away alone, the last layer first; the map fills in as it comes"
        whole = awaited(_key("map", request, mode), _job(partial(causal_map, request, mode)), doing, background=True, live=True)
        known = whole if whole is not None else stored_causal_map(request, mode)
    return known


def costs_of(request: ScoreRequest, mode: Mode, layers: Sequence[int]) -> CausalMap | None:
    """The exact map as far as it is known, `layers` of it measured if they are missing; None while nothing is known.

    The page runs again whenever a layer is done.
    """
    known = stored_causal_map(request, mode)
    missing = [layer for layer in layers if known is None or np.isnan(known.effect[layer]).any()]
    if missing:
        # All of them are in the key, so that everybody who looks at these heads shares one job from its start to its end.
        key = _key("costs", request, mode, *layers)
        work = _job(partial(causal_map, request, mode, layers))
        awaited(key, work, "Taking each of these heads away alone, to add what it costs", background=True, live=True)
        known = stored_causal_map(request, mode)
    return known


def sweep_of(request: ScoreRequest, thresholds: Sequence[float], mode: Mode, score: str, *, controls: int) -> Sweep | None:
    """The sweep, its control bands as far as they are known; None while not even the head sets' own losses are.

    The page runs again whenever a band is done.
    """
    parts = (request, tuple(thresholds), mode)
    known = stored_sweep(*parts, score=score, controls=controls)
    if known is None:
        plain = partial(threshold_sweep, *parts, score=score, controls=0)
        known = awaited(_key("sweep", request, mode, score, thresholds), _job(plain), f"Sweeping the threshold ({mode})")
    if known is None or not controls or not _band_is_missing(known):
        return known
    whole = partial(threshold_sweep, *parts, score=score, controls=controls)
    key = _key("sweep with controls", request, mode, score, thresholds, controls)
    doing = "Taking random heads away, to compare; the band fills in as it comes"
    return awaited(key, _job(whole), doing, background=True, live=True) or known


def _band_is_missing(sweep: Sweep) -> bool:
    return any(row.heads and np.isnan(row.control_low) for row in sweep.rows)


def _result(key: str, work: Callable[[], T], doing: str, *, background: bool = False) -> T | None:
    known = at_hand(work)
    return known if known is not None else awaited(key, _job(work), doing, background=background)


def _job(work: Callable[[], T]) -> Callable[[object], T]:
    """`work` as a job: it reports its progress to the job that runs it, without being handed a function for that."""
    return lambda _: work()


def _key(kind: str, request: ScoreRequest, mode: Mode, *parts: object) -> str:
    return " ".join([kind, score_key(request), mode, *map(str, parts)])
