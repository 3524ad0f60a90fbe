"""The heat map of a score: layers down, heads across, the picked head in a frame; its marks: rings above the threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from core.attention.scores import ALL_SCORES, HeadScores, head_name, heads_above
from core.attention.tables import value_range
from core.figures.base.head_map import Cells, head_map
from core.figures.base.head_marks import Head, all_heads, hover_texts
from core.figures.base.marks import Marks, rings
from core.figures.base.style import Look, colour_scale


def score_heatmap(scores: HeadScores, score: str, picked: Head | None, look: Look, crossed: Sequence[Head] = ()) -> go.Figure:
    """Layer by head on the score's fixed scale; `crossed` heads get a cross. The rings are its marks.

    A click is reported by the last trace, whose points carry `customdata` the head's name.
    """
    values = scores.mean(score)
    low, high = value_range(score)
    light = np.abs(values) < 0.6 if score == "contrast" else values > 0.55
    cells = Cells(values, low, high, colour_scale(score), light, hover_texts(scores, all_heads(values)))
    return head_map(
        cells,
        look,
        title=ALL_SCORES[score].title,
        axis_title="head (ring: above the threshold)",
        crossed=crossed,
        picked=picked,
    )


def heatmap_marks(scores: HeadScores, score: str, threshold: float, look: Look) -> Marks:
    """A ring on every head above the threshold."""
    values = scores.mean(score)
    above = heads_above(values, threshold)
    named = ", ".join(f"{head_name(*head)} {values[head]:.2f}" for head in above[:10])
    said = f"{len(above)} heads are above {threshold:.2f}{': ' + named if named else ''}."
    return Marks(said, (rings(above, look),))


def describe_heatmap(scores: HeadScores, score: str) -> str:
    """The heat map in words, for somebody who cannot see it."""
    values = scores.mean(score)
    best = heads_above(values, -2.0)[0]
    return (
        f"Heat map of the score {ALL_SCORES[score].title}, {scores.n_layers} layers by {scores.n_heads} heads. "
        f"The highest is {head_name(*best)} at {values[best]:.2f}."
    )
