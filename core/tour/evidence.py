"""What the numbers say of each question of the tour: the right answer, and of every answer why, from results that are kept.

A question that a model does not answer with one head (because it was trained again) is an error here, and a test's failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.ablation.cached import ablate, random_baselines
from core.ablation.cached_map import causal_map
from core.attention.cached import score_heads
from core.circuits.circuit import PREVIOUS_TOKEN_FLOOR
from core.heads import Head, HeadSet, heads_above, named, ranked
from core.numbers import beside, counted, digits_that_add_up, share, signed, unsigned, with_interval
from core.settings.experiment import DEFAULT_FLOOR
from core.settings.modes import MODES, Mode
from core.settings.subject import Subject
from core.settings.text_choice import TextChoice
from core.stats import Number
from core.text.cached import chosen_windows_of
from core.text.natural_scores import LIFT_FLOOR
from core.tour.step import Found
from core.verdicts.cached import judge, judged_on_text
from core.verdicts.words import lengths_words

# The two thresholds between which one head joins.
FIRST_THRESHOLD, SECOND_THRESHOLD = 0.5, 0.3


def highest_contrast(subject: Subject) -> Found:
    """Which head's induction score is a matter of the copy, most of all."""
    scores = score_heads(subject)
    induction, contrast = scores.mean("induction"), scores.mean("contrast")
    best, first = ranked(contrast)[0], _without(ranked(induction), ranked(contrast)[0])[0]

    def reason(answer: str) -> str:
        head = _head(answer)
        control = induction[head] - contrast[head]
        digits = digits_that_add_up(control, contrast[head], induction[head])
        both = f"on repeated tokens {head.name} scores {unsigned(induction[head], digits)}, in the same places on fresh ones "
        both += f"{unsigned(control, digits)}: a contrast of {unsigned(contrast[head], digits)}"
        return f"{both}, the highest here" if head == best else f"{both}, and another head has a higher one"

    return Found(
        best.name,
        reason,
        f"A score is not yet a claim. {first.name} scores {unsigned(induction[first])} as well, but it scores as much where "
        f"there is no copy: its contrast is {unsigned(contrast[first])}. It looks at a place, whatever stands there.",
    )


def joins_below(subject: Subject) -> Found:
    """Which head the lower of two thresholds lets in, and what that is worth."""
    values = score_heads(subject).mean("induction")
    high, low = heads_above(values, FIRST_THRESHOLD), heads_above(values, SECOND_THRESHOLD)
    [joins] = _without(low, *high)
    few, more = ablate(subject, high, text=None), ablate(subject, low, text=None)

    def reason(answer: str) -> str:
        head = _head(answer)
        said = f"{head.name} scores {beside(values[head], FIRST_THRESHOLD, SECOND_THRESHOLD)}"
        if head == joins:
            return f"{said}, between the two"
        if head in high:
            return f"{said} and is above {FIRST_THRESHOLD:.2f} already"
        return f"{said} and stays below {SECOND_THRESHOLD:.2f}"

    return Found(
        joins.name,
        reason,
        f"A threshold is a choice, and this is what it buys: without the {counted(len(high), 'head')} above "
        f"{FIRST_THRESHOLD:.2f} the "
        f"model loses {share(few.gain_lost)} of what the repeat is worth to it; without the {len(low)} above "
        f"{SECOND_THRESHOLD:.2f} it loses {share(more.gain_lost)}.",
    )


def needed_previous_token_head(subject: Subject) -> Found:
    """Which of the heads that look at the token before the second copy cannot do without."""
    looks, effects = score_heads(subject).mean("previous_token"), causal_map(subject).effect
    asked = heads_above(looks, PREVIOUS_TOKEN_FLOOR)
    [needed] = (head for head in asked if effects[head] > DEFAULT_FLOOR)
    [idle] = _without(asked, needed)

    def reason(answer: str) -> str:
        head = _head(answer)
        look = f"{head.name} looks at the token before with {unsigned(looks[head])} of its attention"
        cost = f"taking it away changes the loss on the second copy by {signed(effects[head])} nats"
        return f"{look}, and {cost}" if head in asked else f"{look}, which is no previous-token head, though {cost}"

    return Found(
        needed.name,
        reason,
        f"Looking is not mattering: {idle.name} looks at the token before, too ({unsigned(looks[idle])}), and without it the "
        f"loss changes by {signed(effects[idle])} nats only. {needed.name} never looks at the copy, but the heads that do find "
        "it by what this one writes.",
    )


def ablation_that_fools(subject: Subject, head: Head) -> Found:
    """Which way of taking a needed head away says that it is not needed."""
    costs = {mode: _cost(subject, (head,), mode) for mode in MODES}
    [fools] = (mode for mode in MODES if costs[mode] <= DEFAULT_FLOOR)
    others = [mode for mode in MODES if mode != fools]

    def reason(answer: str) -> str:
        mode: Mode = next(way for way in MODES if way == answer)
        said = f"{mode} ablation of {head.name} changes the loss by {signed(costs[mode])} nats"
        return (
            f"{said}, the three others by {_listed(costs, others)}"
            if mode == fools
            else f"{said}, so it says that the head is needed"
        )

    return Found(
        fools,
        reason,
        f"What shows it is the three others. {head.name} only tells other heads where to look, and this ablation holds all "
        "looking as it was, so on the second copy nobody misses it. One way of taking a head away is one question; ask it in "
        "more than one way.",
    )


