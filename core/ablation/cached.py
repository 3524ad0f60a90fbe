"""From a subject to what heads are worth together: ablations, baselines, total effects, pruning; each computed once.

Progress goes to the job that the work runs in, if any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from jaxtyping import Float, Int

from core.ablation.baselines import DEFAULT_BASELINES, BaselineSets, baseline_sets, never_drawn
from core.ablation.outcomes import Ablation, Baselines, PatchedIn, Pruning, TotalEffect, second_copy_change
from core.ablation.subjects import ablation_key, ablator_for, check_mode, check_pruning_mode, checked_heads, heads_of
from core.attention.cached import scores_and_behaviour
from core.errors import BadInput
from core.heads import Head, HeadLike, HeadSet, names
from core.plain import shown, whole
from core.probes.losses import losses_of
from core.runtime.cache import cached
from core.runtime.jobs import share_of
from core.runtime.store import Stored, default_store
from core.settings.modes import Mode
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.text.paragraph import PARAGRAPH, text_tokens, why_left_out

MAX_BASELINES = 200


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
    if text is None or why_left_out(subject.identity, text):
        return found
    # What the model reads: two tokenizers over the same weights make other ids of one text.
    tokens = text_tokens(subject, text)

    def compute() -> Stored:
        return Stored(_text_losses(subject, tokens, wanted, mode), {})

    arrays = cached(ablation_key(subject, "ablation-text", mode, heads=names(wanted), ids=tokens[0].tolist()), compute).arrays
    return replace(found, text=(arrays["text_clean"], arrays["text_ablated"]))


def ablate_all(subject: Subject, sets: Sequence[HeadSet], mode: Mode) -> tuple[Ablation, ...]:
    """`ablate` of each of `sets` on the probe alone; those not at hand share the layers in which they agree.

    Raises BadInput as `ablate` does.
    """
    check_mode(subject, mode)
    wanted = [checked_heads(subject, heads) for heads in sets]
    keys = {heads: ablation_key(subject, "ablation", mode, heads=names(heads)) for heads in wanted}
    computed: dict[HeadSet, Stored] = {}

    def compute(heads: HeadSet) -> Stored:
        if heads not in computed:
            missing = [other for other in keys if default_store().get(keys[other]) is None]
            report = share_of("1 head set" if len(missing) == 1 else f"{len(missing)} head sets")
            # Now, too: what stands in for heads is measured first.
            report(0.0)
            ablator = ablator_for(subject)
            losses = ablator.token_loss(missing, mode, report, apart=True)
            for other, ablated in zip(missing, losses, strict=True):
                computed[other] = Stored({"clean": ablator.clean, "ablated": ablated}, {"engine": ablator.engine})
        return computed[heads]

    found = {heads: cached(key, partial(compute, heads)) for heads, key in keys.items()}
    return tuple(_ablation_from(found[heads], heads, mode, subject) for heads in wanted)


def total_effect(subject: Subject, heads: Sequence[HeadLike], mode: Mode = "mean") -> TotalEffect:
    """What `heads` together give the right token's logit, by whatever route, beside the model's own gain; by sequence.

    Raises BadInput as `ablate` does.
    """
    check_mode(subject, mode)
    wanted = checked_heads(subject, heads)

    def compute() -> Stored:
        from core.ablation.total_effect import total_effects

        targets = subject.layout.second_copy_targets
        [logits] = total_effects(ablator_for(subject), [wanted], mode, targets, share_of("the right token's logit"))
        return Stored({"logits": logits}, {})

    logits = cached(ablation_key(subject, "total-effect", mode, heads=names(wanted)), compute).arrays["logits"]
    return TotalEffect(wanted, mode, logits, _gain(subject))


def patched_in(subject: Subject, heads: Sequence[HeadLike]) -> PatchedIn:
    """What the outputs of `heads` do in a run that has no earlier copy: are they sufficient by themselves?

    Raises BadInput as `ablate` does, and where there are no fresh tokens.
    """
    wanted = checked_heads(subject, heads)

    def compute() -> Stored:
        from core.ablation.patch_in import patched_losses

        found = patched_losses(subject.load(), subject.probe, wanted, share_of("sequences with these heads put in"))
        return Stored(dict(zip(("corrupted", "patched"), found, strict=True)), {})

    arrays = cached(ablation_key(subject, "patched-in", "mean", heads=names(wanted)), compute).arrays
    clean = scores_and_behaviour(subject).token_loss[:, subject.layout.second_copy_targets].mean(-1, dtype=np.float64)
    return PatchedIn(wanted, clean, arrays["corrupted"], arrays["patched"])


def random_baselines(
    subject: Subject, heads: Sequence[HeadLike], mode: Mode, count: int = DEFAULT_BASELINES, seed: int = 0
) -> Baselines:
    """The same ablation of other sets, matched by layer, and of every head of their layers; `count` as `baseline_sets` has it.

    Raises BadInput as `ablate` does, and as `checked_draw`.
    """
    count, seed = checked_draw(count, seed)
    check_mode(subject, mode)
    wanted = checked_heads(subject, heads)
    chosen = _sets(subject, wanted, count, seed)
    if not chosen.sets:
        return Baselines((), chosen.note, np.empty((0, subject.layout.n_tokens), np.float32), subject.layout)
    layers = {head.layer for head in wanted}
    every = tuple(head for head in heads_of(subject) if head.layer in layers)

    def compute() -> Stored:
        sets = [every, *chosen.sets]
        losses = ablator_for(subject).token_loss(sets, mode, share_of(f"{len(chosen.sets)} other head sets"))
        return Stored({"bound": losses[0].mean(0), "token_loss": losses[1:].mean(1)}, {})

    key = ablation_key(subject, "baselines", mode, sets=[names(found) for found in chosen.sets], every=names(every))
    arrays = cached(key, compute).arrays
    return Baselines(chosen.sets, chosen.note, arrays["token_loss"], subject.layout, arrays["bound"])


def checked_draw(count: int, seed: int = 0) -> tuple[int, int]:
    """How many other sets and the seed that draws them, as plain numbers; raises BadInput for what is none or out of range."""
    sets, draw = whole(count), whole(seed)
    if sets is None or not 0 <= sets <= MAX_BASELINES:
        raise BadInput(f"The number of baselines must be from 0 to {MAX_BASELINES}, a whole number, not {shown(count)}.")
    if draw is None or draw < 0:
        raise BadInput(f"The seed of the baselines must be a whole number from 0 on, not {shown(seed)}.")
    return sets, draw


def prune(subject: Subject, head: Head, mode: Mode = "mean") -> Pruning:
    """Take one head away and measure everything again: losses, and every other head's prefix matching.

    Raises BadInput for a head that the model does not have, and a mode other than zero and mean.
    """
    check_pruning_mode(mode)
    [place] = checked_heads(subject, [head])
    scores = scores_and_behaviour(subject)

    def compute() -> Stored:
        from core.ablation.pruning import scores_without

        without = scores_without(ablator_for(subject), subject.probe, place, mode)
        return Stored({"after": without.sequences("induction"), "token_loss": without.token_loss}, {})

    arrays = cached(ablation_key(subject, "pruned", mode, head=place.name), compute).arrays
    pruned = losses_of(arrays["token_loss"], subject.layout)
    change = second_copy_change(scores.token_loss, arrays["token_loss"], subject.layout)
    return Pruning(place, mode, scores.losses(), pruned, change, (scores.sequences("induction"), arrays["after"]))


def prune_each(subject: Subject, heads: HeadSet, mode: Mode = "mean") -> list[Pruning]:
    """`prune` of each of `heads`, alone."""
    return [prune(subject, head, mode) for head in heads]


def _sets(subject: Subject, heads: HeadSet, count: int, seed: int) -> BaselineSets:
    scores = scores_and_behaviour(subject)
    matching = scores.mean("contrast" if scores.has_control else "induction")
    excluded = never_drawn(matching, scores.mean("previous_token"))
    n_layers, n_heads = matching.shape
    return baseline_sets(heads, n_layers, n_heads, count, seed, excluded=excluded)


def _ablation_from(stored: Stored, heads: HeadSet, mode: Mode, subject: Subject) -> Ablation:
    return Ablation(heads, mode, subject.layout, stored.arrays["clean"], stored.arrays["ablated"], engine=stored.meta["engine"])


def _gain(subject: Subject) -> Float[np.ndarray, " sequences"] | None:
    """The model's own gain in logits; None where the probe has no fresh second half."""
    if subject.probe.control is None:
        return None

    def compute() -> Stored:
        from core.ablation.total_effect import gain_in_logits

        return Stored({"gain": gain_in_logits(ablator_for(subject), subject.probe)}, {})

    return cached(ablation_key(subject, "gain-in-logits", "zero"), compute).arrays["gain"]


def _text_losses(subject: Subject, tokens: Int[np.ndarray, "1 tokens"], heads: HeadSet, mode: Mode) -> dict[str, np.ndarray]:
    """A text's losses, clean and ablated.

    The mean is the text's own, over its positions: that of random tokens alone costs .07 nats on text. And a text is alone, so
    `resample`, which needs another sequence, takes that mean as well.
    """
    from core.ablation.ablator import Ablator

    ablator = Ablator(subject.load(tokens.shape[1]), tokens, tokens, mean_over_positions=True)
    ablated = ablator.token_loss([heads], "mean" if mode == "resample" else mode)[0]
    return {"text_clean": ablator.clean, "text_ablated": ablated}
