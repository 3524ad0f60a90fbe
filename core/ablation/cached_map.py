"""From a subject to its causal map: every head alone, of a larger model first those that may matter; each computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from core.ablation.cached import ablate_all
from core.ablation.outcomes import CausalMap
from core.ablation.screening import ALWAYS_EXACT_LAYERS, heads_to_measure
from core.ablation.subjects import ablation_key, ablator_for, check_mode, heads_of
from core.attention.cached import existing_heads, scores_and_behaviour
from core.errors import BadInput
from core.heads import Head, HeadSet, names
from core.numbers import counted
from core.runtime.cache import cached, if_cached
from core.runtime.jobs import current_control, share_of
from core.runtime.store import Stored
from core.settings.cost import layers_again
from core.settings.modes import Mode
from core.settings.request import Request
from core.settings.subject import Subject, bind

# Steps of the screen: which heads, and what they gave.
_Screened = list[tuple[HeadSet, Stored]]


def causal_map(asked: Subject | Request | str, mode: Mode = "mean", layers: Sequence[int] | None = None) -> CausalMap:
    """Every head ablated alone: of a larger model first those that a screen picks, then layer by layer; effects in nats.

    layers: these only, in that order, without a screen. What is done is kept, so an interrupted map goes on where it stopped.
    In a job, partial maps are shown as they come.

    >>> from core import Request, causal_map
    >>> found = causal_map(Request("by-construction", length=20), "zero")
    >>> found.effect.shape, found.complete
    ((2, 4), True)
    """
    subject = bind(asked)
    check_mode(subject, mode)
    control, card = current_control(), subject.card
    # From the last layer back: the layers that cost least, and usually matter most, come first.
    wanted = list(reversed(range(card.n_layers))) if layers is None else list(layers)
    if not set(wanted) <= set(range(card.n_layers)):
        raise BadInput(f"{card.name} has layers 0 to {card.n_layers - 1}, so there is no map of {wanted}.")
    with_heads = {head.layer for head in heads_of(subject)}
    wanted = [layer for layer in wanted if layer in with_heads]
    screens = layers is None and card.n_layers > ALWAYS_EXACT_LAYERS
    # Each layer has as many heads; the screen takes as much as two of the first layer.
    steps = [2 * layers_again(card.n_layers, 0) if screens else 0.0, *(layers_again(card.n_layers, layer) for layer in wanted)]
    clean, measured = _clean_losses(subject), dict[int, Stored]()

    def show(screened: _Screened) -> None:
        control.partial(_map_from(subject, mode, screened, measured, clean))

    screened: _Screened = []
    if screens:
        with control.part(0, steps):
            screened = _screened(subject, mode, show)
    for done, layer in enumerate(wanted):
        with control.part(done + 1, steps, f"layer {layer}: {counted(len(wanted) - done, 'layer')} left"):
            measured[layer] = _causal_layer(subject, mode, layer)
        show(screened)
    return _map_from(subject, mode, screened, measured, clean)


def screened_map(asked: Subject | Request | str, mode: Mode = "mean") -> CausalMap:
    """The exact effects of the heads that may matter: all of them up to `ALWAYS_EXACT_LAYERS` layers, else a screen's.

    The screen: the gradient's largest, then the heads whose scores say that they may be in the circuit (`heads_to_measure`).
    Where an architecture gives no gradient estimate there is no screen, and nothing is measured.
    """
    subject = bind(asked)
    check_mode(subject, mode)
    if subject.card.n_layers <= ALWAYS_EXACT_LAYERS:
        return causal_map(subject, mode)
    return _map_from(subject, mode, _screened(subject, mode), {}, _clean_losses(subject))


def known_causal_map(subject: Subject, mode: Mode) -> CausalMap | None:
    """The part of the map that is there; None if none is. Computes nothing."""
    check_mode(subject, mode)
    clean = if_cached(partial(_clean_losses, subject))
    if clean is None:
        return None
    layers = {layer: if_cached(partial(_causal_layer, subject, mode, layer)) for layer in range(subject.card.n_layers)}
    measured = {layer: stored for layer, stored in layers.items() if stored is not None}
    found = if_cached(partial(_map_from, subject, mode, _known_screen(subject, mode), measured, clean))
    return found if found is not None and found.measured.any() else None


def estimated_map(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"]:
    """The gradient estimate of the causal map's effects (nats): the mean of `estimates_by_sequence`. Raises as it does."""
    found: Float[np.ndarray, "n_layers n_heads"] = estimates_by_sequence(subject, mode).mean(-1)
    return found


