"""Two quantities of every head, a point each: intervals both ways, a third quantity as colour, shapes for who stands out."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.figures.base.head_traces import click_markers, picked_mark
from core.figures.base.labels import drawn_boxes, inner_width, placed_labels
from core.figures.base.style import Look, colour_scale
from core.figures.base.styled import styled
from core.heads import Head, HeadSet, names
from core.numbers import counted, interval, unsigned
from core.quantities.comparison import Axis, Comparison
from core.quantities.table import intervals_over

_HEIGHT = 520
# The picture's inner size on a usual screen, for deciding which names have room.
_INNER_WIDTH, _INNER_HEIGHT = 700, 420
# Pixels, at the usual text size.
_SMALL, _LARGE = 8, 12
# With more heads their intervals are a thicket: then only those of heads that stand out are drawn.
_INTERVALS_UP_TO = 64
_SHAPES = {"both": "diamond", "x_only": "triangle-right", "y_only": "triangle-up", "others": "circle"}


def comparison_scatter(found: Comparison, picked: Head | None, look: Look) -> go.Figure:
    """A point for each head that has both numbers. A click is reported by the last trace, `customdata` the head's name."""
    heads = _heads(found)
    groups = _groups(found, heads)
    standing_out = [head for name in ("both", "x_only", "y_only") for head in groups[name]]
    (left, right), (low, high) = _range(found.x, heads), _range(found.y, heads)
    figure = go.Figure()
    _lines(figure, found, (max(left, low), min(right, high)), look)
    shown = heads if len(heads) <= _INTERVALS_UP_TO else standing_out
    figure.add_trace(_intervals(shown, found, look))
    for name, members in groups.items():
        figure.add_trace(_points(members, found, heads, _SHAPES[name], _SMALL if name == "others" else _LARGE, look))
    figure.add_trace(_names(standing_out, found, (left, right), (low, high), look))
    if picked is not None and picked in heads:
        [x], [y] = _places([picked], found)
        figure.add_trace(picked_mark(x, y, look.px(22), look))
    figure.add_trace(click_markers(*_places(heads, found), heads, [_hover(head, found) for head in heads], look.px(16)))
    styled(
        figure,
        look,
        height=look.px(_HEIGHT + (60 if found.colour else 0)),
        margin={"t": look.px(24 if found.colour is None else 84), "b": look.px(64), "r": look.px(24)},
    )
    figure.update_xaxes(title_text=_title(found.x), range=[left, right])
    figure.update_yaxes(title_text=_title(found.y), range=[low, high])
    return figure


def describe_comparison(found: Comparison) -> str:
    """The scatter in words, for somebody who cannot see it."""
    colour = "" if found.colour is None else f", coloured by {found.colour.words}"
    return (
        f"Scatter of {found.x.words} across and {found.y.words} up, for {counted(len(_heads(found)), 'head')}, a "
        f"point each{colour}."
    )


def marks_sentence(found: Comparison) -> str:
    """What the shapes and lines mean."""
    said = []
    if found.overlap is not None:
        k = found.overlap.k
        said.append(
            f"Diamonds: among the {k} highest of both. Triangles: among the {k} highest of one (to the right: what is across; "
            "upward: what is up) and in the lower half of the other."
        )
    over = [
        (way, intervals_over(axis.name))
        for way, axis in (("across", found.x), ("upward", found.y))
        if not np.isnan(axis.low).all()
    ]
    if len({units for _, units in over}) > 1:
        said.append(f"Thin lines: 95 % intervals, {' and '.join(f'{way} over {units}' for way, units in over)}.")
    elif over:
        said.append(f"Thin lines: 95 % intervals over {over[0][1]}.")
    if any(_level(axis) is not None for axis in (found.x, found.y)):
        said.append("Dotted: chance.")
    if _same_scale(found):
        said.append("Dashed: where both are equal.")
    return " ".join(said)


def _heads(found: Comparison) -> list[Head]:
    known = ~(np.isnan(found.x.values) | np.isnan(found.y.values))
    return [Head(int(layer), int(head)) for layer, head in np.argwhere(known)]


def _groups(found: Comparison, heads: Sequence[Head]) -> dict[str, HeadSet]:
    named: dict[str, HeadSet] = {
        "both": () if found.overlap is None else found.overlap.shared,
        "x_only": found.x_only,
        "y_only": found.y_only,
    }
    out = {head for members in named.values() for head in members}
    return {"others": tuple(head for head in heads if head not in out), **named}


def _places(heads: Iterable[Head], found: Comparison) -> tuple[list[float], list[float]]:
    listed = list(heads)
    return [float(found.x.values[head]) for head in listed], [float(found.y.values[head]) for head in listed]


def _range(axis: Axis, heads: Sequence[Head]) -> tuple[float, float]:
    """The quantity's fixed scale, or room for all its values."""
    if axis.quantity.limits is not None:
        low, high = axis.quantity.limits
    else:
        values = [float(axis.values[head]) for head in heads] or [0.0]
        low, high = min(values), max(values)
        if low == high:
            low, high = low - 0.5, high + 0.5
    return low - 0.04 * (high - low), high + 0.06 * (high - low)


def _lines(figure: go.Figure, found: Comparison, inside: tuple[float, float], look: Look) -> None:
    """Chance, zero where a quantity passes it, and where both are equal."""
    for axis, line, name in ((found.x, figure.add_vline, "x"), (found.y, figure.add_hline, "y")):
        level = _level(axis)
        at = {name: 0.0 if level is None else level}
        if level is not None:
            line(**at, line={"color": look.second, "dash": "dot", "width": look.px(1.5)})
        elif axis.quantity.signed:
            line(**at, line={"color": look.faint, "width": look.px(1.5)})
    if _same_scale(found):
        dash = {"color": look.muted, "dash": "dash", "width": look.px(1)}
        figure.add_trace(go.Scatter(x=list(inside), y=list(inside), mode="lines", line=dash, hoverinfo="skip", name="equal"))


