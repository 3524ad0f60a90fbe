"""Verdicts as pictures: labels by layer and head, contrasts with their intervals, and the placebo offsets of one head."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.figures.base.head_map import frame_shapes, row_height
from core.figures.base.head_traces import click_markers, picked_mark
from core.figures.base.overlay import THRESHOLD, Overlay, threshold_line, words
from core.figures.base.style import BUTTONS, Look
from core.figures.base.styled import styled
from core.heads import Head, every_head
from core.numbers import counted, with_interval
from core.settings.view import FLOOR_SLIDER
from core.verdicts.judge import Verdict
from core.verdicts.labels import MATCHING, Label

# A letter and a colour for each label (Okabe and Ito's palette), black letters on all of them.
LETTERS: dict[Label, str] = {
    "induction": "I",
    "anti-induction": "A",
    "matching, no effect": "M",
    "undecided": "?",
    "positional impostor": "X",
    "previous token": "P",
    "duplicate token": "D",
    "sink": "S",
    "none": "",
}
_COLOURS: dict[Label, str] = {
    "induction": "#e69f00",
    "anti-induction": "#d55e00",
    "matching, no effect": "#f0e442",
    "undecided": "#f6c98a",
    "positional impostor": "#cc79a7",
    "previous token": "#56b4e9",
    "duplicate token": "#009e73",
    "sink": "#9aa3b2",
}
_MARKERS: dict[Label, str] = {
    "induction": "circle",
    "anti-induction": "x",
    "matching, no effect": "diamond",
    "undecided": "circle-open",
    "positional impostor": "triangle-up",
}
_ROW = 30


def label_map(verdicts: Sequence[Verdict], picked: Head | None, look: Look) -> go.Figure:
    """Layer by head: a letter and a colour for each label; a click is reported by the last trace."""
    n_layers, n_heads = 1 + max(v.head.layer for v in verdicts), 1 + max(v.head.head for v in verdicts)
    labels = list(LETTERS)
    # A head that does not exist has an empty cell.
    cells = np.full((n_layers, n_heads), np.nan)
    for verdict in verdicts:
        cells[verdict.head] = labels.index(verdict.label)
    row = row_height(n_layers, look)
    figure = go.Figure(
        go.Heatmap(
            z=cells,
            zmin=-0.5,
            zmax=len(labels) - 0.5,
            colorscale=_steps([_colour(label, look) for label in labels]),
            showscale=False,
            xgap=1,
            ygap=1,
            hoverinfo="skip",
        )
    )
    size = min(look.font_size, round(row * 0.62))
    written = [verdict for verdict in verdicts if LETTERS[verdict.label]]
    figure.add_trace(
        go.Scatter(
            x=[verdict.head.head for verdict in written],
            y=[verdict.head.layer for verdict in written],
            mode="text",
            text=[f"<b>{LETTERS[verdict.label]}</b>" for verdict in written],
            textfont={"size": size, "color": "#000000"},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    _legend(figure, [label for label in labels if any(v.label == label for v in verdicts)], look)
    if picked is not None:
        figure.update_layout(shapes=frame_shapes(picked, look))
    by_place = {verdict.head: verdict for verdict in verdicts}
    heads = [head for head in every_head(*cells.shape) if head in by_place]
    texts = [_hover(by_place[head]) for head in heads]
    clicks = click_markers([h for _, h in heads], [layer for layer, _ in heads], heads, texts, row * 0.9)
    figure.add_trace(clicks | {"showlegend": False})
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False}
    styled(figure, look, height=round(n_layers * row) + look.px(150), margin={"t": look.px(78)})
    figure.update_layout(showlegend=True, legend=legend | {"font": {"color": look.ink}})
    figure.update_xaxes(title_text="head", range=[-0.5, n_heads - 0.5], showgrid=False, dtick=1 if n_heads <= 16 else 4)
    figure.update_yaxes(title_text="layer", range=[n_layers - 0.5, -0.5], showgrid=False, dtick=1 if row >= look.px(24) else 5)
    return figure


def describe_label_map(verdicts: Sequence[Verdict]) -> str:
    """The map in words, for somebody who cannot see it."""
    parts = []
    for label in LETTERS:
        names = [verdict.name for verdict in verdicts if verdict.label == label]
        if names and label != "none":
            parts.append(f"{label}: {', '.join(names[:12])}{' and more' if len(names) > 12 else ''}")
    none = sum(verdict.label == "none" for verdict in verdicts)
    return (
        f"Map of the labels of {counted(len(verdicts), 'head')}. {'; '.join(parts) or 'No head has a label'}; "
        f"without label: {none}."
    )


def contrast_intervals(verdicts: Sequence[Verdict], picked: Head | None, look: Look) -> go.Figure:
    """One row a head: the mean contrast and its 95 % interval; the last trace takes clicks."""
    places = list(range(len(verdicts)))[::-1]
    figure = go.Figure()
    for label in dict.fromkeys(verdict.label for verdict in verdicts):
        chosen = [(v, y) for v, y in zip(verdicts, places, strict=True) if v.label == label]
        figure.add_trace(
            go.Scatter(
                x=[v.contrast.value for v, _ in chosen],
                y=[y for _, y in chosen],
                mode="markers",
                marker={
                    "size": look.px(11),
                    "symbol": _MARKERS.get(label, "circle-open"),
                    "color": look.accent if label in MATCHING else look.muted,
                },
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [v.contrast.high - v.contrast.value for v, _ in chosen],
                    "arrayminus": [v.contrast.value - v.contrast.low for v, _ in chosen],
                    "thickness": look.px(2.5),
                    "width": look.px(5),
                },
                name=label,
                hoverinfo="skip",
            )
        )
    heads = [verdict.head for verdict in verdicts]
    contrasts = [verdict.contrast.value for verdict in verdicts]
    if picked in heads:
        row = heads.index(picked)
        figure.add_trace(picked_mark(contrasts[row], places[row], look.px(22), look))
    figure.add_trace(click_markers(contrasts, places, heads, [_hover(v) for v in verdicts], look.px(_ROW * 0.8)))
    # The floor's name can stand anywhere above the plot, also where the buttons are.
    styled(figure, look, height=look.px(_ROW * len(verdicts) + 74) + BUTTONS, margin={"t": look.px(20) + BUTTONS})
    low = min(-0.1, *(verdict.contrast.low - 0.05 for verdict in verdicts))
    figure.update_xaxes(title_text="contrast: induction less its control", range=[low, 1.04])
    figure.update_yaxes(
        tickvals=places,
        ticktext=[f"{verdict.name} · {verdict.label}" for verdict in verdicts],
        range=[-0.7, len(verdicts) - 0.3],
        showgrid=False,
    )
    return figure


def floor_overlay(floor: float, look: Look) -> Overlay:
    """The contrast floor over `contrast_intervals`, which follows its own slider."""
    shift = (0, -look.px(8))
    name = words(
        "contrast floor {threshold}", THRESHOLD, "top", colour=look.second, size=look.font_size, shift=shift, anchor="middle"
    )
    return Overlay(
        f"The contrast floor is at {floor:.2f}.", floor, (threshold_line("x", look, look.second), name), FLOOR_SLIDER
    )


def describe_intervals(verdicts: Sequence[Verdict], floor: float) -> str:
    """The intervals in words, for somebody who cannot see them."""
    said = "; ".join(
        f"{v.name} {with_interval(v.contrast.value, v.contrast.low, v.contrast.high, floor)}, {v.label}" for v in verdicts
    )
    return f"Contrast of {counted(len(verdicts), 'head')} with 95 % intervals beside the contrast floor {floor:.2f}: {said}."


def placebo_bars(
    name: str,
    offsets: Sequence[int],
    values: Float[np.ndarray, " offsets"],
    control: float | None,
    length: int,
    look: Look,
) -> go.Figure:
    """Attention at each offset back; the induction offset `length - 1` stands out by colour and by its name.

    control: the same head's attention at that offset when the second half is fresh tokens: a bar of its own, last; None
    without one.
    """
    real = [offset == length - 1 for offset in offsets]
    heights = [*map(float, values), *([] if control is None else [control])]
    names = [f"<b>{offset}</b>" if is_real else str(offset) for offset, is_real in zip(offsets, real, strict=True)]
    colours = [look.accent if is_real else look.muted for is_real in real]
    hatching = ["" if is_real else "/" for is_real in real]
    if control is not None:
        names, colours, hatching = [*names, f"<b>{length - 1}</b><br>fresh tokens"], [*colours, look.second], [*hatching, "x"]
    places = list(range(len(heights)))
    figure = go.Figure(
        go.Bar(
            x=places,
            y=heights,
            marker={"color": colours, "pattern": {"shape": hatching}},
            text=[f"{height:.2f}" for height in heights],
            textposition="outside",
            cliponaxis=False,
            customdata=names,
            hovertemplate="%{customdata}: %{y:.3f}<extra></extra>",
        )
    )
    styled(figure, look, height=look.px(270), bargap=0.2)
    figure.update_xaxes(
        title_text=f"how many tokens back ({length - 1}: after the earlier copy)",
        tickvals=places,
        ticktext=names,
        showgrid=False,
    )
    figure.update_yaxes(title_text=f"attention of {name}", range=[0, 1.2], dtick=0.5)
    return figure


def describe_placebo(
    name: str, offsets: Sequence[int], values: Float[np.ndarray, " offsets"], control: float | None, length: int
) -> str:
    """The bars in words."""
    said = ", ".join(f"{offset}: {value:.2f}" for offset, value in zip(offsets, values, strict=True))
    fresh = "" if control is None else f" On fresh tokens {length - 1} gets {control:.2f}."
    return f"Attention of {name} by how many tokens it looks back; {length - 1} is the induction offset. {said}.{fresh}"


def _colour(label: Label, look: Look) -> str:
    return _COLOURS.get(label, look.faint)


def _steps(colours: Sequence[str]) -> list[list[float | str]]:
    """A colour scale of equal steps."""
    count = len(colours)
    return [[edge / count, colour] for i, colour in enumerate(colours) for edge in (i, i + 1)]


def _legend(figure: go.Figure, labels: Sequence[Label], look: Look) -> None:
    for label in labels:
        letter = f"<b>{LETTERS[label]}</b> " if LETTERS[label] else ""
        marker = {
            "symbol": "square",
            "size": look.px(13),
            "color": _colour(label, look),
            "line": {"color": look.muted, "width": 1},
        }
        figure.add_trace(go.Scatter(x=[None], y=[None], mode="markers", marker=marker, name=f"{letter}{label}"))


def _hover(verdict: Verdict) -> str:
    lines = [
        ("contrast", verdict.contrast, 2),
        ("with the copy rotated", verdict.rotation_contrast, 2),
        ("more than beside it", verdict.specificity, 2),
        ("total effect", verdict.total_effect, 3),
        ("direct effect", verdict.direct_effect, 3),
    ]
    said = "".join(
        f"<br>{what} {found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
        for what, found, digits in lines
        if not math.isnan(found.value)
    )
    return f"<b>{verdict.name}</b>: {verdict.label}{said}<br>q {verdict.q:.4f}"
