"""The report's figures: heat maps, recorded or live, and its table under one correction more each time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.figures.base.head_map import Cells, head_map
from core.figures.base.style import SCORE_SCALE, Look, see_through
from core.figures.base.styled import styled
from core.heads import Head, every_head, heads_above, ranked
from core.replication.reproduction import Reproduction
from core.replication.words import row_name, step_labels

Matrix = Float[np.ndarray, "n_layers n_heads"]
_HEADS_TO_WRITE_IN = 8
_SYMBOLS = ("circle", "diamond", "square")
# How far beside a step, in steps, its random sets stand.
_BESIDE = 0.2


def value_map(values: Matrix, title: str, threshold: float, look: Look, picked: Head | None = None) -> go.Figure:
    """Scores from 0 to 1 by layer and head, as recorded or live; rings above `threshold`."""
    texts = [f"<b>{head.name}</b><br>{values[head]:.4f}" for head in every_head(*values.shape)]
    cells = Cells(values, 0.0, 1.0, SCORE_SCALE, values > 0.55, texts)
    figure = head_map(
        cells,
        look,
        title=title,
        axis_title=f"head (ring: above {threshold:.2f})",
        ringed=heads_above(values, threshold),
        picked=picked,
    )
    if values.shape[1] > _HEADS_TO_WRITE_IN:
        # Two maps stand beside each other: rings would hide the numbers of so many heads.
        figure.data = [trace for trace in figure.data if trace.name != "values"]
    return figure


def describe_values(values: Matrix, title: str, threshold: float) -> str:
    """The map in words, for somebody who cannot see it."""
    best = ", ".join(f"{head.name} {values[head]:.2f}" for head in ranked(values)[:5])
    above = len(heads_above(values, threshold))
    size = f"{values.shape[0]} layers by {values.shape[1]} heads"
    return f"Heat map, {title}: {size}, {above} above {threshold:.2f}. Highest: {best}."


def correction_steps(steps: Sequence[Reproduction], look: Look) -> go.Figure:
    """The table's numbers under one correction more each time: log-probabilities below zero, losses above it."""
    figure = go.Figure()
    colours = (look.ink, look.second, look.accent)
    beside = 0
    for index, row in enumerate(steps[0].rows):
        name = row_name(row.threshold)
        rows = [step.rows[index] for step in steps]
        figure.add_trace(
            go.Scatter(
                x=list(range(len(steps))),
                y=[found.value for found in rows],
                mode="lines+markers",
                line={"color": colours[index], "width": look.px(1.5), "dash": "dot"},
                marker={"color": colours[index], "size": look.px(11), "symbol": _SYMBOLS[index]},
                customdata=[[len(found.heads)] for found in rows],
                hovertemplate=f"{name}: %{{y:.3f}} (%{{customdata[0]}} heads)<extra></extra>",
                name=name,
            )
        )
        for place, found in enumerate(rows):
            if not math.isnan(found.range[0]):
                beside += 1
                _random_sets(figure, found.threshold, place + _BESIDE * beside, found.range, colours[index], look)
    figure.add_hline(y=0, line={"color": look.ink, "width": look.px(1)})
    styled(
        figure,
        look,
        height=look.px(400),
        margin={"t": look.px(16)},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_layout(showlegend=True)
    # A numbered axis: random sets stand beside their step, not on its points.
    figure.update_xaxes(
        showgrid=False,
        tickangle=0,
        tickvals=list(range(len(steps))),
        ticktext=step_labels(steps),
        range=[-0.4, len(steps) - 0.2],
    )
    figure.update_yaxes(title="second copy: log-probability, then nats")
    return figure


def describe_steps(steps: Sequence[Reproduction]) -> str:
    """The steps in words, for somebody who cannot see them."""
    said = []
    for label, step in zip(step_labels(steps), steps, strict=True):
        numbers = ", ".join(f"{row_name(row.threshold)} {row.value:.2f}" for row in step.rows)
        said.append(f"{label.replace('<br>', ' ')}: {numbers}")
    return f"Second-copy numbers under one correction more each time. {'; '.join(said)}."


def _random_sets(
    figure: go.Figure,
    threshold: float | None,
    x: float,
    found: tuple[float, float, float],
    colour: str,
    look: Look,
) -> None:
    """The range of other sets as a box, with a line at their mean."""
    low, high, mean = found
    instead = f"as many other heads ({threshold})"
    half = _BESIDE * 0.36
    figure.add_trace(
        go.Scatter(
            x=[x - half, x + half, x + half, x - half, x - half],
            y=[low, low, high, high, low],
            mode="lines",
            fill="toself",
            fillcolor=see_through(colour, 0.35),
            line={"color": colour, "width": look.px(2)},
            hoverinfo="skip",
            name=f"{instead}, range",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[x - half, x, x + half],
            y=[mean, mean, mean],
            mode="lines",
            line={"color": colour, "width": look.px(4)},
            hovertemplate=f"{instead}: {mean:.3f}, from {low:.3f} to {high:.3f}<extra></extra>",
            showlegend=False,
            name=f"{instead}, mean",
        )
    )
