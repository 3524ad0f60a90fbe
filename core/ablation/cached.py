"""From a subject to what heads are worth: ablations, baselines, the causal map, the sweep, pruning; each computed once.

Progress goes to the job that the work runs in, if any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from core.ablation.baselines import DEFAULT_BASELINES, BaselineSets, baseline_sets, never_drawn
from core.ablation.outcomes import Ablation, Baselines, CausalMap, PatchedIn, Pruning, TotalEffect
from core.ablation.screening import ALWAYS_EXACT_LAYERS, heads_to_measure
from core.ablation.sweep import Sweep, assemble_sweep, sets_by_threshold
from core.attention.cached import score_heads
from core.attention.head_scores import HeadScores
from core.attention.scores import table_digest
from core.errors import BadInput
from core.heads import Head, HeadLike, HeadSet, head_set, names
from core.probes.losses import losses_of
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.runtime.cache import cached, if_cached
from core.runtime.jobs import current_control
from core.runtime.lru import Lru
from core.runtime.store import Stored, default_store
from core.settings.modes import MODES, REFERENCE_SEQUENCES, Mode
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.text.paragraph import PARAGRAPH, text_tokens

if TYPE_CHECKING:
    from core.ablation.ablator import Ablator

ABLATION_VERSION = 5
# Far from any seed a person types, so that reference sequences are never the probe's own.
REFERENCE_SEED_SHIFT = 1_000_003
ABLATORS_KEPT = 2
MAX_BASELINES = 200
# What can stand in for a single head whose effect on other heads is asked. `resample` has no partner for a probe that is
# measured in parts, and holding patterns still would hide the very thing that is asked.
PRUNING_MODES: tuple[Mode, ...] = ("zero", "mean")


def ablate(
    asked: Subject | Request | str, heads: Sequence[HeadLike], mode: Mode = "mean", *, text: str | None = PARAGRAPH
) -> Ablation:
    """Take `heads` away together, on the probe and on a text; `text=None` leaves the text out. Losses in nats.

    mode: what stands in for a head's output: nothing (`zero`), its `mean` over fresh sequences, its output on another
        sequence (`resample`), or nothing while every pattern is held (`pattern`; Olsson et al. 2022).

    >>> from core import Request, ablate
    >>> found = ablate(Request("by-construction", length=50), [(0, 2)], "zero", text=None)
    >>> found.heads[0].name, bool(found.ablated_losses.second_copy > found.clean_losses.second_copy + 3)
    ('L0H2', True)

    Raises BadInput for heads or a mode that this model or probe cannot have.
    """
    subject = bind(asked)
    wanted = checked_heads(subject, heads)
    [found] = ablate_all(subject, [wanted], mode)
    if text is None or subject.identity.tokenizer is None:
        return found

    def compute() -> Stored:
        return Stored(_text_losses(subject, text, wanted, mode), {})

    arrays = cached(_key(subject, "ablation-text", mode, heads=names(wanted), text=text), compute).arrays
    return replace(found, text=(arrays["text_clean"], arrays["text_ablated"]))


def ablate_all(subject: Subject, sets: Sequence[HeadSet], mode: Mode) -> tuple[Ablation, ...]:
    """`ablate` of each of `sets` on the probe alone; those not at hand share the layers in which they agree.

    Raises BadInput as `ablate` does.
    """
    _check_mode(subject, mode)
    wanted = [checked_heads(subject, heads) for heads in sets]
    keys = {heads: _key(subject, "ablation", mode, heads=names(heads)) for heads in wanted}
    computed: dict[HeadSet, Stored] = {}

    def compute(heads: HeadSet) -> Stored:
        if heads not in computed:
            missing = [other for other in keys if default_store().get(keys[other]) is None]
            ablator = ablator_for(subject)
            what = "1 head set" if len(missing) == 1 else f"{len(missing)} head sets"
            losses = ablator.token_loss(missing, mode, _share(what), apart=True)
            for other, ablated in zip(missing, losses, strict=True):
                computed[other] = Stored({"clean": ablator.clean, "ablated": ablated}, {"engine": ablator.engine})
        return computed[heads]

    found = {heads: cached(key, partial(compute, heads)) for heads, key in keys.items()}
    return tuple(_ablation_from(found[heads], heads, mode, subject) for heads in wanted)


def total_effect(subject: Subject, heads: Sequence[HeadLike], mode: Mode = "mean") -> TotalEffect:
    """What `heads` together give the right token's logit, by whatever route, beside the model's own gain; by sequence.

    Raises BadInput as `ablate` does.
    """
    _check_mode(subject, mode)
    wanted = checked_heads(subject, heads)

    def compute() -> Stored:
        from core.ablation.total_effect import total_effects

        targets = subject.layout.second_copy_targets
        [logits] = total_effects(ablator_for(subject), [wanted], mode, targets, _share("the right token's logit"))
        return Stored({"logits": logits}, {})

    logits = cached(_key(subject, "total-effect", mode, heads=names(wanted)), compute).arrays["logits"]
    return TotalEffect(wanted, mode, logits, _gain(subject))


def patched_in(subject: Subject, heads: Sequence[HeadLike]) -> PatchedIn:
    """What the outputs of `heads` do in a run that has no earlier copy: are they sufficient by themselves?

    Raises BadInput as `ablate` does, and where there are no fresh tokens.
    """
    wanted = checked_heads(subject, heads)

    def compute() -> Stored:
        from core.ablation.patch_in import patched_losses

        found = patched_losses(subject.load(), subject.probe, wanted, _share("sequences with these heads put in"))
        return Stored(dict(zip(("corrupted", "patched"), found, strict=True)), {})

    arrays = cached(_key(subject, "patched-in", "mean", heads=names(wanted)), compute).arrays
    clean = score_heads(subject).token_loss[:, subject.layout.second_copy_targets].mean(-1, dtype=np.float64)
    return PatchedIn(wanted, clean, arrays["corrupted"], arrays["patched"])


def random_baselines(
    subject: Subject, heads: Sequence[HeadLike], mode: Mode, count: int = DEFAULT_BASELINES, seed: int = 0
) -> Baselines:
    """The same ablation of other sets, matched by layer, and of every head of their layers; `count` as `baseline_sets` has it.

    Raises BadInput as `ablate` does, and for a count out of range.
    """
    _check_mode(subject, mode)
    wanted = checked_heads(subject, heads)
    chosen = _sets(subject, wanted, count, seed)
    if not chosen.sets:
        return Baselines((), chosen.note, np.empty((0, subject.layout.n_tokens), np.float32), subject.layout)
    layers = {head.layer for head in wanted}
    every = tuple(head for head in heads_of(subject) if head.layer in layers)

    def compute() -> Stored:
        sets = [every, *chosen.sets]
        losses = ablator_for(subject).token_loss(sets, mode, _share(f"{len(chosen.sets)} other head sets"))
        return Stored({"bound": losses[0].mean(0), "token_loss": losses[1:].mean(1)}, {})

    key = _key(subject, "baselines", mode, sets=[names(found) for found in chosen.sets], every=names(every))
    arrays = cached(key, compute).arrays
    return Baselines(chosen.sets, chosen.note, arrays["token_loss"], subject.layout, arrays["bound"])


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
    _check_mode(subject, mode)
    control, card = current_control(), subject.card
    # From the last layer back: the layers that cost least, and usually matter most, come first.
    wanted = list(reversed(range(card.n_layers))) if layers is None else list(layers)
    if not set(wanted) <= set(range(card.n_layers)):
        raise BadInput(f"{card.name} has layers 0 to {card.n_layers - 1}, so there is no map of {wanted}.")
    with_heads = {head.layer for head in heads_of(subject)}
    wanted = [layer for layer in wanted if layer in with_heads]
    steps = len(wanted) + 1
    clean, screened = _clean_losses(subject), _NOTHING_SCREENED
    if layers is None and card.n_layers > ALWAYS_EXACT_LAYERS:
        with control.part(0, steps):
            screened = _screened(subject, mode)
        control.partial(_map_from(subject, mode, screened, {}, clean))
    measured: dict[int, Stored] = {}
    for done, layer in enumerate(wanted):
        with control.part(done + 1, steps, f"layer {layer}: {len(wanted) - done} layers left"):
            measured[layer] = _causal_layer(subject, mode, layer)
        control.partial(_map_from(subject, mode, screened, measured, clean))
    return _map_from(subject, mode, screened, measured, clean)


def screened_map(asked: Subject | Request | str, mode: Mode = "mean") -> CausalMap:
    """The exact effects of the heads that may matter: all of them up to `ALWAYS_EXACT_LAYERS` layers, else a screen's.

    The screen: the gradient's largest, and the heads whose scores say that they may be in the circuit (`heads_to_measure`).
    Where an architecture gives no gradient estimate there is no screen, and nothing is measured.
    """
    subject = bind(asked)
    _check_mode(subject, mode)
    if subject.card.n_layers <= ALWAYS_EXACT_LAYERS:
        return causal_map(subject, mode)
    return _map_from(subject, mode, _screened(subject, mode), {}, _clean_losses(subject))


def known_causal_map(subject: Subject, mode: Mode) -> CausalMap | None:
    """The part of the map that is there; None if none is. Computes nothing."""
    _check_mode(subject, mode)
    clean = if_cached(partial(_clean_losses, subject))
    if clean is None:
        return None
    layers = {layer: if_cached(partial(_causal_layer, subject, mode, layer)) for layer in range(subject.card.n_layers)}
    measured = {layer: stored for layer, stored in layers.items() if stored is not None}
    screened = if_cached(partial(_screened, subject, mode)) or _NOTHING_SCREENED
    found = if_cached(partial(_map_from, subject, mode, screened, measured, clean))
    return found if found is not None and found.measured.any() else None


def estimated_map(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"]:
    """The gradient estimate of the causal map's effects (nats): one forward, one backward.

    Raises BadInput as `ablate` does, and for an architecture that has none.
    """
    _check_mode(subject, mode)

    def compute() -> Stored:
        from core.ablation.causal import estimated_effects

        return Stored({"effect": estimated_effects(ablator_for(subject), mode, subject.layout)}, {})

    return cached(_key(subject, "estimate", mode), compute).arrays["effect"]


def screen_estimate(subject: Subject, mode: Mode) -> Float[np.ndarray, "n_layers n_heads"] | None:
    """The estimate that a larger model's map is screened by; None where everything is exact, or where there is none."""
    if subject.card.n_layers <= ALWAYS_EXACT_LAYERS:
        return None
    try:
        return estimated_map(subject, mode)
    except BadInput:
        return None


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
    """
    subject = bind(asked)
    scores, sets = _sweep_sets(subject, thresholds, mode, score)
    control = current_control()
    distinct = sorted(set(sets), key=len)
    with control.part(0, 2):
        alone = ablate_all(subject, distinct, mode)
    second_copy = {heads: found.ablated_losses.second_copy for heads, found in zip(distinct, alone, strict=True)}
    beside: dict[HeadSet, Float[np.ndarray, " sets"]] = {}
    control.partial(0)
    with control.part(1, 2):
        for done, heads in enumerate(distinct):
            with control.part(done, len(distinct), f"other sets beside {len(heads)} heads: {done + 1} of {len(distinct)}"):
                if heads and count:
                    beside[heads] = random_baselines(subject, heads, mode, count, seed).second_copy
            control.partial(done + 1)
    return assemble_sweep(thresholds, sets, second_copy, beside, scores.losses())


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
    found = if_cached(partial(_sweep_sets, subject, thresholds, mode, score))
    if found is None:
        return None
    scores, sets = found
    second_copy: dict[HeadSet, float] = {}
    beside: dict[HeadSet, Float[np.ndarray, " sets"]] = {}
    for heads in set(sets):
        alone = if_cached(partial(ablate, subject, heads, mode, text=None))
        if alone is None:
            return None
        second_copy[heads] = alone.ablated_losses.second_copy
        random = if_cached(partial(random_baselines, subject, heads, mode, count, seed)) if heads and count else None
        if random is not None:
            beside[heads] = random.second_copy
    return assemble_sweep(thresholds, sets, second_copy, beside, scores.losses())


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


def prune(subject: Subject, head: Head, mode: Mode = "mean") -> Pruning:
    """Take one head away and measure everything again: losses, and every other head's prefix matching.

    Raises BadInput for a head that the model does not have, and a mode other than zero and mean.
    """
    check_pruning_mode(mode)
    [place] = checked_heads(subject, [head])
    scores = score_heads(subject)

    def compute() -> Stored:
        from core.ablation.pruning import scores_without

        without = scores_without(ablator_for(subject), subject.probe, place, mode)
        return Stored({"after": without.mean("induction"), "token_loss": without.token_loss}, {})

    arrays = cached(_key(subject, "prune", mode, head=place.name), compute).arrays
    pruned = losses_of(arrays["token_loss"], subject.layout)
    return Pruning(place, mode, scores.losses(), pruned, scores.mean("induction"), arrays["after"])


def checked_heads(subject: Subject, heads: Sequence[HeadLike]) -> HeadSet:
    """`heads` without doubles, in order; raises BadInput for one that the model does not have."""
    return head_set(heads, subject.card.n_layers, subject.card.n_heads)


def heads_of(subject: Subject) -> HeadSet:
    """The heads that there are, layer by layer: a layer without attention has none, and its scores are NaN."""
    return tuple(Head(int(layer), int(head)) for layer, head in np.argwhere(_exists(subject)))


def check_pruning_mode(mode: Mode) -> None:
    """Raises BadInput for a mode that single heads are not pruned or cut with."""
    if mode not in PRUNING_MODES:
        raise BadInput(f"Here a head is replaced by zero or by its mean, not {mode!r}.")


def ablation_key(subject: Subject, kind: str, mode: Mode, **parts: object) -> str:
    """The content key of something that needs an ablator: its version and the score table are in it."""
    return _key(subject, kind, mode, **parts)


_ablators: Lru[str, Ablator] = Lru(ABLATORS_KEPT)


def ablator_for(subject: Subject) -> Ablator:
    """An ablator for this model and probe; the last few stay, for a person tries one head set after another."""

    def make() -> Ablator:
        from core.ablation.ablator import Ablator

        return Ablator(subject.load(), subject.probe.tokens, reference_tokens(subject), seed=subject.probe.options.seed)

    return _ablators.get_or_make(subject.key("ablator"), make)


def reference_tokens(subject: Subject) -> np.ndarray:
    """Fresh sequences `[BOS] + r + r'` of the same length, range and BOS, whose mean stands in for a head's output.

    Never repeated ones: what a head does on every repeated sequence would be in their mean, and would not be taken away.
    """
    probe = subject.probe
    fresh = repeated_probe(
        subject.identity.vocabulary,
        ProbeOptions(
            length=probe.length,
            sequences=REFERENCE_SEQUENCES,
            seed=probe.options.seed + REFERENCE_SEED_SHIFT,
            bos="always" if probe.has_bos else "never",
            token_range=probe.options.token_range,
        ),
    ).control
    assert fresh is not None
    return fresh


def _sweep_sets(
    subject: Subject, thresholds: Sequence[float], mode: Mode, score: str
) -> tuple[HeadScores, tuple[HeadSet, ...]]:
    _check_mode(subject, mode)
    scores = score_heads(subject)
    if score not in scores.names:
        raise BadInput(f"The sweep needs a score that was measured: {', '.join(scores.names)}.")
    return scores, sets_by_threshold(scores.mean(score), thresholds)


def _check_mode(subject: Subject, mode: Mode) -> None:
    if mode not in MODES:
        raise BadInput(f"The ablation mode must be one of {', '.join(MODES)}, not {mode!r}.")
    if mode == "resample" and subject.probe.n_sequences < 2:
        raise BadInput("Resample ablation needs at least 2 sequences: a head's output must come from another one.")


def _sets(subject: Subject, heads: HeadSet, count: int, seed: int) -> BaselineSets:
    if not 0 <= count <= MAX_BASELINES:
        raise BadInput(f"The number of baselines must be from 0 to {MAX_BASELINES}, not {count}.")
    scores = score_heads(subject)
    matching = scores.mean("contrast" if scores.has_control else "induction")
    excluded = never_drawn(matching, scores.mean("previous_token"))
    return baseline_sets(heads, *matching.shape, count, seed, excluded=excluded)


def _key(subject: Subject, kind: str, mode: str, **parts: object) -> str:
    return subject.key(kind, mode=mode, ablation_version=ABLATION_VERSION, table=table_digest(), **parts)


def _ablation_from(stored: Stored, heads: HeadSet, mode: Mode, subject: Subject) -> Ablation:
    return Ablation(heads, mode, subject.layout, stored.arrays["clean"], stored.arrays["ablated"], engine=stored.meta["engine"])


def _gain(subject: Subject) -> Float[np.ndarray, " sequences"] | None:
    """The model's own gain in logits; None where the probe has no fresh second half."""
    if subject.probe.control is None:
        return None

    def compute() -> Stored:
        from core.ablation.total_effect import gain_in_logits

        return Stored({"gain": gain_in_logits(subject.load(), subject.probe)}, {})

    return cached(_key(subject, "gain-in-logits", "zero"), compute).arrays["gain"]


