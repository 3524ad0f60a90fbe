"""Heads on text against the same heads on random tokens, a point each: outliers by name."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from core.figures.base.head_traces import click_markers, picked_mark
from core.figures.base.labels import drawn_boxes, inner_width, placed_labels
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.heads import Head, HeadSet, every_head, names
from core.numbers import counted, unsigned, with_interval
from core.text.natural_scores import LIFT_FLOOR
from core.verdicts.on_text import OnText, TextLabel

_HEIGHT = 460
_INNER_WIDTH, _INNER_HEIGHT = 820, 370
_NAMED = 20
# Symbol and size of each label; the colour is filled in by the theme.
_MARKS: dict[TextLabel, tuple[str, int]] = {
    "neither": ("circle", 7),
    "on text too": ("diamond", 13),
    "random only": ("circle-open", 12),
    "undecided on text": ("diamond-open", 12),
    "text only": ("triangle-up", 12),
}


def text_scatter(found: OnText, picked: Head | None, look: Look) -> go.Figure:
    """The induction score on random tokens across, the lift on text up, with its interval; heads that match are marked.

    A click is reported by the last trace, `customdata` the head's name.
    """
    lift = found.judged
    heads = tuple(head for head in every_head(*lift.value.shape) if not np.isnan(lift.value[head]))
    figure = go.Figure()
    lines_x: list[float | None] = []
    lines_y: list[float | None] = []
    for head in heads:
        lines_x += [float(found.random[head])] * 2 + [None]
        lines_y += [float(lift.low[head]), float(lift.high[head]), None]
    thin = {"color": look.muted, "width": look.px(1)}
    figure.add_trace(go.Scatter(x=lines_x, y=lines_y, mode="lines", line=thin, hoverinfo="skip", showlegend=False))
    colours = {"neither": look.muted, "text only": look.second, "random only": look.second}
    for label, (symbol, size) in _MARKS.items():
        some = found.labelled(label)
        colour = colours.get(label, look.accent)
        marker = {"symbol": symbol, "size": look.px(size), "color": colour, "line": {"width": look.px(2), "color": colour}}
        x, y = _places(found, some)
        figure.add_trace(go.Scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip", name=f"{label}: {len(some)}"))
    low, high = _range(found)
    named = tuple(head for label in _MARKS if label != "neither" for head in found.labelled(label))[:_NAMED]
    _name(figure, found, named, heads, (low, high), look)
    if picked in heads:
        [across], [up] = _places(found, (picked,))
        figure.add_trace(picked_mark(across, up, look.px(22), look))
    figure.add_hline(y=LIFT_FLOOR, line={"color": look.second, "dash": "dot", "width": look.px(1.5)})
    clicks = click_markers(*_places(found, heads), heads, [_hover(found, head) for head in heads], look.px(14))
    figure.add_trace(clicks | {"showlegend": False})
    styled(figure, look, height=look.px(_HEIGHT), margin={"t": look.px(52)})
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False}
    figure.update_layout(showlegend=True, legend=legend | {"font": {"color": look.ink}})
    figure.update_xaxes(title_text="induction score on random tokens", range=[-0.03, 1.03])
    figure.update_yaxes(title_text=f"lift on text; dotted: {LIFT_FLOOR:.2f}", range=[low, high])
    return figure


def describe_text_scatter(found: OnText) -> str:
    """The scatter in words, for somebody who cannot see it."""
    parts = []
    for label in _MARKS:
        heads = found.labelled(label)
        if label != "neither" and heads:
            parts.append(f"{label}: {', '.join(names(heads[:8]))}{' and others' if len(heads) > 8 else ''}")
    return (
        "Scatter of the induction score on random tokens against the lift on text, a point a head, each lift with its interval "
        f"over {counted(found.judged.windows, 'window')}. {'; '.join(parts) or 'No head stands out'}."
    )


def _places(found: OnText, heads: HeadSet) -> tuple[list[float], list[float]]:
    return [float(found.random[head]) for head in heads], [float(found.judged.value[head]) for head in heads]


def _range(found: OnText) -> tuple[float, float]:
    """On a fixed scale where that has room."""
    lift = found.judged
    ends = np.concatenate([lift.low.ravel(), lift.high.ravel(), lift.value.ravel()])
    known = ends[~np.isnan(ends)]
    return min([-0.1, *known]) - 0.02, max([0.5, *known]) + 0.05


def _hover(found: OnText, head: Head) -> str:
    lift = found.judged
    written = with_interval(float(lift.value[head]), float(lift.low[head]), float(lift.high[head]), LIFT_FLOOR)
    return (
        f"<b>{head.name}</b>: {found.label(head)}<br>lift on text {written}"
        f"<br>on random tokens {unsigned(float(found.random[head]))}"
    )


def _name(figure: go.Figure, found: OnText, heads: HeadSet, every: HeadSet, span: tuple[float, float], look: Look) -> None:
    """Names of `heads` beside their points, as far as there is room; `every` head is drawn."""
    low, high = span
    width, height = inner_width(_INNER_WIDTH, look), look.px(_INNER_HEIGHT)

    def down(value: float) -> float:
        return (high - value) / (high - low) * height

    def pixels(some: HeadSet) -> list[tuple[float, float]]:
        return [((a + 0.03) / 1.06 * width, down(b)) for a, b in zip(*_places(found, some), strict=True)]

    x, y = _places(found, heads)
    lift = found.judged
    ends = [(down(float(lift.high[head])), down(float(lift.low[head]))) for head in every]
    drawn = drawn_boxes(pixels(every), look.px(7), up=ends)
    places = placed_labels(pixels(heads), names(heads), look.font_size, look.px(13), width, height, drawn)
    for head, place, across, up in zip(heads, places, x, y, strict=True):
        if place is not None:
            font = {"color": look.ink, "size": look.font_size - 1}
            # The marker is not seen: it keeps the name off the point.
            text = {"mode": "markers+text", "text": [head.name], "textposition": place, "textfont": font}
            text |= {"marker": {"size": look.px(16), "opacity": 0}}
            figure.add_trace(go.Scatter(x=[across], y=[up], hoverinfo="skip", showlegend=False, **text))