def _level(axis: Axis) -> float | None:
    """Chance, where all layers have the same."""
    levels = axis.chance
    return None if np.isnan(levels).any() or np.ptp(levels) > 0 else float(levels[0])


def _same_scale(found: Comparison) -> bool:
    x, y = found.x.quantity, found.y.quantity
    return x.unit == y.unit and x.limits == y.limits and x.limits is not None


def _intervals(heads: Sequence[Head], found: Comparison, look: Look) -> go.Scatter:
    """Thin lines through each point, as far as its intervals; none where there are none."""
    x: list[float | None] = []
    y: list[float | None] = []
    for head in heads:
        across, up = float(found.x.values[head]), float(found.y.values[head])
        if not np.isnan(found.x.low[head]):
            x, y = [*x, float(found.x.low[head]), float(found.x.high[head]), None], [*y, up, up, None]
        if not np.isnan(found.y.low[head]):
            x, y = [*x, across, across, None], [*y, float(found.y.low[head]), float(found.y.high[head]), None]
    line = {"color": look.faint, "width": look.px(1)}
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="95 % interval")


def _points(members: HeadSet, found: Comparison, heads: Sequence[Head], symbol: str, size: float, look: Look) -> go.Scatter:
    x, y = _places(members, found)
    outline = {"color": look.ink, "width": look.px(1) if symbol != "circle" or found.colour is not None else 0}
    marker: dict[str, Any] = {"size": look.px(size), "symbol": symbol, "line": outline}
    if found.colour is None:
        marker["color"] = look.muted if symbol == "circle" else look.accent
    else:
        values = found.colour.values
        low, high = _colour_range(found.colour, values, heads)
        marker |= {
            "color": [None if np.isnan(values[head]) else float(values[head]) for head in members],
            "cmin": low,
            "cmax": high,
            "colorscale": colour_scale(signed=found.colour.quantity.signed),
        }
        # Once for all: the groups share one scale.
        if symbol == "circle":
            marker |= {"showscale": True, "colorbar": _bar(found.colour, look)}
    return go.Scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip")


def _colour_range(axis: Axis, values: Float[np.ndarray, "n_layers n_heads"], heads: Sequence[Head]) -> tuple[float, float]:
    """The fixed scale, else that of all values; of what has a sign, as far below zero as above."""
    if axis.quantity.limits is not None:
        return axis.quantity.limits
    known = [float(values[head]) for head in heads if not np.isnan(values[head])] or [0.0, 1.0]
    low, high = min(known), max(known)
    if axis.quantity.signed:
        reach = max(abs(low), abs(high)) or 1.0
        return -reach, reach
    return (low, high) if low < high else (low, low + 1.0)


def _bar(axis: Axis, look: Look) -> dict[str, Any]:
    """Above the picture: beside it, it would take half of a telephone's width."""
    title = {"text": _title(axis), "side": "top", "font": {"color": look.ink, "size": look.font_size}}
    place = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": 1.02, "yanchor": "bottom", "len": 0.9}
    return {"title": title, "thickness": look.px(12), "outlinewidth": 0, "tickfont": {"color": look.ink}, **place}


def _names(
    heads: Sequence[Head], found: Comparison, across: tuple[float, float], up: tuple[float, float], look: Look
) -> go.Scatter:
    """Names of the heads that stand out, as far as there is room."""
    (left, right), (low, high) = across, up
    width, height = inner_width(_INNER_WIDTH, look), look.px(_INNER_HEIGHT)

    def along(value: float) -> float:
        return (value - left) / (right - left) * width

    def down(value: float) -> float:
        return (high - value) / (high - low) * height

    def pixels(some: Sequence[Head]) -> list[tuple[float, float]]:
        return [(along(a), down(b)) for a, b in zip(*_places(some, found), strict=True)]

    every = _heads(found)
    sides = [(along(float(found.x.low[head])), along(float(found.x.high[head]))) for head in every]
    ends = [(down(float(found.y.high[head])), down(float(found.y.low[head]))) for head in every]
    drawn = drawn_boxes(pixels(every), look.px(_SMALL), sides, ends)
    x, y = _places(heads, found)
    labels = names(heads)
    places = placed_labels(pixels(heads), labels, look.font_size, look.px(13), width, height, drawn)
    kept = [index for index, place in enumerate(places) if place is not None]
    return go.Scatter(
        x=[x[index] for index in kept],
        y=[y[index] for index in kept],
        mode="markers+text",
        # Not seen: they keep the names off the points.
        marker={"size": look.px(_LARGE + 4), "opacity": 0},
        text=[labels[index] for index in kept],
        textposition=[places[index] for index in kept],
        textfont={"size": look.font_size - 1, "color": look.ink},
        hoverinfo="skip",
        name="names",
    )


def _hover(head: Head, found: Comparison) -> str:
    said = [f"<b>{head.name}</b>"]
    for axis in (found.x, found.y, *([] if found.colour is None else [found.colour])):
        low, high = axis.low[head], axis.high[head]
        between = "" if np.isnan(low) else f" ({interval(low, high)})"
        said.append(f"{html.escape(axis.words)} {unsigned(axis.values[head])}{between}")
    return "<br>".join(said)


def _title(axis: Axis) -> str:
    """Escaped: what a person's own numbers are called must not become markup."""
    return html.escape(f"{axis.words} ({axis.quantity.unit})")
