"""How many heads have which score, with the threshold line."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Int

from core.figures.style import Look, styled
from core.scores import ALL_SCORES, HeadScores
from core.tables import BIN_WIDTH, score_bins, value_range

# With more heads than this in one bar, single heads would be too low to see on a linear axis.
_LINEAR_UP_TO = 30


def score_distribution(scores: HeadScores, score: str, threshold: float, look: Look) -> go.Figure:
    """A histogram; bars of heads above the threshold are hatched as well as coloured."""
    edges, below, above = score_bins(scores.mean(score), score, threshold)
    centres = (edges[:-1] + edges[1:]) / 2
    texts = [f"{low:.2f} to {high:.2f}" for low, high in pairwise(edges)]
    figure = go.Figure()
    for counts, name, colour, pattern in (
        (below, "not above the threshold", look.muted, ""),
        (above, "above the threshold", look.accent, "/"),
    ):
        figure.add_trace(
            go.Bar(
                x=centres,
                y=counts,
                width=BIN_WIDTH * 0.92,
                marker={
                    "color": colour,
                    "pattern": {"shape": pattern, "fillmode": "overlay", "fgcolor": look.paper, "size": look.px(7)},
                },
                customdata=texts,
                hovertemplate="%{y} heads from %{customdata}<extra>" + name + "</extra>",
                name=name,
            )
        )
    total = below + above
    for centre, count in zip(centres[total > 0], total[total > 0], strict=True):
        figure.add_annotation(
            x=centre, y=_height(count, total), text=str(count), showarrow=False, yanchor="bottom", yshift=look.px(2)
        )
    figure.add_vline(x=threshold, line={"color": look.accent, "dash": "dash", "width": look.px(2)})
    figure.add_annotation(
        x=threshold,
        y=1,
        yref="paper",
        yanchor="bottom",
        text=f"threshold {threshold:.2f}",
        showarrow=False,
        font={"color": look.accent},
    )
    low, high = value_range(score)
    styled(figure, look, height=look.px(300), barmode="stack", margin={"t": look.px(36)})
    figure.update_xaxes(title=ALL_SCORES[score].title, range=[low - 0.01, high + 0.01], showgrid=False)
    if total.max() > _LINEAR_UP_TO:
        top = float(np.log10(total.max())) * 1.12
        figure.update_yaxes(title="heads (log scale)", type="log", range=[np.log10(0.6), top], dtick=1)
    else:
        figure.update_yaxes(title="heads", range=[0, float(total.max()) * 1.15], rangemode="tozero")
    return figure


def describe_distribution(scores: HeadScores, score: str, threshold: float) -> str:
    """The histogram in words, for somebody who cannot see it."""
    edges, below, above = score_bins(scores.mean(score), score, threshold)
    total = below + above
    parts = ", ".join(f"{count} from {edges[i]:.2f} to {edges[i + 1]:.2f}" for i, count in enumerate(total) if count)
    return f"Histogram of {ALL_SCORES[score].title}: {parts}. {above.sum()} heads are above {threshold:.2f}."


def _height(count: int, total: Int[np.ndarray, "bins"]) -> float:
    """Where a bar's number stands: an annotation on a logarithmic axis is placed by the logarithm."""
    return float(np.log10(count)) if total.max() > _LINEAR_UP_TO else float(count)
