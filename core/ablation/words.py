"""What the numbers of an intervention say, each in a sentence that a person can repeat."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from core.ablation.effects import Effects
from core.ablation.outcomes import Ablation, Baselines, CausalMap, PatchedIn, TotalEffect
from core.heads import ranked
from core.numbers import counted, digits_beside, interval, is_or_are, share, signed, signed_interval, unsigned
from core.settings.modes import REFERENCE_SEQUENCES, Mode
from core.stats import Agreement, Number

MODE_MEANINGS: dict[Mode, str] = {
    "zero": "Nothing stands in for the head: its output becomes zero.",
    "mean": f"The head's average over {REFERENCE_SEQUENCES} sequences of fresh tokens stands in for it, position by position: "
    "fresh, because an average over repeated ones would keep what the head does there.",
    "resample": "The head's output on another of these sequences stands in for it, never its own. That can write a confident "
    "wrong token, so it may cost many times what nothing in its place would.",
    "pattern": "The head's output becomes zero while every head keeps looking where it looked before. Heads that only "
    "tell others where to look, such as previous-token heads, seem harmless this way.",
}
# Below this p a set is said to cost more than others.
SIGNIFICANT = 0.05
# Effects closer than this many nats are told as equal.
_SAME = 0.05
# Costs that are written with the same digits are not said to differ.
_SAME_DIGITS = 0.005


Beside = Literal["surely more", "more, too few to be sure", "less", "not surely more"]


def beside_others(p: float, cost: float, low: float, high: float) -> Beside:
    """How what taking heads away leaves (nats) stands to what it leaves of other sets, `low` to `high`, and p."""
    if p < SIGNIFICANT:
        return "surely more"
    if cost > high + _SAME_DIGITS:
        return "more, too few to be sure"
    return "less" if cost < low - _SAME_DIGITS else "not surely more"


def against_baselines(result: Ablation, baselines: Baselines) -> str:
    """Whether these heads matter more than others that could as well have been chosen; every number that it rests on."""
    before, after = result.clean_losses.second_copy, result.ablated_losses.second_copy
    them = "this head" if len(result.heads) == 1 else f"these {len(result.heads)} heads"
    change = change_words(result.second_copy_change, len(result.clean))
    if not baselines.sets:
        return f"Taking {them} away changes the loss by {change}. {baselines.note}"
    low, high, _ = baselines.range
    p, least, count = baselines.p(result), baselines.smallest_p, len(baselines.sets)
    every = so_many_others(count, count, "other sets")
    beaten = so_many_others(int((baselines.second_copy < after).sum()), count, "other sets")
    verdicts: dict[Beside, str] = {
        "surely more": f"hurts more than {beaten}",
        "more, too few to be sure": f"hurts more than {every}, too few to be sure",
        "less": f"hurts less than {every}",
        "not surely more": "does not surely hurt more than other heads do",
    }
    verdict = verdicts[beside_others(p, after, low, high)]
    bound = "the upper bound" if baselines.bound > after - _SAME_DIGITS else "no upper bound here"
    return (
        f"**Taking {them} away {verdict}:** {change}; other sets {signed(low - before)} to "
        f"{signed(high - before)}; {p_words(p, least, count)}. Without any head of the same layers: "
        f"{signed(baselines.bound - before)} nats, {bound}."
    )


def change_words(change: Number, n_sequences: int, digits: int = 2) -> str:
    """`+2.10 nats (95 % interval +1.95 to +2.25 over 4 sequences)`, or why there is no interval."""
    if n_sequences < 2:
        return f"{signed(change.value, digits)} nats (one sequence gives no interval)"
    between = signed_interval(change.low, change.high, digits_beside((change.low, change.high), (0.0,), digits))
    return f"{signed(change.value, digits)} nats (95 % interval {between} over {counted(n_sequences, 'sequence')})"


def gain_lost_words(lost: float) -> str:
    """`69 %`, `−1 %` where more of it is there than before, or `no sure gain` that could be lost."""
    return "no sure gain" if math.isnan(lost) else share(lost)


def so_many_others(some: int, count: int, what: str) -> str:
    """`54 of 55 other heads`, `every one of 55 other heads`: a small p leaves room for some that cost more."""
    if count == 1:
        return "the only other set"
    return f"{'every one' if some == count else some} of {count} {what}"


def p_words(p: float, smallest: float, count: int) -> str:
    """p beside the smallest that so many sets can give."""
    said = f"p = {p:.{digits_beside((p,), (SIGNIFICANT,), 3)}f}"
    if p <= smallest:
        return f"{said}, the smallest that {counted(count, 'set')} can give"
    return f"{said}, where {counted(count, 'set')} can give {smallest:.3f} at best"


def total_effect_sentence(effect: TotalEffect) -> str:
    """What the heads give the right token's logit, in units of the model's gain, or why that is withheld."""
    return total_effect_words(
        len(effect.heads), effect.mode, effect.in_gains, effect.in_logits, effect.unit, len(effect.logits)
    )


def total_effect_words(n_heads: int, mode: Mode, shares: Number, in_logits: Number, unit: Number, count: int) -> str:
    """As `total_effect_sentence`, from the numbers that files have; the unit is unknown where there are no fresh tokens."""
    them = "this head" if n_heads == 1 else f"these {n_heads} heads"
    gains = in_logits.value < 0
    logits = in_logits.turned if gains else in_logits
    said = f"**Total effect** ({mode} ablation): without {them} the right token's logit {'gains' if gains else 'loses'}"
    if count < 2:
        return f"{said} {unsigned(logits.value)} on the one sequence, and one sequence has no interval: take more."
    told = f"{unsigned(logits.value)} (95 % interval {interval(logits.low, logits.high)}, {counted(count, 'sequence')})"
    if math.isnan(unit.value):
        return f"{said} {told}. There is no fresh second half to measure the model's own gain on, so it has no unit."
    if not unit.low > 0:
        between = interval(unit.low, unit.high, digits_beside((unit.low,), (0.0,)))
        return (
            f"{said} {told}. In units of the model's own gain it is withheld: the earlier copy itself raises the logit by "
            f"{unsigned(unit.value)} ({between}), which is not surely above zero."
        )
    shares = shares.turned if gains else shares
    between, of_all = interval(shares.low, shares.high), f"{unsigned(logits.value)} of {unsigned(unit.value)} logits"
    return (
        f"{said} **{unsigned(shares.value)} of what the earlier copy gives it** (95 % interval {between} over "
        f"{counted(count, 'sequence')}; {of_all})."
    )


def unknown_words(model: str, unknown: int, tokens: int) -> str:
    """How much of a text a model cannot read; empty where it can read all of it."""
    if not unknown:
        return ""
    instead = "an unknown token instead" if unknown == 1 else "the same unknown token for all of them"
    return (
        f"{unknown} of the text's {tokens} tokens {is_or_are(unknown)} not in the vocabulary of {model}, which sees {instead}: "
        "give it words that it knows before you trust this number."
    )


def whole_and_parts(effects: Float[np.ndarray, " heads"], joint: float) -> str:
    """The joint effect against the sum of single ones, and what the difference means; empty for one head."""
    if len(effects) < 2:
        return ""
    total = float(effects.sum())
    said = f"Together {signed(joint)} nats, one at a time {signed(total)} in sum."
    if abs(joint - total) <= max(_SAME, 0.1 * abs(joint)):
        return f"{said} The heads add up: each does its own part."
    if joint > total:
        return f"{said} **More than the sum:** consistent with backup heads; saturation looks the same."
    return f"{said} **Less than the sum:** the heads depend on each other, so losing one already breaks most of it."


def sufficiency(kept: Ablation, n_kept: int) -> str:
    """What is left of the behaviour when everything else is taken away."""
    clean, left = kept.clean_losses, kept.ablated_losses.second_copy
    if not clean.has_gain:
        return "There is no gain on the second copy, or none that is sure, so there is nothing that these heads could keep."
    if not kept.heads:
        return "No head of this model is left to take away."
    kept_gain = (clean.first_copy - left) / clean.gain
    if kept.mode == "pattern":
        return _enough_with_held_patterns(left, kept_gain, n_kept)
    said = f"With only {counted(n_kept, 'head')} left in the whole model the second-copy loss is {left:.2f} nats"
    one = ("it keeps", "itself", "it needs other heads")
    keep, themselves, need = one if n_kept == 1 else ("they keep", "themselves", "they need other heads")
    if kept_gain >= 0.5:
        return f"{said}: {keep} {_part_of(kept_gain)} the gain by {themselves}."
    if kept_gain > 0:
        return f"{said}: {keep} only {_part_of(kept_gain)} the gain, so {need}."
    return f"{said}, no better than the first copy untouched: by {themselves} {keep} nothing of the gain."


def _enough_with_held_patterns(left: float, kept_gain: float, n_kept: int) -> str:
    """As `sufficiency` has it, where the heads that were removed still tell the others where to look."""
    moved = "what this head moves" if n_kept == 1 else f"what these {n_kept} heads move"
    themselves = "this head is enough by itself" if n_kept == 1 else "these heads are enough by themselves"
    how = f"While every head keeps looking where it looked with all heads there, {moved}"
    if kept_gain >= 0.5:
        said = f"{how} is enough for {_part_of(kept_gain)} the gain (second-copy loss {left:.2f} nats)"
    elif kept_gain > 0:
        said = f"{how} is enough for only {_part_of(kept_gain)} the gain (second-copy loss {left:.2f} nats)"
    else:
        said = f"{how} gives nothing of the gain (second-copy loss {left:.2f} nats, no better than the first copy untouched)"
    return f"{said}. That does not say whether {themselves}: the removed heads still say where to look."


def _part_of(part: float) -> str:
    """`69 % of`; `all of` for what is more: more than all cannot be kept."""
    return "all of" if part > 1 else f"{share(part)} of"


def patched_in_sentence(found: PatchedIn) -> str:
    """How much the heads by themselves make the right token likelier, of what the earlier copy does."""
    raised, possible = found.raised, found.possible
    them = "this head's" if len(found.heads) == 1 else f"these {len(found.heads)} heads'"
    sure = "" if math.isnan(raised.low) else f" (95 % interval {signed_interval(raised.low, raised.high)})"
    said = (
        f"Put into a run without an earlier copy, {them} own outputs change the right token's log-probability by "
        f"{signed(raised.value)} nats{sure}"
    )
    if possible.value <= 0 or possible.low <= 0:
        return f"{said}; the earlier copy itself does not surely raise it."
    part = raised.value / possible.value
    of_it = "all of it" if part > 1 else share(part)
    return f"{said}, of the {signed(possible.value)} that the earlier copy itself gives: {of_it}."


def map_sentence(found: CausalMap | None, count: int) -> str:
    """What the causal map says: nothing before all of its `count` heads are measured."""
    if found is None or not found.complete:
        done = 0 if found is None else int(found.measured.sum())
        said = f"{done} of {counted(count, 'head')} {is_or_are(done)} measured so far"
        return f"{said}. Nothing is concluded before all of them are."
    low, high = found.interval
    if np.isnan(low).all():
        every = "The only head is" if count == 1 else f"All {count} heads are"
        return (
            f"{every} measured, on one sequence, which gives no interval: nothing is sure, and what is counted here is of this "
            "one sequence."
        )
    sure = (low > 0) | (high < 0)
    worse, better = int((low > 0).sum()), int((high < 0).sum())
    size = np.abs(found.effect)
    [largest, *_] = ranked(size)
    [best, *_] = ranked(np.where(sure, size, np.nan)) if sure.any() else [largest]
    changes = f"without it the loss changes by {signed(found.effect[best])} nats"
    said = f"**{best.name} matters most: {changes}**" if best == largest else f"**{best.name} surely matters: {changes}**"
    if not sure.any():
        said = f"**No head surely matters.** {best.name} changes most: {changes}"
    between = signed_interval(low[best], high[best], digits_beside((low[best], high[best]), (0.0,)))
    return (
        f"{said} (95 % interval {between} over {counted(len(found.clean), 'sequence')}). Intervals wholly "
        f"above zero: {worse} of {counted(count, 'head')}, below: {better}; if no head did anything, some "
        f"{0.05 * count:.1f} would be by chance."
    )


def sides_sentence(found: Effects, floor: float) -> str:
    """How sure it is that heads are on their side of the floor: they are put there by their mean effect alone."""
    beyond = np.abs(found.effect) > floor
    n_beyond, n_within = int(beyond.sum()), int((found.measured & ~beyond).sum())
    if not found.has_intervals:
        return (
            f"On this one sequence {counted(n_beyond, 'head')} {is_or_are(n_beyond)} beyond ±{floor:.2f} nats: without an "
            "interval no head is surely on either side."
        )
    surely_beyond = int(((found.low > floor) | (found.high < -floor)).sum())
    surely_within = int(((found.low > -floor) & (found.high < floor)).sum())
    return (
        f"Heads are divided by their mean effect: {n_beyond} beyond ±{floor:.2f} nats, {surely_beyond} of them with the whole "
        f"95 % interval; {n_within} within, {surely_within} of them with the whole interval."
    )


def agreement_sentence(agreement: Agreement, of: str) -> str:
    """A rank correlation with its interval, in words; `of` says of what and what."""
    if not agreement.known:
        return f"{of}: no rank correlation, for one of the two is the same for all heads, or there are too few."
    size = abs(agreement.rho)
    strength = "strong" if size >= 0.7 else "moderate" if size >= 0.4 else "weak"
    said = f"{of}: rank correlation {signed(agreement.rho)} ({strength})"
    if math.isnan(agreement.low):
        return (
            f"{said} over {counted(agreement.n_heads, 'head')} (Spearman), without an interval: however these "
            "heads are drawn, they are in that order."
        )
    return (
        f"{said}, 95 % interval {signed(agreement.low)} to {signed(agreement.high)} over "
        f"{counted(agreement.n_heads, 'head')} (Spearman, bootstrap over heads)."
    )