def p_beside_others(subject: Subject, head: Head) -> Found:
    """How likely another head would cost as much as this one."""
    alone = ablate(subject, [head], text=None)
    beside = random_baselines(subject, [head], "mean")
    count, p = len(beside.sets), beside.p(alone)
    worse = int((beside.second_copy >= alone.ablated_losses.second_copy).sum())
    cost = alone.ablated_losses.second_copy - alone.clean_losses.second_copy

    def reason(answer: str) -> str:
        if answer == _two_digits(p):
            return (
                f"{worse} of {counted(count, 'other set')} cost at least as much, so p is ({worse} + 1) / "
                f"({count} + 1) = {p:.3f}"
            )
        if float(answer) < beside.smallest_p - 0.005:
            return f"{counted(count, 'other set')} cannot give less than 1 / ({count} + 1) = {beside.smallest_p:.3f}"
        as_much = round(float(answer) * (count + 1)) - 1
        if answer != _two_digits((as_much + 1) / (count + 1)):
            those = f"one more than the sets that cost at least as much, over {count + 1}"
            return f"beside {counted(count, 'other set')} p is {those}: never {answer}"
        here = "more of them do" if worse > as_much else "fewer of them do"
        return f"p is {answer} where {as_much} of {counted(count, 'other set')} cost at least as much, and here {here}"

    return Found(
        _two_digits(p),
        reason,
        f"{signed(cost)} nats look like something, but {worse} of {counted(count, 'other head')} cost at "
        "least as much. That does not "
        f"say that {head.name} does nothing: it says that this cost alone is no evidence. A cost without its baseline is half "
        "a number.",
    )


def on_text_alone(subject: Subject, text: TextChoice) -> Found:
    """Which head matches on text though it is not found on random tokens."""
    judged = judged_on_text(subject, chosen_windows_of(subject, text))
    [alone] = judged.labelled("text only")

    def reason(answer: str) -> str:
        head = _head(answer)
        lift = Number(judged.judged.value[head], judged.judged.low[head], judged.judged.high[head])
        written = with_interval(*lift, LIFT_FLOOR)
        said = f"its lift on text is {written} and its score on random tokens {unsigned(judged.random[head])}"
        if head == alone:
            return f"{said}: random tokens do not show it"
        if judged.matches[head]:
            return f"{said}: it is found on both" if lift.low > LIFT_FLOOR else f"{said}: it is found on random tokens"
        return f"{said}: on text it does not match"

    both = judged.labelled("on text too")
    return Found(
        alone.name,
        reason,
        f"Random tokens are a probe, not the world. {counted(len(both), 'head')} "
        f"({named(both).replace(',', ', ')}) do the same on both; "
        f"{alone.name} would have been missed. It happens the other way round, too: in SmolLM2-135M the head L18H7 scores 0.61 "
        "on random tokens and 0.05 on eight windows of text of 255 tokens, and nothing is lost there when it is taken away.",
    )


def label_of(subject: Subject, head: Head) -> Found:
    """What a head is, all things considered."""
    judged = judge(subject)
    verdict, lengths = judged.of(head), lengths_words(judged.lengths)
    scores = score_heads(subject)
    score, contrast = scores.mean("induction")[head], scores.mean("contrast")[head]
    length = subject.request.length
    elsewhere = {other: score_heads(subject.at(length=other)).mean("induction")[head] for other in (length - 1, length + 1)}
    looks = {"previous token": verdict.previous_token, "duplicate token": verdict.duplicate_token, "sink": verdict.sink}
    moved = " and ".join(f"{unsigned(value)} at length {other}" for other, value in elsewhere.items())

    def reason(answer: str) -> str:
        if answer == verdict.label:
            return f"its score is {unsigned(score)} at length {length}, but {moved}, and its contrast is {unsigned(contrast)}"
        if answer in looks:
            return f"as {answer} it scores {with_interval(*looks[answer])} over {lengths}"
        return f"its score of {unsigned(score)} is no less on fresh tokens: its contrast is {unsigned(contrast)}"

    return Found(
        verdict.label,
        reason,
        f"It looks {length - 1} tokens back, always. Where the copy happens to be that far away, that is a perfect score; one "
        "token more or less, and nothing is left. A claim about a head is its score with its control, its effect with its "
        "baseline, at more than one length. The head card has these of every head, on one page.",
    )


def _cost(subject: Subject, heads: HeadSet, mode: Mode) -> float:
    found = ablate(subject, heads, mode, text=None)
    return found.ablated_losses.second_copy - found.clean_losses.second_copy


def _listed(costs: Mapping[Mode, float], modes: Sequence[Mode]) -> str:
    return ", ".join(f"{signed(costs[mode])} ({mode})" for mode in modes)


def _without(heads: HeadSet, *others: Head) -> HeadSet:
    return tuple(head for head in heads if head not in others)


def _head(answer: str) -> Head:
    found = Head.parse(answer)
    assert found is not None, "an answer was read before it is told"
    return found


def _two_digits(value: float) -> str:
    return f"{value:.2f}"
