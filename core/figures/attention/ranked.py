"""All heads in the order of a score, with the chance level; its overlay: the threshold line and the heads above it."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.attention.tables import value_range
from core.attention.words import chance_words, highest_chance
from core.figures.base.head_traces import click_markers, hover_texts, picked_mark, scatter
from core.figures.base.overlay import THRESHOLD, Overlay, dots, threshold_line, words
from core.figures.base.style import Look
from core.figures.base.unchecked import unchecked_figure
from core.heads import Head, heads_above, ranked
from core.numbers import counted, is_or_are

# Up to this many heads every one is named on the axis; above it only the highest are named, in the picture.
_NAMED_ON_AXIS = 40
_NAMED_ON_AXIS_LARGE = 16
_NAMED_IN_PICTURE = 12
_TICKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def ranked_scores(scores: HeadScores, score: str, picked: Head | None, look: Look) -> go.Figure:
    """Each head's score, highest first. A click is reported by the last trace, `customdata` the head's name."""
    values = scores.mean(score)
    heads = ranked(values)
    places = list(range(1, len(heads) + 1))
    ordered = [float(values[head]) for head in heads]
    named = _named_on_axis(len(heads), look)
    size = _mark_size(len(heads), look)
    low, high = value_range(score)
    marker = {"size": size, "color": look.muted}
    traces = [scatter(x=places, y=ordered, mode="markers", marker=marker, hoverinfo="skip", name="all heads")]
    if picked in heads:
        place = heads.index(picked)
        traces.append(picked_mark(places[place], ordered[place], size + look.px(14), look))
    traces.append(click_markers(places, ordered, heads, hover_texts(scores, heads), size + look.px(6)))
    xaxis: dict[str, Any]
    if named:
        xaxis = {
            "title": "heads, highest first",
            "range": [0.4, len(heads) + 0.6],
            "showgrid": False,
            "tickvals": places,
            "ticktext": [head.name for head in heads],
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
    # Names in the picture stand above their dots and need room there; the buttons then stand clear as well.
    above = look.px(24) + look.buttons if named else look.px(64)
    return unchecked_figure(
        traces,
        look,
        height=look.px(316 if named else 276) + above,
        margin={"t": above, "r": look.px(16 if look.narrow else 120)},
        xaxis=xaxis,
        yaxis={"title": ALL_SCORES[score].title, "range": [low - 0.02, high + 0.03]},
        **_chance_line(scores.chance(score), look),
    )


def ranked_overlay(scores: HeadScores, score: str, threshold: float, look: Look) -> Overlay:
    """The threshold line, and the heads above it; where the axis cannot name them, the highest are named beside them."""
    values = scores.mean(score)
    heads = ranked(values)
    ordered = [float(values[head]) for head in heads]
    low, high = value_range(score)
    chance = highest_chance(scores.chance(score))
    # The two lines are named at the same edge: where they would run into each other, the threshold's name makes way.
    avoided: dict[str, Any] = (
        {} if np.isnan(chance) else {"avoids": {"at": chance, "within": 0.06 * (high - low), "by": look.px(18)}}
    )
    marks = [
        threshold_line("y", look),
        words(
            "threshold {threshold}",
            "right",
            THRESHOLD,
            colour=look.accent,
            size=look.font_size,
            # A narrow picture has no room beside it.
            shift=(-look.px(2), -look.px(10)) if look.narrow else (look.px(4), 0),
            anchor="end" if look.narrow else "start",
            **avoided,
        ),
        dots(range(1, len(heads) + 1), ordered, _mark_size(len(heads), look) + look.px(3), look),
    ]
    if not _named_on_axis(len(heads), look):
        marks += [
            words(
                head.name,
                place + 1,
                value,
                colour=look.ink,
                size=look.font_size - 2,
                shift=(look.px(5), -look.px(14)),
                turned=-60,
                above=value,
            )
            for place, (head, value) in enumerate(zip(heads[:_NAMED_IN_PICTURE], ordered, strict=False))
        ]
    above = len(heads_above(values, threshold))
    return Overlay(
        f"{counted(above, 'head')} {is_or_are(above)} above the threshold line at {threshold:.2f}.", threshold, tuple(marks)
    )


def describe_ranked(scores: HeadScores, score: str) -> str:
    """The ranking in words, for somebody who cannot see it."""
    values = scores.mean(score)
    heads = ranked(values)
    first = ", ".join(f"{head.name} {values[head]:.2f}" for head in heads[:5])
    return (
        f"All {counted(len(heads), 'head')} in the order of their score, from {first} down to {values[heads[-1]]:.2f}. "
        f"Chance is {chance_words(scores.chance(score))}."
    )


def _named_on_axis(n_heads: int, look: Look) -> bool:
    return n_heads <= (_NAMED_ON_AXIS_LARGE if look.large else _NAMED_ON_AXIS)


def _mark_size(n_heads: int, look: Look) -> int:
    return look.px(11 if _named_on_axis(n_heads, look) else 8)


def _chance_line(levels: Float[np.ndarray, " n_layers"], look: Look) -> dict[str, Any]:
    """The chance level, named at the right edge where no part can hide the words; nothing where it is unknown."""
    chance = highest_chance(levels)
    if np.isnan(chance):
        return {}
    stroke = {"color": look.second, "dash": "dot", "width": look.px(2)}
    name = {
        "x": 1.005,
        "xref": "paper",
        "y": chance,
        "text": f"chance {chance_words(levels)}",
        "showarrow": False,
        "xanchor": "right" if look.narrow else "left",
        "yanchor": "bottom" if look.narrow else "middle",
        "font": {"color": look.second},
    }
    shape = {"type": "line", "xref": "x domain", "x0": 0, "x1": 1, "y0": chance, "y1": chance, "line": stroke}
    return {"shapes": [shape], "annotations": [name]}
