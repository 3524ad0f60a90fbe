"""Verdicts in sentences that a student can read, the order in which they are told, and what they rest on."""

from __future__ import annotations

from typing import get_args

from core.ablation.outcomes import CausalMap
from core.numbers import interval, unsigned
from core.settings.provenance import bos_words, drawn_from
from core.settings.subject import Subject
from core.verdicts.costs import cost_of
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement
from core.verdicts.labels import ATTRIBUTION_FLOOR, COPYING_FLOOR, MATCHING, OWN_SCORES, Label

_MOST_SENTENCES = 12
# Called heads first, then whatever else a person should know of.
ORDER: tuple[Label, ...] = get_args(Label)


def ordered(judged: Judgement) -> tuple[Verdict, ...]:
    """Every verdict: by label, then by contrast (previous-token heads and the like by their own score)."""

    def strength(verdict: Verdict) -> float:
        return float(getattr(verdict, OWN_SCORES.get(verdict.label, "contrast")))

    return tuple(sorted(judged.verdicts, key=lambda verdict: (ORDER.index(verdict.label), -strength(verdict))))


def worth_a_sentence(judged: Judgement) -> tuple[Verdict, ...]:
    """The verdicts that are told in sentences: all called heads, and the first others that have a label."""
    labelled = [verdict for verdict in ordered(judged) if verdict.label != "none"]
    called = sum(verdict.label in MATCHING for verdict in labelled)
    return tuple(labelled[: max(called, _MOST_SENTENCES)])


def sentence(verdict: Verdict, judged: Judgement, effects: CausalMap | None) -> str:
    """The verdict in a sentence, with what removing the head costs where its layer was measured.

    Beside it the median cost of the layer's heads that are not called, where there are any.
    """
    cost = cost_of(verdict, judged, effects)
    return verdict_sentence(verdict, cost.effect, cost.random_heads)


def verdict_sentence(verdict: Verdict, effect: float | None = None, control: float | None = None) -> str:
    """The verdict in one sentence that a student can read; `effect` and `control` are single-ablation costs in nats."""
    control_score = verdict.induction - verdict.contrast
    looked = f"Looks at the token after the earlier copy ({verdict.induction:.2f}, control {control_score:.2f})"
    logit = f"{verdict.attribution:+.2f} to the right token's logit"
    said = {
        "induction": f"{looked}, copies what it sees ({verdict.copying:+.1f}), and adds {logit}",
        "anti-induction": f"{looked}, but {_against(verdict)}",
        "matching, non-copying": f"{looked}, but {_not_copying(verdict)}",
        "positional impostor": (
            f"Scores {verdict.induction:.2f}, but {control_score:.2f} on fresh tokens too: "
            "it looks at a position, not at a copy"
        ),
        "previous token": f"Looks at the token just before ({verdict.previous_token:.2f})",
        "duplicate token": f"Looks at the earlier copy of the current token itself ({verdict.duplicate_token:.2f})",
        "sink": f"Rests on the first token ({verdict.sink:.2f})",
        "none": f"Does none of these: contrast {unsigned(verdict.contrast)}, interval {interval(verdict.low, verdict.high)}",
    }[verdict.label]
    cost = ""
    if effect is not None:
        beside = "" if control is None else f" (random heads: {_nats(control)})"
        cost = f"; removing it costs {_nats(effect)} nats{beside}"
    return f"{verdict.name}: {verdict.label}. {said}{cost}."


def _against(verdict: Verdict) -> str:
    if verdict.attribution < -ATTRIBUTION_FLOOR:
        weights = "although its weights copy what it sees" if verdict.copying > COPYING_FLOOR else "copying"
        return f"lowers the right token's logit ({verdict.attribution:+.2f}; {weights} {verdict.copying:+.1f})"
    return f"its weights suppress what it sees (copying {verdict.copying:+.1f}; right token's logit {verdict.attribution:+.2f})"


def _not_copying(verdict: Verdict) -> str:
    if verdict.attribution > ATTRIBUTION_FLOOR:
        logit = f"{verdict.attribution:+.2f} to the right token's logit"
        return f"its weights do not copy what it sees ({verdict.copying:+.1f}); still it adds {logit}"
    return (
        f"writes next to nothing of it into the prediction itself (right token's logit {verdict.attribution:+.2f}, "
        f"copying {verdict.copying:+.1f})"
    )


def judged_on(judged: Judgement, subject: Subject) -> str:
    """What verdicts rest on, in words: several lengths, not the sidebar's one."""
    return (
        f"{judged.sequences} sequences of {lengths_words(judged.lengths)}, repeated once, each with a control, tokens drawn "
        f"from {drawn_from(subject)}, {bos_words(subject)}, seed {subject.probe.options.seed}"
    )


def lengths_words(lengths: tuple[int, ...]) -> str:
    """`lengths 25, 50 and 100`, or `length 25`."""
    *most, last = map(str, lengths)
    return f"lengths {', '.join(most)} and {last}" if most else f"length {last}"


def label_counts(judged: Judgement) -> str:
    """`4 induction, 1 previous token, 3 none`: how many heads have which label."""
    labels = [verdict.label for verdict in judged.verdicts]
    return ", ".join(f"{labels.count(label)} {label}" for label in ORDER if label in labels)


def _nats(value: float) -> str:
    """Two digits, and no -0.00."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
