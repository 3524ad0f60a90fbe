"""The report's figures: heat maps, recorded or live, and its table under one correction more each time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.figures.base.head_map import HEADS_TO_WRITE_IN_HALF, Cells, head_map
from core.figures.base.overlay import Overlay, rings
from core.figures.base.style import SCORE_SCALE, Look, see_through
from core.figures.base.styled import styled
from core.heads import Head, every_head, heads_above, ranked
from core.numbers import beside, counted, interval, is_or_are, unsigned
from core.replication.reproduction import ReproducedRow, Reproduction
from core.replication.words import row_name, step_labels

Matrix = Float[np.ndarray, "n_layers n_heads"]
_SYMBOLS = ("circle", "diamond", "square")
# Where no head is above a threshold nothing is taken away, and its markers and line lie on the untouched ones: each leaves
# an edge of what is below it.
_SIZES = (22, 12, 6)
_WIDTHS = (4.5, 2.5, 1.5)
# Two maps are compared at a glance, and the report's answers stand below them.
_TALL = 0.75
# How far beside a step, in steps, its random sets stand.
_BESIDE = 0.2
# What is left free between two axes, as a share of the width.
_BETWEEN = 0.1
# The same on a telephone, where the second axis' title takes more of it.
_BETWEEN_NARROW = 0.28
# Nats that an axis shows at least: no difference below would be one of the heads'.
_LEAST_SPAN = 0.2


def value_map(values: Matrix, title: str, threshold: float | None, look: Look, picked: Head | None = None) -> go.Figure:
    """Scores from 0 to 1 by layer and head, as recorded or live; rings above `threshold`.

    threshold: None where the rings are drawn by `value_overlay` and move by themselves.
    """
    texts = [f"<b>{head.name}</b><br>{values[head]:.4f}" for head in every_head(*values.shape)]
    cells = Cells(values, 0.0, 1.0, SCORE_SCALE, values > 0.55, texts)
    return head_map(
        cells,
        look,
        title=title,
        axis_title=f"head (ring: above {'the threshold' if threshold is None else f'{threshold:.2f}'})",
        ringed=() if threshold is None else heads_above(values, threshold),
        picked=picked,
        write_up_to=HEADS_TO_WRITE_IN_HALF,
        tall=_TALL,
    )


def value_overlay(values: Matrix, threshold: float, look: Look) -> Overlay:
    """A ring on every head above the threshold."""
    count = len(heads_above(values, threshold))
    return Overlay(f"{counted(count, 'head')} {is_or_are(count)} above {threshold:.2f}.", threshold, (rings(values, look),))


def describe_values(values: Matrix, title: str, threshold: float | None = None) -> str:
    """The map in words, for somebody who cannot see it; without a threshold its overlay tells the rings."""
    levels = () if threshold is None else (threshold,)
    best = ", ".join(f"{head.name} {beside(values[head], *levels)}" for head in ranked(values)[:5])
    above = "" if threshold is None else f", {len(heads_above(values, threshold))} above {threshold:.2f}"
    size = f"{counted(values.shape[0], 'layer')} by {counted(values.shape[1], 'head')}"
    return f"Heat map, {title}: {size}{above}. Highest: {best}."


def correction_steps(steps: Sequence[Reproduction], look: Look) -> go.Figure:
    """The table's numbers under one correction more each time: log-probabilities on one axis, losses in nats on another.

    Nothing joins the two: a sign and a unit are no effect.
    """
    figure = go.Figure()
    colours = (look.ink, look.second, look.accent)
    panels = _panels(steps)
    beside = 0
    for index, row in enumerate(steps[0].rows):
        name = row_name(row.threshold)
        for panel, places in enumerate(panels):
            rows = [steps[place].rows[index] for place in places]
            figure.add_trace(
                go.Scatter(
                    x=list(range(len(rows))),
                    y=[found.value for found in rows],
                    mode="lines+markers",
                    line={"color": colours[index], "width": look.px(_WIDTHS[index]), "dash": "dot"},
                    marker={"color": colours[index], "size": look.px(_SIZES[index]), "symbol": _SYMBOLS[index]},
                    customdata=[[unsigned(found.value, 3), counted(len(found.heads), "head")] for found in rows],
                    hovertemplate=f"{name}: %{{customdata[0]}} (%{{customdata[1]}})<extra></extra>",
                    name=name,
                    showlegend=panel == 0,
                    **_on(panel),
                )
            )
            for place, found in enumerate(rows):
                if not math.isnan(found.range[0]):
                    beside += 1
                    _random_sets(figure, found, place + _BESIDE * beside, panel, colours[index], look)
    labels, start, between = step_labels(steps), 0.0, _BETWEEN_NARROW if look.narrow else _BETWEEN
    for panel, places in enumerate(panels):
        stop = start + (1 - between * (len(panels) - 1)) * len(places) / len(steps)
        # A numbered axis: random sets stand beside their step, not on its points.
        x_axis = {
            "showgrid": False,
            "tickangle": 90 if look.narrow else 0,
            "tickvals": list(range(len(places))),
            # On end two lines of a label lie in the next one's place.
            "ticktext": [labels[place].replace("<br>", " " if look.narrow else "<br>") for place in places],
            "range": [-0.4, len(places) - 0.2],
            "domain": [start, stop],
            "anchor": f"y{panel + 1}",
        }
        unit = "loss (nats)" if steps[places[0]].corrections.sign else "log-probability"
        y_axis: dict[str, Any] = {"title": f"second copy: {unit}", "anchor": f"x{panel + 1}"}
        y_axis |= _wide_enough([steps[place] for place in places])
        figure.update_layout({f"xaxis{panel + 1}": x_axis, f"yaxis{panel + 1}": y_axis})
        start = stop + between
    # Last, for it reaches the axes that there are.
    styled(
        figure,
        look,
        height=look.px(500 if look.narrow else 400),
        margin={"t": look.px(16)},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_layout(showlegend=True)
    return figure


def _wide_enough(steps: Sequence[Reproduction]) -> dict[str, list[float]]:
    """The range of an axis on which numbers that are written alike lie together; its own where they differ by more."""
    values = [value for step in steps for row in step.rows for value in (row.value, *row.range) if not math.isnan(value)]
    low, high = min(values), max(values)
    if high - low >= _LEAST_SPAN:
        return {}
    middle = (low + high) / 2
    return {"range": [middle - _LEAST_SPAN / 2, middle + _LEAST_SPAN / 2]}


def _panels(steps: Sequence[Reproduction]) -> list[list[int]]:
    """The steps by the unit of their numbers, in order."""
    by_unit = [[place for place, step in enumerate(steps) if step.corrections.sign == sign] for sign in (False, True)]
    return [places for places in by_unit if places]


def _on(panel: int) -> dict[str, str]:
    """The axes of a trace."""
    return {"xaxis": f"x{panel + 1}", "yaxis": f"y{panel + 1}"}


def describe_steps(steps: Sequence[Reproduction]) -> str:
    """The steps in words, for somebody who cannot see them."""
    said = []
    for label, step in zip(step_labels(steps), steps, strict=True):
        numbers = ", ".join(f"{row_name(row.threshold)} {unsigned(row.value)}" for row in step.rows)
        unit = "nats" if step.corrections.sign else "log-probability"
        said.append(f"{label.replace('<br>', ' ')}: {numbers} ({unit})")
    return f"Second-copy numbers under one correction more each time. {'; '.join(said)}."


def _random_sets(
    figure: go.Figure,
    found: ReproducedRow,
    x: float,
    panel: int,
    colour: str,
    look: Look,
) -> None:
    """The range of other sets as a box, with a line at their mean."""
    low, high, mean = found.range
    instead = f"as many other heads ({found.threshold})"
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
            **_on(panel),
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[x - half, x, x + half],
            y=[mean, mean, mean],
            mode="lines",
            line={"color": colour, "width": look.px(4)},
            hovertemplate=f"{instead}: {unsigned(mean, 3)}, from {interval(low, high, 3)}<extra></extra>",
            showlegend=False,
            name=f"{instead}, mean",
            **_on(panel),
        )
    )