def estimates_by_sequence(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads sequences"]:
    """The gradient estimate of what each head's ablation adds to each sequence's loss (nats): one forward, one backward.

    Raises BadInput as `ablate` does, and for an architecture that has none.
    """
    check_mode(subject, mode)

    def compute() -> Stored:
        from core.ablation.causal import estimated_effects

        return Stored({"effects": estimated_effects(ablator_for(subject), mode, subject.layout)}, {})

    return cached(ablation_key(subject, "estimates", mode), compute).arrays["effects"]


def screen_estimate(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"] | None:
    """The estimate that a larger model's map is screened by; None where everything is exact, or where there is none."""
    found = _screening(subject, mode)
    return None if found is None else found.mean(-1)


def single_effects(subject: Subject, heads: HeadSet, mode: Mode) -> Float[np.ndarray, " heads"]:
    """The change in second-copy loss (nats) when each of `heads` is ablated alone.

    Taken from the causal map's layers where they are there. Raises BadInput as `ablate` does.
    """
    known = known_causal_map(subject, mode)
    effects = np.array([np.nan if known is None else known.effect[head] for head in heads])
    missing = np.flatnonzero(np.isnan(effects))
    singles = [(heads[index],) for index in missing.tolist()]
    for index, alone in zip(missing, ablate_all(subject, singles, mode), strict=True):
        effects[index] = alone.ablated_losses.second_copy - alone.clean_losses.second_copy
    return effects


def _screened(subject: Subject, mode: Mode, show: Callable[[_Screened], None] | None = None) -> _Screened:
    """The heads that the screen picks, and their losses; none where there is no estimate to screen by.

    show: is told of each step that is done.
    """
    found: _Screened = []
    steps, control = _screens(subject, mode), current_control()
    for done, heads in enumerate(steps):
        with control.part(done, len(steps)):
            found.append((heads, _screen(subject, mode, heads)))
        if show is not None:
            show(found)
    return found


def _known_screen(subject: Subject, mode: Mode) -> _Screened:
    """The steps of the screen that are there."""
    steps = if_cached(partial(_screens, subject, mode)) or []
    known = [(heads, if_cached(partial(_screen, subject, mode, heads))) for heads in steps]
    return [(heads, stored) for heads, stored in known if stored is not None]


def _screens(subject: Subject, mode: Mode) -> list[HeadSet]:
    """Which heads the screen measures, in two steps."""
    estimates = _screening(subject, mode)
    return [] if estimates is None else [heads for heads in heads_to_measure(estimates, scores_and_behaviour(subject)) if heads]


def _screening(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads sequences"] | None:
    """By sequence, as `screen_estimate`."""
    if subject.card.n_layers <= ALWAYS_EXACT_LAYERS:
        return None
    try:
        return estimates_by_sequence(subject, mode)
    except BadInput:
        return None


def _screen(subject: Subject, mode: Mode, heads: HeadSet) -> Stored:
    def compute() -> Stored:
        return _measured_alone(subject, mode, heads, f"{counted(len(heads), 'head')} that may matter")

    return cached(ablation_key(subject, "causal-screen", mode, heads=names(heads)), compute)


def _causal_layer(subject: Subject, mode: Mode, layer: int) -> Stored:
    """Each head of `layer` alone; those that the screen has measured are taken from there."""
    heads = tuple(head for head in heads_of(subject) if head.layer == layer)

    def compute() -> Stored:
        known: dict[Head, Float[np.ndarray, " sequences"]] = {}
        for screened, stored in _known_screen(subject, mode):
            known |= zip(screened, stored.arrays["losses"], strict=True)
        missing = tuple(head for head in heads if head not in known)
        measured = _measured_alone(subject, mode, missing, f"layer {layer}")
        known |= dict(zip(missing, measured.arrays["losses"], strict=True))
        return Stored({"losses": np.stack([known[head] for head in heads])}, measured.meta)

    return cached(ablation_key(subject, "causal-layer", mode, layer=layer), compute)


def _measured_alone(subject: Subject, mode: Mode, heads: HeadSet, what: str) -> Stored:
    from core.ablation.causal import single_losses

    ablator = ablator_for(subject)
    return Stored({"losses": single_losses(ablator, heads, mode, subject.layout, share_of(what))}, {"engine": ablator.engine})


def _clean_losses(subject: Subject) -> Float[np.ndarray, " sequences"]:
    def compute() -> Stored:
        from core.ablation.causal import clean_losses

        return Stored({"losses": clean_losses(ablator_for(subject), subject.layout)}, {})

    return cached(ablation_key(subject, "clean-losses", "zero"), compute).arrays["losses"]


def _map_from(
    subject: Subject, mode: Mode, screened: _Screened, layers: dict[int, Stored], clean: Float[np.ndarray, " sequences"]
) -> CausalMap:
    exists, every = existing_heads(subject), heads_of(subject)
    losses = np.full((*exists.shape, subject.probe.n_sequences), np.nan)
    for heads, stored in screened:
        losses[tuple(np.transpose(heads))] = stored.arrays["losses"]
    for layer, found in layers.items():
        losses[layer, [head.head for head in every if head.layer == layer]] = found.arrays["losses"]
    engines = sorted({found.meta["engine"] for found in (*layers.values(), *(stored for _, stored in screened))})
    return CausalMap(mode, losses, clean, " and ".join(engines), None if exists.all() else exists)
