"""How many heads have which score; its overlay: the threshold line and the heads above it."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.attention.tables import BIN_WIDTH, score_bins, value_range
from core.figures.base.overlay import THRESHOLD, Overlay, boxes, threshold_line, words
from core.figures.base.style import BUTTONS, Look
from core.figures.base.unchecked import unchecked_figure
from core.numbers import counted, is_or_are

# With more heads than this in one bar, single heads would be too low to see on a linear axis.
_LINEAR_UP_TO = 30
# The part of its bin that a bar fills.
_BAR = 0.92


def score_distribution(scores: HeadScores, score: str, look: Look) -> go.Figure:
    """A histogram; which of its heads are above the threshold is drawn by its overlay."""
    edges, total = _bins(scores, score)
    centres = (edges[:-1] + edges[1:]) / 2
    low, high = value_range(score)
    bars = {
        "type": "bar",
        "x": centres,
        "y": total,
        "width": BIN_WIDTH * _BAR,
        "marker": {"color": look.muted},
        "customdata": [
            f"{counted(int(count), 'head')} from {start:.2f} to {end:.2f}"
            for count, (start, end) in zip(total, pairwise(edges), strict=True)
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
        "name": "heads",
    }
    return unchecked_figure(
        [bars],
        look,
        height=look.px(286) + BUTTONS,
        # The threshold's name can stand anywhere above the plot, also where the buttons are.
        margin={"t": look.px(22) + BUTTONS},
        xaxis={"title": ALL_SCORES[score].title, "range": [low - 0.01, high + 0.01], "showgrid": False},
        yaxis=_count_axis(total),
        annotations=_counts_on_bars(centres, total, look),
    )


def distribution_overlay(scores: HeadScores, score: str, threshold: float, look: Look) -> Overlay:
    """The threshold line; the part of each bar that is above it is coloured, and rimmed for those who see no colours."""
    values = scores.mean(score)
    edges, _, above = score_bins(values, score, threshold)
    half = BIN_WIDTH * _BAR / 2
    known = values[~np.isnan(values)].astype(np.float64)
    # As a histogram has it: the last bin holds its upper end, too.
    own = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    bars = [
        (float(centre) - half, float(centre) + half, known[own == place].tolist())
        for place, centre in enumerate((edges[:-1] + edges[1:]) / 2)
    ]
    name = words(
        "threshold {threshold}",
        THRESHOLD,
        "top",
        colour=look.accent,
        size=look.font_size,
        shift=(0, -look.px(10)),
        anchor="middle",
    )
    count = int(above.sum())
    said = f"{counted(count, 'head')} {is_or_are(count)} above {threshold:.2f}."
    return Overlay(said, threshold, (boxes([bar for bar in bars if bar[2]], look), threshold_line("x", look), name))


def _bins(scores: HeadScores, score: str) -> tuple[Float[np.ndarray, " edges"], Int[np.ndarray, " bins"]]:
    """The bins' edges, and how many heads each holds."""
    edges, below, above = score_bins(scores.mean(score), score, 0.0)
    return edges, below + above


def _count_axis(total: Int[np.ndarray, " bins"]) -> dict[str, Any]:
    if total.max() > _LINEAR_UP_TO:
        top = float(np.log10(total.max())) * 1.12
        return {"title": "heads (log scale)", "type": "log", "range": [np.log10(0.6), top], "dtick": 1}
    return {"title": "heads", "range": [0, float(total.max()) * 1.15], "rangemode": "tozero"}


def _counts_on_bars(centres: Float[np.ndarray, " bins"], total: Int[np.ndarray, " bins"], look: Look) -> list[dict[str, Any]]:
    return [
        {
            "x": float(centre),
            "y": _height(count, total),
            "text": str(count),
            "showarrow": False,
            "yanchor": "bottom",
            "yshift": look.px(2),
        }
        for centre, count in zip(centres[total > 0], total[total > 0], strict=True)
    ]


def describe_distribution(scores: HeadScores, score: str) -> str:
    """The histogram in words, for somebody who cannot see it."""
    edges, total = _bins(scores, score)
    parts = ", ".join(f"{count} from {edges[i]:.2f} to {edges[i + 1]:.2f}" for i, count in enumerate(total) if count)
    return f"Histogram of {ALL_SCORES[score].title}: {parts}."


def _height(count: int, total: Int[np.ndarray, " bins"]) -> float:
    """Where a bar's number stands: an annotation on a logarithmic axis is placed by the logarithm."""
    return float(np.log10(count)) if total.max() > _LINEAR_UP_TO else float(count)
