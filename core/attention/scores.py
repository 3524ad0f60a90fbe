"""Every attention score: what it is called, which cells of the pattern it averages, and what it came to.

A score is one function and one row in `SCORES`; a new one then appears in the sidebar, the command line, the store
and the docs. Most scores are a mean of single cells `A[q, k]`, so they are declared as *cells*: the queries and, for
each query, the key. Entropy needs whole rows and is declared as a function of rows.

Notation: `[BOS] + r + r`, `r` of length `L`; `b` = 1 with a BOS, else 0 (Elhage et al. 2021; Olsson et al. 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float, Int

from core.probes.repeated import Probe

if TYPE_CHECKING:
    import torch

SCORE_VERSION = 3
PLACEBO_SHIFTS = (-5, -4, -3, -2, -1, 1, 2, 3, 4, 5)
Cells = tuple[Int[np.ndarray, " queries"], Int[np.ndarray, " queries"]]


@dataclass(frozen=True)
class Layout:
    """Where things are in a probe: `length` tokens twice, after `b` tokens of BOS."""

    length: int
    b: int

    @property
    def n_tokens(self) -> int:
        """Tokens in each sequence."""
        return self.b + 2 * self.length

    @staticmethod
    def of(probe: Probe) -> Layout:
        """The layout of `probe`."""
        return Layout(probe.length, probe.bos_tokens)


def induction_cells(layout: Layout) -> Cells:
    """Second-copy queries, at the token after the earlier copy: `A[q, q - L + 1]`, `q` in `L+b .. 2L+b-1`.

    Not the whole diagonal `1 - L`, which has an entry more without a BOS and two more with one, none of them induction.
    """
    return offset_cells(layout, layout.length - 1)


def offset_cells(layout: Layout, offset: int) -> Cells:
    """Second-copy queries, `offset` tokens back: the induction cells at `L - 1`, placebos elsewhere."""
    queries = _second_copy(layout)
    keys = queries - offset
    inside = (keys >= 0) & (keys <= queries)
    return queries[inside], keys[inside]


def previous_token_cells(layout: Layout) -> Cells:
    """`A[q, q - 1]`, leaving out the query whose key is the BOS (a sink would pass for a previous-token head there)."""
    queries = np.arange(layout.b + 1, layout.n_tokens)
    return queries, queries - 1


def duplicate_token_cells(layout: Layout) -> Cells:
    """Second-copy queries, at the earlier copy itself: `A[q, q - L]`."""
    queries = _second_copy(layout)
    return queries, queries - layout.length


def current_token_cells(layout: Layout) -> Cells:
    """`A[q, q]`, for all queries but the first, which has nowhere else to look."""
    queries = _all_but_first(layout)
    return queries, queries


def sink_cells(layout: Layout) -> Cells:
    """`A[q, 0]`, the first token, for all queries but the first."""
    queries = _all_but_first(layout)
    return queries, np.zeros_like(queries)


def normalised_entropy(
    pattern: Float[torch.Tensor, "batch heads tokens tokens"],
) -> Float[torch.Tensor, "batch heads queries"]:
    """`-sum_k A ln A / ln(q + 1)` for all queries but the first: 0 = one key, 1 = uniform."""
    import torch

    rows = pattern[:, :, 1:, :].float()
    queries = torch.arange(1, pattern.shape[-2], device=pattern.device)
    return torch.special.entr(rows).sum(-1) / torch.log(queries + 1.0)


@dataclass(frozen=True)
class Score:
    """One row of the table: exactly one of `cells` and `rows` says how the score is read off a pattern.

    `title` and `meaning` are for a reader; `uniform` is what a head that attends uniformly gets where that is not the
    mean of `1 / (q + 1)` over the same queries.
    """

    name: str
    title: str
    meaning: str
    formula: str
    cells: Callable[[Layout], Cells] | None = None
    rows: Callable[[Any], Any] | None = None
    uniform: float | None = None

    def chance(self, layout: Layout) -> float:
        """What a head that attends uniformly to all earlier tokens gets."""
        if self.cells is None:
            return float(self.uniform if self.uniform is not None else math.nan)
        queries, _ = self.cells(layout)
        return float(np.mean(1.0 / (queries + 1.0)))


SCORES: dict[str, Score] = {
    score.name: score
    for score in (
        Score(
            "induction",
            "Induction (prefix matching)",
            "looks at the token that came after the earlier copy of the current token",
            "mean of A[q, q-L+1] over the second copy",
            cells=induction_cells,
        ),
        Score(
            "previous_token",
            "Previous token",
            "looks at the token just before",
            "mean of A[q, q-1], without the query whose key is the BOS",
            cells=previous_token_cells,
        ),
        Score(
            "duplicate_token",
            "Duplicate token",
            "looks at the earlier copy of the current token itself",
            "mean of A[q, q-L] over the second copy",
            cells=duplicate_token_cells,
        ),
        Score(
            "current_token",
            "Current token",
            "looks at the current token itself",
            "mean of A[q, q], without the first query",
            cells=current_token_cells,
        ),
        Score(
            "sink",
            "First token (sink)",
            "looks at the first token of the sequence, whatever it is",
            "mean of A[q, 0], without the first query",
            cells=sink_cells,
        ),
        Score(
            "entropy",
            "Entropy",
            "how spread out the attention is: 0 is one token, 1 is all tokens equally",
            "mean of -sum A ln A / ln(q+1), without the first query",
            rows=normalised_entropy,
            uniform=1.0,
        ),
    )
}

CONTRAST = Score(
    "contrast",
    "Contrast",
    "induction less what the same head scores at the same positions when the second half is fresh tokens",
    "induction on [BOS, r, r] minus the same cells on [BOS, r, r']",
    uniform=0.0,
)
ALL_SCORES: dict[str, Score] = {**SCORES, CONTRAST.name: CONTRAST}


def chance_levels(layout: Layout) -> dict[str, float]:
    """The chance level of every score, for printing beside it."""
    return {name: score.chance(layout) for name, score in ALL_SCORES.items()}


@dataclass(frozen=True)
class HeadScores:
    """Scores of every head on every sequence, and the loss of every token, of one model on one probe.

    per_sequence: name to `[n_layers, n_heads, sequences]`; also `induction_control` where the probe has a control.
    placebo: `[shifts, n_layers, n_heads, sequences]`: the induction cells shifted by `PLACEBO_SHIFTS`.
    token_loss: `[sequences, tokens]` in nats, by target position; the first is NaN, for nothing predicts it.
    """

    per_sequence: Mapping[str, Float[np.ndarray, "n_layers n_heads sequences"]]
    placebo: Float[np.ndarray, "shifts n_layers n_heads sequences"]
    token_loss: Float[np.ndarray, "sequences tokens"]
    layout: Layout
    engine: str = "hooks"

    def __post_init__(self) -> None:
        shapes = {array.shape for array in self.per_sequence.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 3:
            raise ValueError(f"every score must be [n_layers, n_heads, sequences], not {shapes}")
        if self.token_loss.shape != (next(iter(shapes))[2], self.layout.n_tokens):
            raise ValueError(f"token_loss has shape {self.token_loss.shape}")
        if self.placebo.shape != (len(PLACEBO_SHIFTS), *next(iter(shapes))):
            raise ValueError(f"placebo has shape {self.placebo.shape}")

    @property
    def n_layers(self) -> int:
        """Layers of the model."""
        return self.placebo.shape[1]

    @property
    def n_heads(self) -> int:
        """Query heads in each layer."""
        return self.placebo.shape[2]

    @property
    def names(self) -> tuple[str, ...]:
        """The scores at hand, in the table's order; contrast only where there was a control."""
        return tuple(n for n in ALL_SCORES if n in self.per_sequence or (n == "contrast" and self.has_control))

    @property
    def has_control(self) -> bool:
        """Whether a control was measured."""
        return "induction_control" in self.per_sequence

    def sequences(self, name: str) -> Float[np.ndarray, "n_layers n_heads sequences"]:
        """One score of every head on every sequence; raises KeyError for a score that was not measured."""
        if name == "contrast":
            return self.per_sequence["induction"] - self.per_sequence["induction_control"]
        return self.per_sequence[name]

    def mean(self, name: str) -> Float[np.ndarray, "n_layers n_heads"]:
        """One score of every head, averaged over sequences."""
        return self.sequences(name).mean(axis=-1)

    def losses(self) -> Losses:
        """First-copy and second-copy loss of this probe."""
        return Losses.of(self.token_loss, self.layout)


