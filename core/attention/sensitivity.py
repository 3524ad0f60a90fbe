"""How a head's score moves with sequence length, with the seed and with the BOS, so that a threshold is chosen knowing it.

One thing is varied at a time, from the person's own settings. Every setting is an ordinary scoring pass, kept like every
other; the interval is a bootstrap over its sequences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.stats import bootstrap

from core.attention.cached import ScoreRequest, head_scores, stored_head_scores
from core.attention.scores import HeadScores, head_name, heads_above
from core.errors import BadInput
from core.heads import Head
from core.models.load import model_identity
from core.probes.repeated import BosPolicy, candidate_ids, longest_length, use_bos
from core.runtime.jobs import current_control
from core.transformer.card import ModelIdentity

Factor = Literal["length", "seed", "bos"]
FACTORS: tuple[Factor, ...] = ("length", "seed", "bos")
LENGTHS = (10, 25, 50, 100, 200)
SEEDS = 6
# An interval over the usual 4 sequences would say little.
MIN_SEQUENCES = 16
RESAMPLES = 2_000
# Heads that never get above this are not worth a panel.
SHOWN_FLOOR = 0.1
_BOS_LABELS = {True: "with", False: "without"}


@dataclass(frozen=True)
class Setting:
    """One setting: which factor it varies, and how it is written on an axis."""

    factor: Factor
    label: str
    request: ScoreRequest


@dataclass(frozen=True)
class Spread:
    """One head's score at one setting: its mean over sequences and the 95 % bootstrap interval of that mean."""

    setting: Setting
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Sensitivity:
    """Scores at every setting, in order; `base` are those at the person's own settings."""

    score: str
    base: HeadScores
    settings: tuple[Setting, ...]
    scores: tuple[HeadScores, ...]

    def of(self, head: Head, factor: Factor) -> tuple[Spread, ...]:
        """How one head's score moves with one factor."""
        return tuple(
            _spread(setting, scores.sequences(self.score)[head])
            for setting, scores in zip(self.settings, self.scores, strict=True)
            if setting.factor == factor
        )

    def means(self) -> Float[np.ndarray, "settings n_layers n_heads"]:
        """Every head's score at every setting."""
        return np.stack([scores.mean(self.score) for scores in self.scores])

    def steady(self, threshold: float) -> tuple[tuple[Head, ...], tuple[Head, ...]]:
        """Heads above `threshold` at every setting, and those above it at some settings only; highest first."""
        above = self.means() > threshold
        ordered = heads_above(self.means().mean(0), -2.0)
        always = tuple(head for head in ordered if above[:, head[0], head[1]].all())
        sometimes = tuple(head for head in ordered if above[:, head[0], head[1]].any() and head not in always)
        return always, sometimes

    def top(self, count: int, picked: Head | None = None) -> tuple[Head, ...]:
        """At most `count` heads, the highest first: those above .1 at any setting, two at least, the picked one among them."""
        highest = heads_above(self.means().max(0), SHOWN_FLOOR)
        best = (highest if len(highest) > 1 else heads_above(self.means().max(0), -2.0)[:2])[:count]
        return best if picked is None or picked in best else (picked, *best[: count - 1])


def sensitivity_settings(request: ScoreRequest, identity: ModelIdentity) -> tuple[Setting, ...]:
    """One factor at a time from `request`: lengths that fit, seeds from its own on, with and without a BOS.

    Raises BadInput for given tokens, which have one length, no seed, and their own BOS.
    """
    if request.tokens is not None:
        raise BadInput("Sensitivity needs drawn tokens: given ones have one length and no seed.")
    vocabulary = identity.vocabulary
    options = replace(request.options, sequences=max(MIN_SEQUENCES, request.options.sequences))
    has_bos = use_bos(vocabulary, options.bos)
    room = min(longest_length(vocabulary, options.bos), len(candidate_ids(vocabulary, options.token_range)))
    lengths = sorted({*(n for n in LENGTHS if n <= room), options.length})
    other: BosPolicy = "never" if has_bos else "always"
    changes: list[tuple[Factor, str, dict]] = [("length", str(n), {"length": n}) for n in lengths]
    changes += [("seed", str(options.seed + i), {"seed": options.seed + i}) for i in range(SEEDS)]
    changes.append(("bos", _BOS_LABELS[has_bos], {}))
    fits = options.length <= longest_length(vocabulary, "never" if has_bos or vocabulary.bos_token_id is None else "always")
    if fits and (has_bos or vocabulary.bos_token_id is not None):
        changes.append(("bos", _BOS_LABELS[not has_bos], {"bos": other}))
    return tuple(Setting(factor, label, replace(request, options=replace(options, **new))) for factor, label, new in changes)


