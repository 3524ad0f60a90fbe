"""What the streaming pass over a text leaves: every head's measures by window, losses by token, and a few edges a head.

Shares of attention, each a mean over its queries and then over windows; intervals are Student's t over windows. A window that
has none of a measure's cells is left out of that measure.

**Lift** is the score less the larger of its two controls, over the pairs that have both. Its interval is the smaller of the two
lower ends and the smaller of the two upper ends: it lies above a level only where both differences do, and needs no correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from core.stats import DIFFERENCE_OF_SHARES, SHARE, SIZE, Range, student_intervals
from core.text.cells import CELL_MEASURES, PREFIXES

# Written by the pass beside the sums over cells.
ROW_MEASURES = ("sink", "entropy", "distance", "value_weighted", "headvis")
MEASURES = (*CELL_MEASURES, *ROW_MEASURES)
# What a reader is shown, in this order; `lift` is a difference, and `distance` is in tokens.
SHOWN = (
    "natural_induction",
    "distance_control",
    "key_control",
    "lift",
    "headvis",
    "value_weighted",
    "previous_token",
    "duplicate_token",
    "sink",
    "entropy",
    "distance",
)
LAGS = tuple(range(-10, 11))
# No share bounds a distance in tokens, nor the controls, whose pairs have a query each: their sum may be above 1.
_UNBOUNDED = ("distance", "distance_control", "key_control")
_OF_LIFT: Range = (-np.inf, 1.0)
# With fewer windows a number is shown without saying what follows from it.
FEWEST_WINDOWS = 32
# A head matches on text where its lift's interval lies above this: below it no removal costs anything that can be
# told from nothing (SmolLM2's L18H7 has .05 and costs .00 nats).
LIFT_FLOOR = 0.05

Matrix = Float[np.ndarray, "n_layers n_heads"]


@dataclass(frozen=True)
class Measured:
    """A quantity of every head with the 95 % interval of its mean over windows; NaN where a head does not exist."""

    value: Matrix
    low: Matrix
    high: Matrix
    windows: int


@dataclass(frozen=True)
class Edges:
    """The edges that were kept of each head: attention from `query` to `key` in `window`, strongest first; strength 0: none.

    An edge is each query's strongest key, the first token left out. kind: 0 = the key follows an occurrence of the query's
    token, 1 = any other.
    """

    strength: Float[np.ndarray, "n_layers n_heads kinds kept"]
    window: Int[np.ndarray, "n_layers n_heads kinds kept"]
    query: Int[np.ndarray, "n_layers n_heads kinds kept"]
    key: Int[np.ndarray, "n_layers n_heads kinds kept"]


@dataclass(frozen=True)
class NaturalScores:
    """Measures on one text.

    per_window: by name of `MEASURES`, `[n_layers, n_heads, windows]`. token_loss: nats by target, NaN at position 0.
    repeat: which targets end a bigram that was seen earlier in the window. lags: probability of the token at each of `LAGS`
    from the latest earlier copy. chance: by name of `CELL_MEASURES`, `[n_layers]`. edges: the strongest; tenths: a sample of
    each tenth of strength (as kinds), and how many edges there are in each. engine: as for scores on random tokens.
    """

    per_window: dict[str, Float[np.ndarray, "n_layers n_heads windows"]]
    token_loss: Float[np.ndarray, "windows tokens"]
    repeat: Bool[np.ndarray, "windows tokens"]
    lags: Float[np.ndarray, "windows lags"]
    chance: dict[str, Float[np.ndarray, " n_layers"]]
    paired: float
    edges: Edges
    tenths: Edges
    tenth_counts: Int[np.ndarray, "n_layers n_heads tenths"]
    engine: str

    @property
    def n_windows(self) -> int:
        """How many windows were read."""
        return len(self.token_loss)

    def mean(self, name: str) -> Matrix:
        """A measure of every head."""
        return self.measured(name).value

    @cached_property
    def lift(self) -> Measured:
        """The score less the larger control; see above."""
        paired = self.per_window["paired"]
        return _smallest([_measured(paired - self.per_window[name], _OF_LIFT) for name in ("distance_control", "key_control")])

    def measured(self, name: str) -> Measured:
        """A measure by a name of `SHOWN` or `MEASURES`, with its interval."""
        return self.lift if name == "lift" else _measured(self.per_window[name], SIZE if name in _UNBOUNDED else SHARE)

    def prefix(self, n: int) -> Measured:
        """What matching the last `n` tokens adds to matching `n - 1` alone; for one token, the lift.

        Raises ValueError for an `n` that is not measured.
        """
        if n not in PREFIXES:
            raise ValueError(f"matches of {n} tokens are not measured")
        if n == 1:
            return self.lift
        return _measured(self.per_window[f"match_{n}"] - self.per_window[f"shorter_{n}"], DIFFERENCE_OF_SHARES)

    def of(self, windows: Int[np.ndarray, " some"]) -> NaturalScores:
        """The same of some of the windows; the edges stay those of all."""
        per_window = {name: values[:, :, windows] for name, values in self.per_window.items()}
        return NaturalScores(
            per_window,
            self.token_loss[windows],
            self.repeat[windows],
            self.lags[windows],
            self.chance,
            self.paired,
            self.edges,
            self.tenths,
            self.tenth_counts,
            self.engine,
        )

    @property
    def chosen_half(self) -> NaturalScores:
        """The windows that heads are chosen on."""
        return self.of(chosen_windows(self.n_windows))

    @property
    def judged_half(self) -> NaturalScores:
        """The windows that chosen heads are judged on."""
        return self.of(judged_windows(self.n_windows))


def chosen_windows(count: int) -> Int[np.ndarray, " some"]:
    """Every other window, the first among them: they are in a random order already."""
    return np.arange(0, count, 2)


def judged_windows(count: int) -> Int[np.ndarray, " some"]:
    """The rest."""
    return np.arange(1, count, 2)


def in_context_score(token_loss: Float[np.ndarray, "*sets windows tokens"], b: int) -> Float[np.ndarray, "*sets windows"]:
    """The mean loss over the last quarter of a window's targets less that over the first (Olsson et al. 2022), in nats.

    Below zero where a model gains from what came before.
    """
    targets = np.arange(1 + b, token_loss.shape[-1])
    quarter = max(1, len(targets) // 4)
    late, early = token_loss[..., targets[-quarter:]], token_loss[..., targets[:quarter]]
    found: Float[np.ndarray, "*sets windows"] = late.mean(-1, dtype=np.float64) - early.mean(-1, dtype=np.float64)
    return found


def _measured(values: Float[np.ndarray, "n_layers n_heads windows"], possible: Range) -> Measured:
    """The mean over the windows that have the measure."""
    exists = ~np.isnan(values).all(-1)
    shown = ~np.isnan(values[exists]).any(0) if exists.any() else np.zeros(values.shape[-1], bool)
    kept = values[:, :, shown].astype(np.float64)
    if not kept.shape[-1]:
        nothing = np.full(values.shape[:2], np.nan)
        return Measured(nothing, nothing, nothing, 0)
    low, high = student_intervals(kept, possible)
    return Measured(kept.mean(-1), low, high, kept.shape[-1])


def _smallest(parts: list[Measured]) -> Measured:
    return Measured(
        np.min([part.value for part in parts], 0),
        np.min([part.low for part in parts], 0),
        np.min([part.high for part in parts], 0),
        min(part.windows for part in parts),
    )
