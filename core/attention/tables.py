"""The table behind every picture: plain rows of names and numbers, for the screen and for files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.attention.sensitivity import FACTORS, Sensitivity
from core.heads import Head, heads_above

Row = dict[str, Any]
BIN_WIDTH = 0.05


def value_range(score: str) -> tuple[float, float]:
    """The fixed scale of a score: a difference can be negative, everything else lies between 0 and 1."""
    return (-1.0, 1.0) if ALL_SCORES[score].signed else (0.0, 1.0)


def head_rows(scores: HeadScores, score: str, threshold: float) -> list[Row]:
    """One row a head that there is, the highest `score` first: name, layer, head, every score, above the threshold or not.

    The 95 % interval of `score` over sequences follows, under its name with `_low` and `_high`.
    """
    return _rows(scores, score, threshold, scores.ranked(score))


def rows_above(scores: HeadScores, score: str, threshold: float) -> list[Row]:
    """The rows of heads above the threshold."""
    return _rows(scores, score, threshold, heads_above(scores.mean(score), threshold))


def _rows(scores: HeadScores, score: str, threshold: float, heads: Sequence[Head]) -> list[Row]:
    means = {name: scores.mean(name) for name in _columns(scores, score)}
    low, high = scores.interval(score)
    return [
        {"name": head.name, "layer": head.layer, "head": head.head}
        | {name: float(values[head]) for name, values in means.items()}
        | {f"{score}_low": float(low[head]), f"{score}_high": float(high[head])}
        | {"above_threshold": bool(means[score][head] > threshold)}
        for head in heads
    ]


def score_bins(
    values: Float[np.ndarray, "n_layers n_heads"], score: str, threshold: float
) -> tuple[Float[np.ndarray, " edges"], Int[np.ndarray, " bins"], Int[np.ndarray, " bins"]]:
    """Edges of bins over the score's fixed scale, and the heads in each: those not above the threshold, those above."""
    low, high = value_range(score)
    edges = np.round(np.linspace(low, high, round((high - low) / BIN_WIDTH) + 1), 6)
    # Float noise can put a score a hair outside its scale.
    known = values[~np.isnan(values)]
    flat, above = np.clip(known.astype(np.float64), low, high), known > threshold
    return edges, np.histogram(flat[~above], edges)[0], np.histogram(flat[above], edges)[0]


def bin_rows(scores: HeadScores, score: str, threshold: float) -> list[Row]:
    """One row a bar of the distribution: where it starts and ends, and its heads above and not above the threshold."""
    edges, below, above = score_bins(scores.mean(score), score, threshold)
    return [
        {"from": float(edges[i]), "to": float(edges[i + 1]), "above_threshold": int(above[i]), "others": int(below[i])}
        for i in range(len(below))
    ]


def spread_rows(found: Sensitivity, heads: Sequence[Head], threshold: float | None) -> list[Row]:
    """One row a head and setting: the mean, its interval, and the side of the threshold, where it is one of this score."""
    return [
        {
            "name": head.name,
            "varied": spread.setting.factor,
            "setting": spread.setting.label,
            found.score: spread.mean,
            "low": spread.low,
            "high": spread.high,
        }
        | ({} if threshold is None else {"above_threshold": spread.mean > threshold})
        for head in heads
        for factor in FACTORS
        for spread in found.of(head, factor)
    ]


def _columns(scores: HeadScores, score: str) -> list[str]:
    """The score in question first and contrast beside it, then the others in the table's order, withheld ones, too."""
    first = [score, *(["contrast"] if scores.has_control and score != "contrast" else [])]
    return first + [name for name in ALL_SCORES if name not in (*first, *scores.to_come)]