def _exists(subject: Subject) -> Bool[np.ndarray, "n_layers n_heads"]:
    found: Bool[np.ndarray, "n_layers n_heads"] = ~np.isnan(score_heads(subject).mean("induction"))
    return found


_Screened = tuple[HeadSet, Stored | None]
_NOTHING_SCREENED: _Screened = ((), None)


def _screened(subject: Subject, mode: Mode) -> _Screened:
    """The heads that the screen picks, and their losses; none where there is no estimate to screen by."""
    estimate = screen_estimate(subject, mode)
    if estimate is None:
        return _NOTHING_SCREENED
    heads = heads_to_measure(estimate, score_heads(subject))

    def compute() -> Stored:
        return _measured_alone(subject, mode, heads, f"the {len(heads)} heads that may matter")

    return heads, cached(_key(subject, "causal-screen", mode, heads=names(heads)), compute)


def _causal_layer(subject: Subject, mode: Mode, layer: int) -> Stored:
    """Each head of `layer` alone; those that the screen has measured are taken from there."""
    heads = tuple(head for head in heads_of(subject) if head.layer == layer)

    def compute() -> Stored:
        screened, stored = if_cached(partial(_screened, subject, mode)) or _NOTHING_SCREENED
        known = {} if stored is None else dict(zip(screened, stored.arrays["losses"], strict=True))
        missing = tuple(head for head in heads if head not in known)
        measured = _measured_alone(subject, mode, missing, f"layer {layer}")
        known |= dict(zip(missing, measured.arrays["losses"], strict=True))
        return Stored({"losses": np.stack([known[head] for head in heads])}, measured.meta)

    return cached(_key(subject, "causal-layer", mode, layer=layer), compute)


