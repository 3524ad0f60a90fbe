"""How many heads have which score, with the threshold line."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float, Int

from core.figures.style import Look, plain_figure
from core.scores import ALL_SCORES, HeadScores
from core.tables import BIN_WIDTH, score_bins, value_range

# With more heads than this in one bar, single heads would be too low to see on a linear axis.
_LINEAR_UP_TO = 30


def score_distribution(scores: HeadScores, score: str, threshold: float, look: Look) -> go.Figure:
    """A histogram; bars of heads above the threshold are hatched as well as coloured."""
    edges, below, above = score_bins(scores.mean(score), score, threshold)
    centres = (edges[:-1] + edges[1:]) / 2
    texts = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
    total = below + above
    low, high = value_range(score)
    return plain_figure(
        [
            {
                "type": "bar",
                "x": centres,
                "y": counts,
                "width": BIN_WIDTH * 0.92,
                "marker": {
                    "color": colour,
                    "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": look.paper, "size": look.px(7)},
                },
                "customdata": texts,
                "hovertemplate": "%{y} heads from %{customdata}<extra>" + name + "</extra>",
                "name": name,
            }
            for counts, name, colour, pattern in (
                (below, "not above the threshold", look.muted, ""),
                (above, "above the threshold", look.accent, "/"),
            )
        ],
        look,
        height=look.px(300),
        barmode="stack",
        margin={"t": look.px(36)},
        xaxis={"title": ALL_SCORES[score].title, "range": [low - 0.01, high + 0.01], "showgrid": False},
        yaxis=_count_axis(total),
        shapes=[
            {
                "type": "line",
                "yref": "y domain",
                "x0": threshold,
                "x1": threshold,
                "y0": 0,
                "y1": 1,
                "line": {"color": look.accent, "dash": "dash", "width": look.px(2)},
            }
        ],
        annotations=[*_counts_on_bars(centres, total, look), _threshold_name(threshold, look)],
    )


def _count_axis(total: Int[np.ndarray, "bins"]) -> dict[str, Any]:
    if total.max() > _LINEAR_UP_TO:
        top = float(np.log10(total.max())) * 1.12
        return {"title": "heads (log scale)", "type": "log", "range": [np.log10(0.6), top], "dtick": 1}
    return {"title": "heads", "range": [0, float(total.max()) * 1.15], "rangemode": "tozero"}


def _counts_on_bars(centres: Float[np.ndarray, "bins"], total: Int[np.ndarray, "bins"], look: Look) -> list[dict[str, Any]]:
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


def _threshold_name(threshold: float, look: Look) -> dict[str, Any]:
    return {
        "x": threshold,
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "text": f"threshold {threshold:.2f}",
        "showarrow": False,
        "font": {"color": look.accent},
    }


def describe_distribution(scores: HeadScores, score: str, threshold: float) -> str:
    """The histogram in words, for somebody who cannot see it."""
    edges, below, above = score_bins(scores.mean(score), score, threshold)
    total = below + above
    parts = ", ".join(f"{count} from {edges[i]:.2f} to {edges[i + 1]:.2f}" for i, count in enumerate(total) if count)
    return f"Histogram of {ALL_SCORES[score].title}: {parts}. {above.sum()} heads are above {threshold:.2f}."


def _height(count: int, total: Int[np.ndarray, "bins"]) -> float:
    """Where a bar's number stands: an annotation on a logarithmic axis is placed by the logarithm."""
    return float(np.log10(count)) if total.max() > _LINEAR_UP_TO else float(count)
