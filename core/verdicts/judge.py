"""Calling a head: the test, the interval, and the label (science: "calling a head an induction head").

A head is called when its contrast is above zero by a sign-flip permutation test over sequences, corrected over all heads
(Benjamini and Hochberg), *and* its bootstrap interval lies wholly above an effect floor. A significant but tiny contrast is
no induction head, and neither is a large one that a few sequences made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import bootstrap, false_discovery_control, permutation_test

from core.attention.scores import head_name
from core.numbers import interval, unsigned
from core.settings.experiment import EFFECT_FLOOR

Label = Literal[
    "induction",
    "anti-induction",
    "matching, non-copying",
    "positional impostor",
    "previous token",
    "duplicate token",
    "sink",
    "none",
]
# The score that a label is about, where it is not induction.
OWN_SCORES: dict[Label, str] = {"previous token": "previous_token", "duplicate token": "duplicate_token", "sink": "sink"}
# The labels of heads that are called: they match, whatever they do with it.
MATCHING: tuple[Label, ...] = ("induction", "anti-induction", "matching, non-copying")
DEFAULT_LENGTHS = (25, 50, 100)
SEQUENCES_PER_LENGTH = 24
SIGNIFICANCE = 0.05
# Above these a head copies, or helps, for certain; below their negatives it suppresses.
COPYING_FLOOR = 0.1
ATTRIBUTION_FLOOR = 0.02
OTHER_LABEL_FLOOR = 0.4
SINK_FLOOR = 0.6
# Permutation p-values cannot be smaller than 1 / (resamples + 1), and Benjamini-Hochberg multiplies by up to the number of
# heads: this many resamples for each head let a single true head pass among any number.
RESAMPLES_PER_HEAD = 40
MIN_RESAMPLES = 9_999
BOOTSTRAP_RESAMPLES = 2_000


@dataclass(frozen=True)
class Evidence:
    """What is known of every head, `[n_layers, n_heads]` each but `contrast`, which is by sequence."""

    contrast: Float[np.ndarray, "n_layers n_heads sequences"]
    induction: Float[np.ndarray, "n_layers n_heads"]
    previous_token: Float[np.ndarray, "n_layers n_heads"]
    duplicate_token: Float[np.ndarray, "n_layers n_heads"]
    sink: Float[np.ndarray, "n_layers n_heads"]
    copying: Float[np.ndarray, "n_layers n_heads"]
    logit_copying: Float[np.ndarray, "n_layers n_heads"]
    attribution: Float[np.ndarray, "n_layers n_heads"]

    def __post_init__(self) -> None:
        shape = self.contrast.shape[:2]
        for name in ("induction", "previous_token", "duplicate_token", "sink", "copying", "logit_copying", "attribution"):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}, not {shape}")


@dataclass(frozen=True)
class Verdict:
    """One head's label and the numbers that gave it. `low`, `high`: 95 % interval of the mean contrast."""

    layer: int
    head: int
    label: Label
    induction: float
    contrast: float
    q: float
    low: float
    high: float
    copying: float
    logit_copying: float
    attribution: float
    previous_token: float
    duplicate_token: float
    sink: float

    @property
    def name(self) -> str:
        """`L5H7`."""
        return head_name(self.layer, self.head)

    def sentence(self, effect: float | None = None, control: float | None = None) -> str:
        """The verdict in one sentence that a student can read; `effect` and `control` are single-ablation costs in nats."""
        control_score = self.induction - self.contrast
        looked = f"Looks at the token after the earlier copy ({self.induction:.2f}, control {control_score:.2f})"
        logit = f"{self.attribution:+.2f} to the right token's logit"
        said = {
            "induction": f"{looked}, copies what it sees ({self.copying:+.1f}), and adds {logit}",
            "anti-induction": f"{looked}, but {self._against()}",
            "matching, non-copying": f"{looked}, but {self._not_copying()}",
            "positional impostor": (
                f"Scores {self.induction:.2f}, but {control_score:.2f} on fresh tokens too: "
                "it looks at a position, not at a copy"
            ),
            "previous token": f"Looks at the token just before ({self.previous_token:.2f})",
            "duplicate token": f"Looks at the earlier copy of the current token itself ({self.duplicate_token:.2f})",
            "sink": f"Rests on the first token ({self.sink:.2f})",
            "none": f"Does none of these: contrast {unsigned(self.contrast)}, interval {interval(self.low, self.high)}",
        }[self.label]
        cost = ""
        if effect is not None:
            beside = "" if control is None else f" (random heads: {_nats(control)})"
            cost = f"; removing it costs {_nats(effect)} nats{beside}"
        return f"{self.name}: {self.label}. {said}{cost}."

    def _against(self) -> str:
        if self.attribution < -ATTRIBUTION_FLOOR:
            weights = "although its weights copy what it sees" if self.copying > COPYING_FLOOR else "copying"
            return f"lowers the right token's logit ({self.attribution:+.2f}; {weights} {self.copying:+.1f})"
        return f"its weights suppress what it sees (copying {self.copying:+.1f}; right token's logit {self.attribution:+.2f})"

    def _not_copying(self) -> str:
        if self.attribution > ATTRIBUTION_FLOOR:
            logit = f"{self.attribution:+.2f} to the right token's logit"
            return f"its weights do not copy what it sees ({self.copying:+.1f}); still it adds {logit}"
        return (
            f"writes next to nothing of it into the prediction itself (right token's logit {self.attribution:+.2f}, "
            f"copying {self.copying:+.1f})"
        )