def _measured_alone(subject: Subject, mode: Mode, heads: HeadSet, what: str) -> Stored:
    from core.ablation.causal import single_losses

    ablator = ablator_for(subject)
    return Stored({"losses": single_losses(ablator, heads, mode, subject.layout, _share(what))}, {"engine": ablator.engine})


def _clean_losses(subject: Subject) -> Float[np.ndarray, " sequences"]:
    def compute() -> Stored:
        from core.ablation.causal import clean_losses

        return Stored({"losses": clean_losses(ablator_for(subject), subject.layout)}, {})

    return cached(_key(subject, "clean-losses", "zero"), compute).arrays["losses"]


def _map_from(
    subject: Subject, mode: Mode, screened: _Screened, layers: dict[int, Stored], clean: Float[np.ndarray, " sequences"]
) -> CausalMap:
    exists, every = _exists(subject), heads_of(subject)
    losses = np.full((*exists.shape, subject.probe.n_sequences), np.nan)
    heads, stored = screened
    if stored is not None:
        losses[tuple(np.transpose(heads))] = stored.arrays["losses"]
    for layer, found in layers.items():
        losses[layer, [head.head for head in every if head.layer == layer]] = found.arrays["losses"]
    engines = sorted({found.meta["engine"] for found in (*layers.values(), *([] if stored is None else [stored]))})
    return CausalMap(mode, losses, clean, " and ".join(engines), None if exists.all() else exists)


def _share(what: str) -> Callable[[float], None]:
    """Tells the running job how much of `what` is done; the job can be cancelled there."""
    control = current_control()

    def report(share: float) -> None:
        control.checkpoint()
        control.progress(share, what)

    return report


def _text_losses(subject: Subject, text: str, heads: HeadSet, mode: Mode) -> dict[str, np.ndarray]:
    """A text's losses, clean and ablated.

    The mean is the text's own, over its positions: that of random tokens alone costs .07 nats on text. And a text is alone, so
    `resample`, which needs another sequence, takes that mean as well.
    """
    from core.ablation.ablator import Ablator

    tokens = text_tokens(subject, text)
    ablator = Ablator(subject.load(), tokens, tokens, mean_over_positions=True)
    ablated = ablator.token_loss([heads], "mean" if mode == "resample" else mode)[0]
    return {"text_clean": ablator.clean, "text_ablated": ablated}