def measure_sensitivity(request: ScoreRequest, score: str) -> Sensitivity:
    """The score at every setting; those that are kept cost nothing.

    In a job its progress is shown; a cancelled one goes on where it stopped, because each setting is kept by itself.
    """
    settings = sensitivity_settings(request, model_identity(request.model))
    control = current_control()
    found = []
    for done, setting in enumerate(settings):
        control.checkpoint()
        control.progress(done / len(settings), f"{setting.factor} {setting.label}: {done + 1} of {len(settings)}")
        found.append(head_scores(setting.request))
    return _assembled(score, head_scores(request), settings, found)


def stored_sensitivity(request: ScoreRequest, score: str) -> Sensitivity | None:
    """The same from what is at hand, None if a setting is missing. Measures nothing."""
    settings = sensitivity_settings(request, model_identity(request.model))
    base = stored_head_scores(request)
    found = [stored_head_scores(setting.request) for setting in settings]
    there = [scores for scores in found if scores is not None]
    return None if base is None or len(there) < len(found) else _assembled(score, base, settings, there)


def movement(spreads: Sequence[Spread]) -> float:
    """How far apart a head's lowest and highest mean are over some settings."""
    means = [spread.mean for spread in spreads]
    return max(means) - min(means)


def _assembled(score: str, base: HeadScores, settings: tuple[Setting, ...], found: Sequence[HeadScores]) -> Sensitivity:
    if any(score not in scores.names for scores in found):
        raise BadInput(f"{score} was not measured at every setting: choose another score or shorter sequences.")
    return Sensitivity(score, base, settings, tuple(found))


def mean_interval(values: Float[np.ndarray, " sequences"]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the mean over sequences; the mean itself twice where there is nothing to resample."""
    # Equal values have no spread, and the bootstrap refuses them.
    if len(values) < 2 or np.ptp(values) == 0:
        return float(values.mean()), float(values.mean())
    interval = bootstrap(
        (values.astype(np.float64),),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _spread(setting: Setting, values: Float[np.ndarray, " sequences"]) -> Spread:
    low, high = mean_interval(values)
    return Spread(setting, float(values.mean()), low, high)


def spread_rows(found: Sensitivity, heads: Sequence[Head], threshold: float) -> list[dict]:
    """One row a head and setting: the mean, its interval, and the side of the threshold."""
    return [
        {
            "name": head_name(*head),
            "varied": spread.setting.factor,
            "setting": spread.setting.label,
            found.score: spread.mean,
            "low": spread.low,
            "high": spread.high,
            "above_threshold": spread.mean > threshold,
        }
        for head in heads
        for factor in FACTORS
        for spread in found.of(head, factor)
    ]


def sensitivity_sentences(found: Sensitivity, heads: Sequence[Head], threshold: float) -> list[str]:
    """What it means for a threshold, in sentences that a person can repeat."""
    always, sometimes = found.steady(threshold)
    named = ", ".join(head_name(*head) for head in sometimes[:8]) + (" and more" if len(sometimes) > 8 else "")
    said = f"At {threshold:.2f}, {len(always)} of {found.base.n_layers * found.base.n_heads} heads are above at every setting"
    said += f"; {len(sometimes)} at some settings only: {named}." if sometimes else ", and no other head at any."
    sentences = [said]
    lengths = {head: found.of(head, "length") for head in heads}
    head = max(heads, key=lambda place: movement(lengths[place]))
    points = lengths[head]
    if len(points) > 1:
        low, high = min(points, key=lambda spread: spread.mean), max(points, key=lambda spread: spread.mean)
        sentences.append(
            f"With length {head_name(*head)} moves most: {high.mean:.2f} at length {high.setting.label}, "
            f"{low.mean:.2f} at length {low.setting.label}."
        )
    seeds = max(movement(found.of(place, "seed")) for place in heads)
    sentences.append(f"Another seed moves none of these heads by more than {seeds:.2f}.")
    bos = [(place, found.of(place, "bos")) for place in heads]
    if all(len(points) == 2 for _, points in bos):
        place, points = max(bos, key=lambda pair: movement(pair[1]))
        sentences.append(
            f"{head_name(*place)} moves most with the BOS: {points[0].mean:.2f} {points[0].setting.label} it, "
            f"{points[1].mean:.2f} {points[1].setting.label} it."
        )
    else:
        sentences.append("This model has no BOS token, or no room for one, so nothing is said about it.")
    return sentences
