"""Verdicts as rows, as a file, as a command, and the order in which they are shown."""

from __future__ import annotations

import json
import shlex
from typing import get_args

from core.ablation.cached import CausalMap
from core.attention.tables import Row
from core.settings.view import View
from core.transformer.card import ModelIdentity
from core.verdicts.cached import Calls
from core.verdicts.costs import cost_of
from core.verdicts.judge import MATCHING, OWN_SCORES, Label, Verdict

_MOST_SENTENCES = 12
# Called heads first, then whatever else a person should know of.
ORDER: tuple[Label, ...] = get_args(Label)


def ordered(calls: Calls) -> tuple[Verdict, ...]:
    """Every verdict: by label, then by contrast (previous-token heads and the like by their own score)."""

    def strength(verdict: Verdict) -> float:
        return float(getattr(verdict, OWN_SCORES.get(verdict.label, "contrast")))

    return tuple(sorted(calls.verdicts, key=lambda verdict: (ORDER.index(verdict.label), -strength(verdict))))


def told(calls: Calls) -> tuple[Verdict, ...]:
    """The verdicts that are told in sentences: all called heads, and the first others that have a label."""
    labelled = [verdict for verdict in ordered(calls) if verdict.label != "none"]
    called = sum(verdict.label in MATCHING for verdict in labelled)
    return tuple(labelled[: max(called, _MOST_SENTENCES)])


def sentence(verdict: Verdict, calls: Calls, effects: CausalMap | None) -> str:
    """The verdict in a sentence, with what removing the head costs where its layer was measured.

    Beside it the median cost of the layer's heads that are not called, where there are any.
    """
    cost = cost_of(verdict, calls, effects)
    return verdict.sentence(cost.effect, cost.random_heads)


def verdict_rows(calls: Calls, effects: CausalMap | None = None) -> list[Row]:
    """One row a head, called heads first; `cost` (nats) is None where it was not measured."""
    costs = {verdict: cost_of(verdict, calls, effects) for verdict in calls.verdicts}
    return [
        {
            "head": verdict.name,
            "label": verdict.label,
            "contrast": verdict.contrast,
            "low": verdict.low,
            "high": verdict.high,
            "q": verdict.q,
            "copying": verdict.copying,
            "attribution": verdict.attribution,
            "induction": verdict.induction,
            "previous_token": verdict.previous_token,
            "duplicate_token": verdict.duplicate_token,
            "sink": verdict.sink,
            "cost": costs[verdict].effect,
            "random_heads": costs[verdict].random_heads,
            "sentence": sentence(verdict, calls, effects),
        }
        for verdict in ordered(calls)
    ]


def verdicts_json(calls: Calls, effects: CausalMap | None, view: View, identity: ModelIdentity) -> str:
    """Every verdict with what it rests on, as one JSON object."""
    return json.dumps(
        {
            "model": {"name": identity.card.name, "weights_digest": identity.weights_digest},
            "measured_on": judged_on(calls, view, identity),
            "behaviour": calls.behaviour,
            "effect_floor": calls.floor,
            "cost_mode": None if effects is None else effects.mode,
            "heads": verdict_rows(calls, effects),
        },
        indent=1,
    )


def judged_on(calls: Calls, view: View, identity: ModelIdentity) -> str:
    """What verdicts rest on, in words: several lengths, not the sidebar's one."""
    probe = view.request.probe(identity)
    low, high = probe.token_range
    drawn = "the whole vocabulary" if (low, high) == (0, identity.card.d_vocab) else f"ids {low:,} to {high - 1:,}"
    *most, last = map(str, calls.lengths)
    lengths = f"lengths {', '.join(most)} and {last}" if most else f"length {last}"
    bos = "BOS in front" if probe.has_bos else "no BOS"
    return (
        f"{calls.sequences} sequences of {lengths}, repeated once, each with a control, tokens drawn from {drawn}, {bos}, "
        f"seed {probe.options.seed}"
    )


def call_command(view: View) -> str:
    """The command that prints the same verdicts."""
    options = view.options
    words = ["python", "-m", "core", "call", "--model", view.request.model, "--seed", str(options.seed), "--bos", options.bos]
    if options.token_range is not None:
        words += ["--token-range", f"{options.token_range[0]}:{options.token_range[1]}"]
    words += ["--floor", f"{view.experiment.effect_floor:.2f}", "--costs", "--mode", view.experiment.mode]
    words += ["--cost-length", str(options.length), "--cost-sequences", str(options.sequences)]
    return shlex.join([*words, "--json"])


def placebo_rows(name: str, offsets: list[int], values: list[float], length: int) -> list[Row]:
    """One row an offset; the induction offset is `length - 1`."""
    return [
        {"head": name, "tokens_back": offset, "attention": value, "induction_offset": offset == length - 1}
        for offset, value in zip(offsets, values, strict=True)
    ]


def label_counts(calls: Calls) -> str:
    """`4 induction, 1 previous token, 3 none`: how many heads have which label."""
    labels = [verdict.label for verdict in calls.verdicts]
    return ", ".join(f"{labels.count(label)} {label}" for label in ORDER if label in labels)
