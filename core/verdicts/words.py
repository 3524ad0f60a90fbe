"""Verdicts in sentences that a student can read, the order in which they are told, and what they rest on.

Every clause has its number and its interval, and says no more than they do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

from core.numbers import counted, is_or_are, unsigned, with_interval
from core.settings.provenance import bos_words, drawn_from
from core.settings.subject import Subject
from core.stats import Number
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement
from core.verdicts.labels import IMPOSTOR_FLOOR, MATCHING, OWN_SCORES, Label
from core.verdicts.matching import ATTENTION_ROUNDING
from core.verdicts.nominees import Nominee
from core.verdicts.roles import DELTA
from core.verdicts.significance import SIGNIFICANCE

_MOST_SENTENCES = 12
# Called heads first, then whatever else a person should know of.
ORDER: tuple[Label, ...] = get_args(Label)
# Shares of the gain are told to three digits: the floor has two.
_SHARE_DIGITS = 3
# Below so much of what its removal costs, a head's own writing is not the way by which it acts.
MOSTLY = 0.5
# And below so much it is not even a part worth the word.
HARDLY = 0.05
# In the last layer no later ones follow: an MLP of its own, if it has one that reads the heads, and the final norm.
_FOLLOWING = "what follows it"
# Beside which an effect is a role.
_DELTAS = (DELTA, -DELTA)


def ordered(judged: Judgement) -> tuple[Verdict, ...]:
    """Every verdict: by label, then by contrast (previous-token heads and the like by their own score)."""

    def strength(verdict: Verdict) -> float:
        found: Number = getattr(verdict, OWN_SCORES.get(verdict.label, "contrast"))
        return found.value

    return tuple(sorted(judged.verdicts, key=lambda verdict: (ORDER.index(verdict.label), -strength(verdict))))


def answer(judged: Judgement) -> str:
    """How many heads are induction heads, and how many more match whose effect is another one, or none, or not known."""
    heads = counted(len(judged.verdicts), "head")
    found = sum(verdict.label == "induction" for verdict in judged.called)
    more = len(judged.called) - found
    match = "matches" if more == 1 else "match"
    if not found:
        # What the others do may only be undecided: that is no proof that they are none.
        return f"None of {heads} is shown to be an induction head" + (f"; {more} {match}" if more else "")
    said = "is an induction head" if found == 1 else "are induction heads"
    return f"{found} of {heads} {said}" + (f"; {more} more {match}" if more else "")


def worth_a_sentence(judged: Judgement) -> tuple[Verdict, ...]:
    """The verdicts that are told in sentences: all called heads, and the first others that have a label."""
    labelled = [verdict for verdict in ordered(judged) if verdict.label != "none"]
    called = sum(verdict.label in MATCHING for verdict in labelled)
    return tuple(labelled[: max(called, _MOST_SENTENCES)])


def sentence(verdict: Verdict, judged: Judgement) -> str:
    """The verdict in one sentence, with the numbers that gave it."""
    said = {
        "positional impostor": _impostor,
        "previous token": _looks_elsewhere,
        "duplicate token": _looks_elsewhere,
        "sink": _looks_elsewhere,
        "none": _nothing,
    }.get(verdict.label, _matches)
    return f"{verdict.name}: {verdict.label}. {said(verdict, judged)}."


def nominee_sentence(nominee: Nominee) -> str:
    """A head that matters and does not match, in one sentence."""
    p = f"p {_p(nominee.p)}, {_p(nominee.q)} corrected for the heads that were asked"
    return f"{nominee.name}: matters, does not match. {effect_sentence(nominee.total_effect)} ({p})."


def _matches(verdict: Verdict, judged: Judgement) -> str:
    looks = (
        "Looks at the token after the earlier copy because of the copy: contrast "
        f"{_number(verdict.contrast, judged.floor)}, {_number(verdict.rotation_contrast, judged.floor)} with the copy rotated, "
        f"{_number(verdict.specificity, 0.0)} more than at any token beside it"
    )
    return f"{looks}. {_role(verdict, judged)}"


def _role(verdict: Verdict, judged: Judgement) -> str:
    effect = verdict.total_effect
    if math.isnan(effect.value):
        return f"What it does is not decided: {why_no_gain(judged)}, so there is nothing to take away"
    said = effect_sentence(effect)
    if verdict.label in ("induction", "anti-induction"):
        return f"{said}, {_route(verdict, judged)}"
    if verdict.label == "matching, no effect":
        own = verdict.direct_effect
        beyond = own.low > DELTA or own.high < -DELTA
        after, makes = _what_follows(verdict)
        more = f", though what it writes itself is worth {_share(own, *_DELTAS)}: {after} {makes} up for it" if beyond else ""
        return f"{said}, within ±{DELTA:g}: no effect{more}"
    beyond, inside = effect.low > DELTA or effect.high < -DELTA, effect.low > -DELTA and effect.high < DELTA
    if beyond or inside:
        matching = sum(other.label in MATCHING for other in judged.verdicts)
        return (
            f"{said}, which is not sure once {counted(matching, 'matching head')} {is_or_are(matching)} corrected for (q "
            f"{_p(verdict.role_q)}): undecided"
        )
    return f"{said}, neither surely beyond ±{DELTA:g} nor surely within: undecided"


def effect_sentence(effect: Number) -> str:
    """What taking the head away does, with its sign in words."""
    if effect.value < 0:
        return f"Without it the right token gains {_share(effect.turned, *_DELTAS)} of what the repeat is worth to the model"
    return f"Without it the right token loses {_share(effect, *_DELTAS)} of what the repeat is worth to the model"


def route_words(verdict: Verdict) -> str | None:
    """The route as a table has it, in the words of the sentence."""
    if _is_in_part(verdict):
        return f"{_how_far(verdict)} direct"
    if verdict.role_route == "through later layers" and verdict.last_layer:
        return f"through {_FOLLOWING}"
    return verdict.role_route


def _is_in_part(verdict: Verdict) -> bool:
    """Surely above nothing is not the same as all of it."""
    return verdict.role_route == "direct" and _share_written(verdict) < MOSTLY


def _how_far(verdict: Verdict) -> str:
    return "in part" if _share_written(verdict) >= HARDLY else "hardly"


def _share_written(verdict: Verdict) -> float:
    """What the head itself writes, of all that is lost without it."""
    return verdict.direct_effect.value / verdict.total_effect.value


def _what_follows(verdict: Verdict) -> tuple[str, str]:
    """What comes between the head and the logits, and its verb."""
    return (_FOLLOWING, "makes") if verdict.last_layer else ("later layers", "make")


def _route(verdict: Verdict, judged: Judgement) -> str:
    if verdict.role_route is None:
        return f"by which route is not said ({judged.withheld.rstrip('.') or 'what it writes itself is not known'})"
    own = f"what it writes itself is worth {_share(verdict.direct_effect, 0.0)}"
    after, makes = _what_follows(verdict)
    if _is_in_part(verdict):
        return f"{_how_far(verdict)} directly: {own}, the rest goes through {after}"
    if verdict.role_route == "direct":
        more = abs(verdict.direct_effect.value) > max(abs(verdict.total_effect.low), abs(verdict.total_effect.high))
        return f"directly: {own}" + (f", more than is lost: {after} {makes} up for a part" if more else "")
    sure = "not surely above 0" if verdict.label == "induction" else "not surely below 0"
    return f"through {after}: {own}, {sure}"


def _impostor(verdict: Verdict, judged: Judgement) -> str:
    fresh = verdict.induction.value - verdict.contrast.value
    chance, least = verdict.chance["induction"], min(judged.floor, IMPOSTOR_FLOOR)
    where = "lies below" if verdict.contrast.high < least else "is not surely above"
    return (
        f"Scores {_number(verdict.induction)} over {lengths_words(judged.lengths)} (chance {unsigned(chance)}), but "
        f"{unsigned(fresh)} on fresh tokens too: it looks at a position, not at a copy; its contrast "
        f"{_number(verdict.contrast, least)} {where} {least:.2f}"
    )


def _looks_elsewhere(verdict: Verdict, judged: Judgement) -> str:
    where = {
        "previous token": "Looks at the token just before",
        "duplicate token": "Looks at the earlier copy of the current token itself",
        "sink": "Rests on the first token",
    }[verdict.label]
    name = OWN_SCORES[verdict.label]
    return f"{where}: {_number(getattr(verdict, name))}, chance {unsigned(verdict.chance[name])}"


def _nothing(verdict: Verdict, judged: Judgement) -> str:
    above_chance = verdict.induction.value - verdict.chance["induction"]
    if above_chance > IMPOSTOR_FLOOR or verdict.contrast.low > min(judged.floor, IMPOSTOR_FLOOR):
        return f"Does not match: {'; '.join(reasons_not_matching(verdict, judged))}"
    return f"None of the other labels holds: contrast {_number(verdict.contrast)}"


def reasons_not_matching(verdict: Verdict, judged: Judgement) -> list[str]:
    """Which conditions a head does not meet, each with its number."""
    floor = judged.floor
    why = []
    if not verdict.contrast.low > floor:
        why.append(f"its contrast {_number(verdict.contrast, floor)} does not lie wholly above the floor {floor:.2f}")
    if not verdict.rotation_contrast.low > floor:
        turned = _number(verdict.rotation_contrast, floor)
        rotated = f"with the copy rotated its contrast {turned} does not lie wholly above {floor:.2f}"
        gone = verdict.contrast.low > floor > verdict.rotation_contrast.high
        why.append(f"{rotated}{', so it looks a fixed distance back, not at a copy' if gone else ''}")
    if not verdict.specificity.low > ATTENTION_ROUNDING:
        why.append(
            f"what it looks at more than at the tokens beside it, {_number(verdict.specificity, 0.0)}, does not lie wholly "
            "above 0"
        )
    if not verdict.q < SIGNIFICANCE:
        why.append(f"q {_p(verdict.q)} is not below {SIGNIFICANCE}")
    return why


def judged_on(judged: Judgement, subject: Subject) -> str:
    """What verdicts rest on, in words: several lengths, not the sidebar's one."""
    if subject.request.tokens is not None:
        drawn, seed = "the given tokens", ""
    else:
        halves = ", half of the sequences from its lower and half from its upper ids" if judged.stability.token_ranges else ""
        drawn, seed = f"tokens drawn from {drawn_from(subject)}{halves}", f", seed {subject.request.seed}"
    return (
        f"{counted(judged.sequences, 'sequence')} of {lengths_words(judged.lengths)}, repeated once, each "
        "with a control and in other "
        f"orders, {drawn}, {bos_words(subject)}{seed}"
    )


