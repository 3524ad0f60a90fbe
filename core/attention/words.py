"""What the behaviour, scores and their movement say, in sentences that a person can repeat."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES, SECOND_STEP
from core.attention.sensitivity import Sensitivity
from core.behaviour import LEAST_LENGTH, LEAST_SEQUENCES, PRESENT_ABOVE, WEAK_ABOVE, Behaviour, Losses, State
from core.heads import Head, listed, ranked
from core.numbers import at_most, beside, counted, is_or_are, share, unsigned

# Scores that are written with the same digits are not said to differ.
_SAME_DIGITS = 0.005


def sizes_words(exists: Bool[np.ndarray, "n_layers n_heads"], times: str) -> str:
    """`3 layers x 8 heads`, or `3 layers, 16 heads` where layers differ in how many they have; `times` is the sign between."""
    layers, heads = counted(len(exists), "layer"), int(exists.sum())
    return f"{layers} {times} {counted(exists.shape[1], 'head')}" if exists.all() else f"{layers}, {counted(heads, 'head')}"


def state_word(state: State | None) -> str:
    """`present`, `weak`, `absent`, or `not known`."""
    return state or "not known"


def behaviour_sentence(found: Behaviour) -> str:
    """Whether the model does induction on this probe, with the numbers that say so, or why it cannot be said."""
    if found.state is None:
        return f"Whether this model does induction on this probe cannot be said: {_why_not_known(found)}."
    asked = {
        "present": f"above {share(PRESENT_ABOVE)}",
        "weak": f"above {share(WEAK_ABOVE)}, not above {share(PRESENT_ABOVE)}",
        "absent": f"not above {share(WEAK_ABOVE)}",
    }[found.state]
    if not found.unsure:
        return f"Induction is {found.state} on this probe: {_difference(found)}, {asked}."
    said = "is not shown" if found.state == "absent" else f"is shown to be {found.state} only"
    return (
        f"Induction {said} by the {counted(found.sequences, 'sequence')} of this probe, which differ too much: "
        f"{_difference(found)}, {asked}. Take more sequences."
    )


def losses_sentence(found: Behaviour) -> str:
    """The losses on the four second halves, and how often the model ranks the right token first."""
    return (
        f"Loss {unsigned(found.rep)} nats on the repeated half and {unsigned(found.rot)} on the rotated one; "
        f"{unsigned(found.shuf)} on the same tokens shuffled and {unsigned(found.fresh)} on fresh ones. Of the repeated tokens "
        f"{share(found.top1)} are ranked first."
    )


def set_remark(losses: Losses) -> str:
    """What knowing only which tokens occur would give; it decides nothing."""
    return f"Knowing only which tokens occur, a model could have a loss of ln L = {losses.ln_length:.2f} nats."


def interval_words(n_sequences: int) -> str:
    """What the intervals of scores are over, or why there are none."""
    if n_sequences < 2:
        return "One sequence gives no interval: take more."
    return f"Intervals: Student's t over {counted(n_sequences, 'sequence')}."


def withheld_sentence(scores: HeadScores, name: str) -> str:
    """Why a score is not there."""
    title = ALL_SCORES[name].title
    if ALL_SCORES[name].by_value:
        return by_value_sentence(title)
    if name in SECOND_STEP and scores.layout.length < LEAST_LENGTH:
        return f"{title} is withheld: sequences of {scores.layout.length} tokens have no other order; it takes {LEAST_LENGTH}."
    return f"{title} is withheld: these tokens leave no fresh second half, or have no order without their own neighbours."


def withheld_reasons(scores: HeadScores) -> dict[str, str]:
    """Why each score that is not there is not, by its name."""
    return {name: withheld_sentence(scores, name) for name in scores.withheld}


def by_value_sentence(title: str) -> str:
    """Why a score that weighs attention by what it brings is not there."""
    return (
        f"{title} is withheld: this architecture is measured by its patterns, without the size of what they bring, or none "
        "of its heads brings anything."
    )


def later_words(scores: HeadScores) -> str:
    """What is measured only when somebody looks."""
    titles = [ALL_SCORES[name].title for name in scores.later]
    return (
        f"{' and '.join(titles)} take longer than all others on sequences this long: they are measured once you choose one as "
        "the score, or open a table."
    )


def _why_not_known(found: Behaviour) -> str:
    if found.length < LEAST_LENGTH:
        return f"sequences of {found.length} tokens have no other order to compare with; it takes {LEAST_LENGTH} or more"
    if not found.measured:
        return "these tokens leave no fresh second half, or have no order without their own neighbours"
    if found.more_needed:
        more = f"{found.more_needed} more {'sequence is' if found.more_needed == 1 else 'sequences are'} needed"
        return f"{more}, for it takes {LEAST_SEQUENCES}. So far, {_difference(found)}"
    return "its losses are no numbers"


def _difference(found: Behaviour) -> str:
    said = (
        "repeated and rotated tokens are both predicted better than shuffled and fresh ones, by"
        if found.e > 0
        else "repeated or rotated tokens are predicted no better than shuffled or fresh ones: the smallest difference is"
    )
    low = (
        ""
        if math.isnan(found.low)
        else f" ({share(found.low, PRESENT_ABOVE, WEAK_ABOVE)} at the lower end of its 95 % interval)"
    )
    return f"{said} {share(found.e)} of the loss without a copy{low}"


def highest_chance(levels: Float[np.ndarray, " n_layers"]) -> float:
    """The chance level of the layer where it is highest; NaN where no layer's is known."""
    return math.nan if np.isnan(levels).all() else float(np.nanmax(levels))


