"""All heads in the order of a score, with the threshold line and the chance level."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.figures.head_marks import Head, click_markers, hover_texts, scatter
from core.figures.style import Look, plain_figure
from core.scores import ALL_SCORES, HeadScores, head_name, heads_above
from core.tables import value_range

# Up to this many heads every one is named on the axis; above it only the highest are named, in the picture.
_NAMED_ON_AXIS = 40
_NAMED_ON_AXIS_LARGE = 16
_NAMED_IN_PICTURE = 12
_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def ranked_scores(scores: HeadScores, score: str, threshold: float, picked: Head | None, look: Look) -> go.Figure:
    """Each head's score, highest first. A click is reported by the last trace, `customdata` the head's name."""
    values = scores.mean(score)
    heads = heads_above(values, -2.0)
    places = list(range(1, len(heads) + 1))
    ordered = [float(values[head]) for head in heads]
    count = len(heads_above(values, threshold))
    named = len(heads) <= (_NAMED_ON_AXIS_LARGE if look.large else _NAMED_ON_AXIS)
    size = look.px(11 if named else 8)
    low, high = value_range(score)
    traces = [
        scatter(
            x=places[count:],
            y=ordered[count:],
            mode="markers",
            marker={"size": size, "color": look.muted},
            hoverinfo="skip",
            name="not above the threshold",
        ),
        scatter(
            x=places[:count],
            y=ordered[:count],
            mode="markers",
            marker={"size": size + look.px(3), "color": look.accent, "line": {"color": look.ink, "width": look.px(2)}},
            hoverinfo="skip",
            name="above the threshold",
        ),
    ]
    if picked in heads:
        place = heads.index(picked)
        square = {"size": size + look.px(14), "symbol": "square-open", "color": look.ink, "line": {"width": look.px(3)}}
        traces.append(
            scatter(x=[places[place]], y=[ordered[place]], mode="markers", marker=square, hoverinfo="skip", name="picked")
        )
    traces.append(click_markers(places, ordered, heads, hover_texts(scores, heads), size + look.px(6)))
    shapes, annotations = _lines(score, threshold, ALL_SCORES[score].chance(scores.layout), look)
    xaxis: dict[str, Any]
    if named:
        xaxis = {
            "title": "heads, highest first",
            "range": [0.4, len(heads) + 0.6],
            "showgrid": False,
            "tickvals": places,
            "ticktext": [head_name(*head) for head in heads],
        }
    else:
        # On a linear axis the few heads that matter would stand on top of each other at the left edge.
        xaxis = {
            "title": "heads, highest first (place, log scale)",
            "type": "log",
            "range": [np.log10(0.9), np.log10(len(heads) * 1.05)],
            "showgrid": False,
            "tickvals": [place for place in _TICKS if place <= len(heads)],
        }
        annotations += _names_of_highest(heads[: min(count, _NAMED_IN_PICTURE)], ordered, look)
    return plain_figure(
        traces,
        look,
        height=look.px(340),
        # Names in the picture stand above their marks and need room there.
        margin={"t": look.px(24 if named else 64), "r": look.px(120)},
        xaxis=xaxis,
        yaxis={"title": ALL_SCORES[score].title, "range": [low - 0.02, high + 0.03]},
        shapes=shapes,
        annotations=annotations,
    )


def describe_ranked(scores: HeadScores, score: str, threshold: float) -> str:
    """The ranking in words, for somebody who cannot see it."""
    values = scores.mean(score)
    heads = heads_above(values, -2.0)
    first = ", ".join(f"{head_name(*head)} {values[head]:.2f}" for head in heads[:5])
    return (
        f"All {len(heads)} heads in the order of their score, from {first} down to {values[heads[-1]]:.2f}. "
        f"{len(heads_above(values, threshold))} are above the threshold line at {threshold:.2f}; "
        f"chance is {ALL_SCORES[score].chance(scores.layout):.2f}."
    )


def _lines(score: str, threshold: float, chance: float, look: Look) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The threshold and the chance level, named at the right edge where no mark can hide the words: lines and words."""
    gap = 0.06 * (value_range(score)[1] - value_range(score)[0])
    apart = abs(threshold - chance) >= gap
    shapes: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for value, word, colour, dash, shift in (
        (threshold, "threshold", look.accent, "dash", 0 if apart else 9),
        (chance, "chance", look.second, "dot", 0 if apart else -9),
    ):
        line = {"color": colour, "dash": dash, "width": look.px(2)}
        shapes.append({"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": value, "y1": value, "line": line})
        annotations.append(
            {
                "x": 1.005,
                "xref": "paper",
                "y": value,
                "text": f"{word} {value:.2f}",
                "showarrow": False,
                "xanchor": "left",
                "yshift": look.px(shift),
                "font": {"color": colour},
            }
        )
    return shapes, annotations


def _names_of_highest(heads: tuple[Head, ...], ordered: list[float], look: Look) -> list[dict[str, Any]]:
    """Names beside the highest heads; an annotation on a logarithmic axis is placed by the logarithm."""
    return [
        {
            "x": np.log10(place + 1),
            "y": ordered[place],
            "text": head_name(*head),
            "textangle": -60,
            "showarrow": False,
            "xanchor": "left",
            "yanchor": "bottom",
            "xshift": -look.px(4),
            "yshift": look.px(6),
            "font": {"size": look.font_size - 2},
        }
        for place, head in enumerate(heads)
    ]