def contrast_q_values(
    contrast: Float[np.ndarray, "n_layers n_heads sequences"], seed: int = 0
) -> Float[np.ndarray, "n_layers n_heads"]:
    """One-sided sign-flip permutation p-values of each head's mean contrast, as Benjamini-Hochberg q-values over all heads.

    Under the null a head treats the repeat and its control alike, so each sequence's difference is as likely negative.
    """
    heads = contrast.reshape(-1, contrast.shape[-1])
    resamples = max(MIN_RESAMPLES, RESAMPLES_PER_HEAD * len(heads))
    p_values = np.ones(len(heads))
    # Most heads are plainly not above zero; testing only the others changes no correction, their p-values stay 1.
    for index in np.flatnonzero(heads.mean(1) > 0):
        p_values[index] = permutation_test(
            (heads[index],),
            _mean,
            permutation_type="samples",
            n_resamples=resamples,
            alternative="greater",
            vectorized=True,
            batch=4096,
            rng=np.random.default_rng([seed, int(index)]),
        ).pvalue
    return false_discovery_control(p_values, method="bh").reshape(contrast.shape[:2])


def contrast_intervals(
    contrast: Float[np.ndarray, "n_layers n_heads sequences"], seed: int = 0
) -> tuple[Float[np.ndarray, "n_layers n_heads"], Float[np.ndarray, "n_layers n_heads"]]:
    """Bootstrap 95 % interval over sequences of each head's mean contrast."""
    found = bootstrap(
        (contrast,),
        np.mean,
        axis=-1,
        vectorized=True,
        n_resamples=BOOTSTRAP_RESAMPLES,
        batch=100,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return found.low, found.high


def called_heads(
    q: Float[np.ndarray, "n_layers n_heads"], low: Float[np.ndarray, "n_layers n_heads"], floor: float = EFFECT_FLOOR
) -> Bool[np.ndarray, "n_layers n_heads"]:
    """`q < .05` and the interval's lower end above the effect floor."""
    return (q < SIGNIFICANCE) & (low > floor)


def judge(evidence: Evidence, *, floor: float = EFFECT_FLOOR, seed: int = 0) -> tuple[Verdict, ...]:
    """A verdict on every head, in layer order."""
    q = contrast_q_values(evidence.contrast, seed)
    low, high = contrast_intervals(evidence.contrast, seed)
    return relabel(evidence, q, low, high, floor)


def relabel(
    evidence: Evidence,
    q: Float[np.ndarray, "n_layers n_heads"],
    low: Float[np.ndarray, "n_layers n_heads"],
    high: Float[np.ndarray, "n_layers n_heads"],
    floor: float,
) -> tuple[Verdict, ...]:
    """Verdicts for another effect floor, from q-values and intervals at hand: costs nothing."""
    called = called_heads(q, low, floor)
    mean = evidence.contrast.mean(-1)
    return tuple(
        Verdict(
            layer=layer,
            head=head,
            label=_label(evidence, layer, head, bool(called[layer, head]), floor),
            induction=float(evidence.induction[layer, head]),
            contrast=float(mean[layer, head]),
            q=float(q[layer, head]),
            low=float(low[layer, head]),
            high=float(high[layer, head]),
            copying=float(evidence.copying[layer, head]),
            logit_copying=float(evidence.logit_copying[layer, head]),
            attribution=float(evidence.attribution[layer, head]),
            previous_token=float(evidence.previous_token[layer, head]),
            duplicate_token=float(evidence.duplicate_token[layer, head]),
            sink=float(evidence.sink[layer, head]),
        )
        for layer in range(mean.shape[0])
        for head in range(mean.shape[1])
    )


def _label(evidence: Evidence, layer: int, head: int, called: bool, floor: float) -> Label:
    place = (layer, head)
    if called:
        copying, attribution = evidence.copying[place], evidence.attribution[place]
        if attribution < -ATTRIBUTION_FLOOR:
            return "anti-induction"
        if attribution > ATTRIBUTION_FLOOR:
            # Copying is read off the weights, past every MLP between; where it contradicts what the head was seen to add to
            # the right token, it is not copying that helps, but it is no suppression either.
            return "induction" if copying > COPYING_FLOOR else "matching, non-copying"
        return "anti-induction" if copying < -COPYING_FLOOR else "matching, non-copying"
    contrast = float(evidence.contrast[place].mean())
    # Most of its score is there on fresh tokens as well.
    if evidence.induction[place] > floor and contrast < evidence.induction[place] / 2:
        return "positional impostor"
    others: tuple[tuple[Label, float, float], ...] = (
        ("previous token", evidence.previous_token[place], OTHER_LABEL_FLOOR),
        ("duplicate token", evidence.duplicate_token[place], OTHER_LABEL_FLOOR),
        ("sink", evidence.sink[place], SINK_FLOOR),
    )
    label, score, needed = max(others, key=lambda row: row[1] - row[2])
    return label if score > needed else "none"


def _nats(value: float) -> str:
    """Two digits, and no -0.00."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _mean(sample: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(sample, axis=axis)
