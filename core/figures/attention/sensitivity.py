"""Small multiples of one score: a column a head, a row for each thing that is varied, one threshold through all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.attention.scores import ALL_SCORES
from core.attention.sensitivity import FACTORS, Factor, Sensitivity, movement
from core.attention.tables import value_range
from core.figures.base.overlay import Overlay, Part, on_axes, symbols, threshold_line
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.heads import Head

_TITLES: dict[Factor, str] = {"length": "by length", "seed": "by seed", "bos": "by BOS"}
_ROW, _POINT = 190, 9


def sensitivity_panels(found: Sensitivity, heads: Sequence[Head], picked: Head | None, look: Look) -> go.Figure:
    """Means with 95 % intervals over sequences, on the score's fixed scale."""
    figure = make_subplots(
        rows=len(FACTORS),
        cols=len(heads),
        shared_yaxes=True,
        horizontal_spacing=0.02,
        vertical_spacing=0.1,
        column_titles=[f"<b>{head.name}</b>{' (picked)' if head == picked else ''}" for head in heads],
    )
    low, high = value_range(found.score)
    for row, factor in enumerate(FACTORS, start=1):
        for column, head in enumerate(heads, start=1):
            points = spread_points(found, head, factor, None, look)
            figure.add_trace(points, row=row, col=column)
            figure.update_xaxes(range=[-0.5, len(points.x) - 0.5], row=row, col=column)
        figure.update_yaxes(title_text=_TITLES[factor], row=row, col=1)
    height, above = look.px(_ROW * len(FACTORS) + 60) + look.buttons, look.px(36) + look.buttons
    styled(figure, look, height=height, margin={"t": above, "r": look.px(24)})
    figure.update_xaxes(type="category", showgrid=False, tickangle=0)
    pad = 0.04 * (high - low)
    figure.update_yaxes(range=[low - pad, high + pad], dtick=0.25 if low >= 0 else 0.5)
    for title in figure.layout.annotations:
        title.font.size = look.font_size
    return figure


def sensitivity_overlay(found: Sensitivity, heads: Sequence[Head], threshold: float, look: Look) -> Overlay:
    """The threshold through every row, and the means above it filled."""
    overlay = []
    for row, factor in enumerate(FACTORS):
        overlay.append(on_axes(threshold_line("y", look), *_axes(row * len(heads))))
        overlay += [_filled(found, head, factor, look, row * len(heads) + at) for at, head in enumerate(heads)]
    return Overlay(_said(threshold), threshold, tuple(overlay))


def one_head_panels(found: Sensitivity, head: Head, threshold: float | None, look: Look) -> go.Figure:
    """One head's panels beside each other: by length, by seed, by BOS, on one scale; filled where above `threshold`.

    threshold: None where `one_head_overlay` show it and move by themselves.
    """
    widths = [max(4, len(found.of(head, factor))) for factor in FACTORS]
    below = look.narrow
    figure = (
        make_subplots(rows=len(FACTORS), cols=1, vertical_spacing=0.16)
        if below
        else make_subplots(rows=1, cols=len(FACTORS), shared_yaxes=True, horizontal_spacing=0.03, column_widths=widths)
    )
    low, high = value_range(found.score)
    for place, factor in enumerate(FACTORS, start=1):
        points = spread_points(found, head, factor, threshold, look)
        at = {"row": place, "col": 1} if below else {"row": 1, "col": place}
        figure.add_trace(points, **at)
        figure.update_xaxes(title_text=_TITLES[factor], range=[-0.5, len(points.x) - 0.5], **at)
    if threshold is not None:
        figure.add_hline(y=threshold, line={"color": look.accent, "dash": "dash", "width": look.px(2)}, row="all", col="all")
    styled(figure, look, height=look.px(_ROW * (len(FACTORS) if below else 1) + 60), margin={"t": look.px(34)})
    figure.update_xaxes(type="category", showgrid=False, tickangle=0)
    pad = 0.04 * (high - low)
    figure.update_yaxes(range=[low - pad, high + pad], dtick=0.25 if low >= 0 else 0.5)
    figure.update_yaxes(title_text=ALL_SCORES[found.score].title.partition(" (")[0].lower(), row=1, col=1)
    return figure


def one_head_overlay(found: Sensitivity, head: Head, threshold: float, look: Look) -> Overlay:
    """The threshold through one head's panels, and the means above it filled."""
    points = [_filled(found, head, factor, look, panel) for panel, factor in enumerate(FACTORS)]
    panels = range(len(FACTORS)) if look.narrow else [0]
    lines = [on_axes(threshold_line("y", look), *_axes(panel)) for panel in panels]
    return Overlay(_said(threshold), threshold, (*lines, *points))


def describe_sensitivity(found: Sensitivity, heads: Sequence[Head]) -> str:
    """The panels in words, for somebody who cannot see them."""
    said = [
        f"{head.name} " + ", ".join(f"{movement(found.of(head, factor)):.2f} {_TITLES[factor]}" for factor in FACTORS)
        for head in heads
    ]
    return (
        f"Small panels of the score {ALL_SCORES[found.score].title}: one column a head, rows by length, seed and BOS, with "
        f"95 % intervals. How far each head moves: {'; '.join(said)}."
    )


def describe_one_head(found: Sensitivity, head: Head) -> str:
    """One head's panels in words."""
    said = "; ".join(
        f"{_TITLES[factor]} " + ", ".join(f"{spread.setting.label}: {spread.mean:.2f}" for spread in found.of(head, factor))
        for factor in FACTORS
    )
    title = ALL_SCORES[found.score].title
    return f"{title} of {head.name} with 95 % intervals: {said}."


def spread_points(found: Sensitivity, head: Head, factor: Factor, threshold: float | None, look: Look) -> go.Scatter:
    """One head's means and intervals as one factor is varied; filled where above `threshold`."""
    spreads = found.of(head, factor)
    above = [threshold is not None and spread.mean > threshold for spread in spreads]
    return go.Scatter(
        x=[spread.setting.label for spread in spreads],
        y=[spread.mean for spread in spreads],
        error_y={
            "array": [spread.high - spread.mean for spread in spreads],
            "arrayminus": [spread.mean - spread.low for spread in spreads],
            "thickness": look.px(2),
            "width": look.px(4),
        },
        mode="lines+markers" if factor == "length" else "markers",
        line={"color": look.second, "width": look.px(1.5)},
        marker={"size": look.px(_POINT), "symbol": ["circle" if up else "circle-open" for up in above], "color": look.second},
        customdata=["" if math.isnan(s.low) else f" ({s.low:.3f} to {s.high:.3f})" for s in spreads],
        hovertemplate=f"{head.name}, {factor} %{{x}}: %{{y:.3f}}%{{customdata}}<extra></extra>",
        name=head.name,
    )


def _said(threshold: float) -> str:
    return f"The line is at {threshold:.2f}; filled points are above it."


def _filled(found: Sensitivity, head: Head, factor: Factor, look: Look, panel: int) -> Part:
    """The means in one panel, counted row by row from 0, each filled while it is above the threshold."""
    means = [spread.mean for spread in found.of(head, factor)]
    # By their order: a setting's name can look like a number, and would be taken for a place.
    places = list(range(len(means)))
    filled = symbols(places, means, look.px(_POINT), above=means, colour=look.second, fill=look.second, width=1)
    return on_axes(filled, *_axes(panel))


def _axes(panel: int) -> tuple[str, str]:
    """What plotly calls the axes of a panel, counted row by row from 0."""
    return (f"x{panel + 1}", f"y{panel + 1}") if panel else ("x", "y")