def effects_words(judged: Judgement) -> str:
    """What effects were measured on and in which unit, in one or two sentences."""
    others = "the same sequences" if judged.picked_on_the_same else f"{judged.effect_sequences} other sequences"
    said = f"Effects: {judged.mode} ablation of one head alone, on {others} of {lengths_words(judged.lengths)}"
    if math.isnan(judged.gain.value):
        return f"{said}; there is no gain to measure them in."
    return (
        f"{said}, as shares of what the repeat is worth to the model: its gain, {_number(judged.gain)} on the right token's "
        "logit over the mean logit, against fresh tokens."
    )


def why_no_gain(judged: Judgement) -> str:
    """Why effects are shares of nothing, where they are."""
    return "the behaviour is absent" if judged.behaviour == "absent" else "the model gains nothing sure from the repeat"


def stability_words(judged: Judgement) -> str:
    """How much the set of matching heads hangs on the sequences; empty where none matches."""
    found = judged.stability
    if not judged.called:
        return ""
    what = (
        "How steady the set of matching heads is (those that match on both over those that match on either; 1 is the same set)"
    )
    said = f"{what}: {_number(found.resampled)} over resampled sequences"
    lengths = ", ".join(f"{overlap:.2f} at {length}" for length, overlap in found.lengths.items())
    if len(found.lengths) > 1:
        said += f"; one length alone: {lengths}"
    if found.token_ranges:
        halves = ", ".join(f"{overlap:.2f} on the {name} half" for name, overlap in found.token_ranges.items())
        said += f"; of the ids: {halves}"
    return f"{said}."


def lengths_words(lengths: Sequence[int]) -> str:
    """`lengths 25, 50 and 100`, or `length 25`."""
    *most, last = map(str, lengths)
    return f"lengths {', '.join(most)} and {last}" if most else f"length {last}"


def label_counts(judged: Judgement) -> str:
    """`4 induction, 1 previous token, 3 none`: how many heads have which label."""
    labels = [verdict.label for verdict in judged.verdicts]
    return ", ".join(f"{labels.count(label)} {label}" for label in ORDER if label in labels)


def _number(found: Number, *levels: float) -> str:
    """`0.91 (0.90 to 0.92)`."""
    return with_interval(*found, *levels)


def _share(found: Number, *levels: float) -> str:
    return with_interval(*found, *levels, digits=_SHARE_DIGITS)


def _p(value: float) -> str:
    """`0.012`, or `below 0.001`."""
    return f"{value:.3f}" if value >= 0.0005 else "below 0.001"
