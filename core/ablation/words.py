"""What the numbers of an intervention say, each in a sentence that a person can repeat."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from core.ablation.outcomes import Ablation, Baselines
from core.ablation.sweep import Sweep
from core.attention.rows import unknown_id
from core.numbers import signed
from core.settings.modes import REFERENCE_SEQUENCES, Mode
from core.stats import Agreement
from core.transformer.card import ModelIdentity

MODE_MEANINGS: dict[Mode, str] = {
    "zero": "Nothing stands in for the head: its output becomes zero.",
    "mean": f"The head's average over {REFERENCE_SEQUENCES} other repeated sequences stands in for it, position by position.",
    "resample": "The head's output on another of these sequences stands in for it, never its own.",
    "pattern": "The head's output becomes zero while every head keeps looking where it looked before. Heads that only "
    "tell others where to look, such as previous-token heads, seem harmless this way.",
}
# Effects closer than this many nats are told as equal.
_SAME = 0.05


def head_count(count: int) -> str:
    """`1 head`, `5 heads`."""
    return f"{count} head{'' if count == 1 else 's'}"


def against_baselines(result: Ablation, baselines: Baselines) -> str:
    """Whether these heads matter more than random ones."""
    before, after = result.clean_losses.second_copy, result.ablated_losses.second_copy
    them = "this head" if len(result.heads) == 1 else f"these {len(result.heads)} heads"
    if not baselines.sets:
        return f"Taking {them} away changes the loss by {signed(after - before)} nats. {baselines.note}"
    low, high, _ = baselines.band
    if after > high:
        verdict = f"**Taking {them} away hurts more than random heads do:**"
    elif after < low:
        verdict = f"**Taking {them} away hurts less than random heads do:**"
    else:
        verdict = f"**Taking {them} away hurts no more than random heads do:**"
    return (
        f"{verdict} {signed(after - before)} nats, random heads {signed(low - before)} to {signed(high - before)} (95 % band)."
    )


def baselines_note(baselines: Baselines) -> str:
    """How the random sets were drawn, and how many of them differ."""
    if not baselines.sets:
        return baselines.note
    different = baselines.distinct
    count = len(baselines.sets)
    few = "" if different == count else f" Only {different} of them differ: there are few heads to choose from."
    relaxed = f" {baselines.note}" if baselines.note else ""
    return f"{count} random sets with as many heads in each layer, none of them among the heads taken away.{few}{relaxed}"


def unknown_words(identity: ModelIdentity, text: str) -> str:
    """How much of a text this model cannot read; nothing where it can read all of it."""
    unknown = None if identity.tokenizer is None else unknown_id(identity.tokenizer)
    if identity.tokenizer is None or unknown is None:
        return ""
    ids = identity.tokenizer.encode(text, special_tokens=False)
    count = ids.count(unknown)
    if not count:
        return ""
    return (
        f"{count} of the text's {len(ids)} tokens are not in the vocabulary of {identity.card.name}, which sees the same "
        "unknown token for all of them: type words that it knows before you trust this number."
    )


def whole_and_parts(effects: Float[np.ndarray, " heads"], joint: float) -> str:
    """The joint effect against the sum of single ones, and what the difference means."""
    total = float(effects.sum())
    said = f"Together {signed(joint)} nats, one at a time {signed(total)} in sum."
    if abs(joint - total) <= max(_SAME, 0.1 * abs(joint)):
        return f"{said} The heads add up: each does its own part."
    if joint > total:
        return f"{said} **More than the sum:** when one head is missing, others do its work (backup heads)."
    return f"{said} **Less than the sum:** the heads depend on each other, so losing one already breaks most of it."


def sufficiency(kept: Ablation, n_kept: int) -> str:
    """What is left of the behaviour when everything else is taken away."""
    clean, left = kept.clean_losses, kept.ablated_losses.second_copy
    if clean.gain <= 0:
        return "There is no gain on the second copy that these heads could keep."
    share = (clean.first_copy - left) / clean.gain
    said = f"With only {head_count(n_kept)} left in the whole model the second-copy loss is {left:.2f} nats"
    if share >= 0.5:
        return f"{said}: they keep {share:.0%} of the gain by themselves."
    if share > 0:
        return f"{said}: they keep only {share:.0%} of the gain, so they need other heads."
    return f"{said}, worse than the first copy: by themselves they can do nothing."


def how_wide(sweep: Sweep) -> str:
    """Is the control band wide? The widest place, beside what the chosen heads cost there."""
    known = [row for row in sweep.rows if not math.isnan(row.baseline_low)]
    if not known:
        return "There are no random sets to compare with yet."
    widest = max(known, key=lambda row: row.baseline_high - row.baseline_low)
    width = widest.baseline_high - widest.baseline_low
    cost = widest.second_copy - sweep.clean.second_copy
    above = [row for row in known if row.second_copy > row.baseline_high]
    answer = "Yes" if width > 0.25 * max(abs(cost), _SAME) else "No"
    apart = "everywhere" if len(above) == len(known) else f"at {len(above)} of {len(known)} thresholds"
    return (
        f"**Is the control band wide? {answer}.** At its widest, at threshold {widest.threshold:.2f}, it spans {width:.2f} "
        f"nats ({widest.baseline_low:.2f} to {widest.baseline_high:.2f}); the heads above the threshold cost {signed(cost)} "
        f"there. Their loss lies above the band {apart}."
    )


def agreement_sentence(agreement: Agreement, of: str) -> str:
    """A rank correlation with its interval, in words; `of` says of what and what."""
    if not agreement.known:
        return f"{of}: no rank correlation, for one of the two is the same for all heads, or there are too few."
    size = abs(agreement.rho)
    strength = "strong" if size >= 0.7 else "moderate" if size >= 0.4 else "weak"
    return (
        f"{of}: rank correlation {signed(agreement.rho)} ({strength}), 95 % interval {signed(agreement.low)} to "
        f"{signed(agreement.high)} over {agreement.n_heads} heads (Spearman, bootstrap over heads)."
    )