@dataclass(frozen=True)
class Losses:
    """Mean cross-entropy in nats, positive, lower is better (science: "behaviour first").

    The first token of the second copy cannot be known by induction, so it is in neither copy's mean.
    """

    first_copy: float
    second_copy: float
    ln_length: float

    @staticmethod
    def of(token_loss: Float[np.ndarray, "sequences tokens"], layout: Layout) -> Losses:
        """Means over sequences and over each copy's targets."""
        return Losses(
            first_copy=float(token_loss[:, first_copy_targets(layout)].mean(dtype=np.float64)),
            second_copy=float(token_loss[:, second_copy_targets(layout)].mean(dtype=np.float64)),
            ln_length=math.log(layout.length),
        )

    @property
    def gain(self) -> float:
        """How many nats better the second copy is predicted than the first."""
        return self.first_copy - self.second_copy

    @property
    def behaviour(self) -> Literal["present", "absent"]:
        """Absent unless the second copy beats `ln L`, what knowing only the set of earlier tokens would give."""
        return "present" if self.second_copy < self.ln_length else "absent"


def first_copy_targets(layout: Layout) -> Int[np.ndarray, " targets"]:
    """Positions `b .. L+b-1` that have a predecessor."""
    return np.arange(max(layout.b, 1), layout.length + layout.b)


def second_copy_targets(layout: Layout) -> Int[np.ndarray, " targets"]:
    """Positions `L+b+1 .. 2L+b-1`."""
    return np.arange(layout.length + layout.b + 1, layout.n_tokens)


def heads_above(scores: Float[np.ndarray, "n_layers n_heads"], threshold: float) -> tuple[tuple[int, int], ...]:
    """Heads whose score is strictly above `threshold`, highest first; ties by layer and head."""
    found = [(int(layer), int(head)) for layer, head in np.argwhere(scores > threshold)]
    return tuple(sorted(found, key=lambda place: (-scores[place], place)))


def head_name(layer: int, head: int) -> str:
    """`L5H7` for layer 5, head 7."""
    return f"L{layer}H{head}"


def _second_copy(layout: Layout) -> Int[np.ndarray, " queries"]:
    return np.arange(layout.length + layout.b, layout.n_tokens)


def _all_but_first(layout: Layout) -> Int[np.ndarray, " queries"]:
    return np.arange(1, layout.n_tokens)
