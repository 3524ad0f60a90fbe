"""The heat map of a score: layers down, heads across, the picked head in a frame; its overlay: rings and crosses."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.attention.tables import value_range
from core.attention.words import sizes_words
from core.figures.base.head_map import Cells, are_written, head_map
from core.figures.base.head_traces import hover_texts
from core.figures.base.overlay import Overlay, crosses, rings
from core.figures.base.style import Look, colour_scale
from core.heads import Head, HeadSet, every_head, heads_above, ranked
from core.numbers import beside, counted, is_or_are, unsigned


def score_heatmap(scores: HeadScores, score: str, picked: Head | None, look: Look) -> go.Figure:
    """Layer by head on the score's fixed scale. The rings are its overlay.

    A click is reported by the last trace, whose points carry `customdata` the head's name.
    """
    values = scores.mean(score)
    low, high = value_range(score)
    signed = ALL_SCORES[score].signed
    light = np.abs(values) < 0.6 if signed else values > 0.55
    cells = Cells(values, low, high, colour_scale(signed=signed), light, hover_texts(scores, every_head(*values.shape)))
    return head_map(
        cells,
        look,
        title=ALL_SCORES[score].title,
        axis_title="head (ring: above the threshold)",
        picked=picked,
    )


def heatmap_overlay(scores: HeadScores, score: str, threshold: float, look: Look) -> Overlay:
    """A ring on every head above the threshold."""
    values = scores.mean(score)
    above = heads_above(values, threshold)
    named = ", ".join(f"{head.name} {beside(values[head], threshold)}" for head in above[:10])
    said = f"{counted(len(above), 'head')} {is_or_are(len(above))} above {threshold:.2f}{': ' + named if named else ''}."
    return Overlay(said, threshold, (rings(values, look),))


def set_overlay(scores: HeadScores, score: str, threshold: float, picked: HeadSet, above: bool, look: Look) -> Overlay:
    """As `heatmap_overlay`, and a cross on each of `picked`; if `above`, on each head above the threshold, too."""
    shown, values = heatmap_overlay(scores, score, threshold, look), scores.mean(score)
    heads = [head for head in every_head(*values.shape) if head in picked or (above and not np.isnan(values[head]))]
    numbered = are_written(scores.n_layers, scores.n_heads, look)
    own = [None if head in picked else float(values[head]) for head in heads]
    return Overlay(shown.said, threshold, (*shown.marks, crosses(heads, own, look, numbered=numbered)))


def describe_heatmap(scores: HeadScores, score: str) -> str:
    """The heat map in words, for somebody who cannot see it."""
    values = scores.mean(score)
    known = ranked(values)
    highest = f"The highest is {known[0].name} at {unsigned(values[known[0]])}." if known else "No head has a number."
    return f"Heat map of the score {ALL_SCORES[score].title}, {sizes_words(scores.exists, 'by')}. {highest}"