def chance_words(levels: Float[np.ndarray, " n_layers"]) -> str:
    """`0.02`, `up to 0.06` where layers see different stretches of the tokens, or `unknown`."""
    highest = highest_chance(levels)
    if math.isnan(highest):
        return "unknown"
    return f"{highest:.2f}" if (levels == levels[0]).all() else f"up to {highest:.2f}"


def sensitivity_sentences(found: Sensitivity, threshold: float) -> list[str]:
    """What it means for a threshold, in sentences that a person can repeat: of all heads, however many are drawn."""
    always, sometimes = found.steady(threshold)
    every = counted(int(found.base.exists.sum()), "head")
    said = f"At {threshold:.2f}, {len(always)} of {every} {is_or_are(len(always))} above at every setting by the mean"
    sentences = [f"{said}, {len(sometimes)} at some settings only."]
    if sometimes:
        sentences.append(f"At some settings only: {listed(sometimes, 8)}.")
    settings, means = found.of_factor("length")
    if len(settings) > 1:
        head, apart = _moves_most(means)
        low, high = (int(at(means[:, head.layer, head.head])) for at in (np.argmin, np.argmax))
        least, most = (beside(means[place][head], threshold) for place in (low, high))
        sentences.append(
            f"With length {head.name} moves most: {most} at length {settings[high].label}, {least} at length "
            f"{settings[low].label}."
            if least != most and apart >= _SAME_DIGITS
            else f"With length no head moves{_by_how_little(apart)}."
        )
    sentences.append(f"Another seed moves no head by more than {at_most(_moves_most(found.of_factor('seed')[1])[1])}.")
    settings, means = found.of_factor("bos")
    if len(settings) < 2:
        sentences.append("This model has no BOS token, or no room for one, so nothing is said about it.")
        return sentences
    head, apart = _moves_most(means)
    numbers = [beside(mean[head], threshold) for mean in means]
    said = ", ".join(f"{number} {setting.label} it" for setting, number in zip(settings, numbers, strict=True))
    sentences.append(
        f"{head.name} moves most with the BOS: {said}."
        if len(set(numbers)) > 1 and apart >= _SAME_DIGITS
        else f"With or without the BOS no head moves{_by_how_little(apart)}."
    )
    return sentences


def _by_how_little(apart: float) -> str:
    """What is added where a movement is too small for the digits that numbers are written with; nothing where there is none."""
    return f" by more than {at_most(apart)}" if apart > 0 else ""


def _moves_most(means: Float[np.ndarray, "settings n_layers n_heads"]) -> tuple[Head, float]:
    """The head whose lowest and highest mean are furthest apart, and how far."""
    apart = means.max(0) - means.min(0)
    [head, *_] = ranked(apart)
    return head, float(apart[head])


def beside_heads_sentence(found: Sensitivity, head: Head) -> str:
    """The same head's number on the Heads page, and why it is another one here."""
    values = found.base.sequences(found.score)[head]
    said = (
        f"{head.name} has {unsigned(float(values.mean()))} on the Heads page, on "
        f"{counted(len(values), 'sequence')} of these settings"
    )
    if len(values) == found.sequences:
        return f"{said}, and the same number here."
    own = str(found.base.layout.length)
    here = next(spread.mean for spread in found.of(head, "length") if spread.setting.label == own)
    return f"{said}; {unsigned(here)} here, on {found.sequences}, for an interval over fewer would say little."
