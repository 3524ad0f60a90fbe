"""Score against effect, a point a head: does looking mean mattering?"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.agreement import QUADRANTS, Quadrant, quadrants
from core.figures.effect_map import effect_text
from core.figures.head_marks import Head, click_markers
from core.figures.labels import placed_labels
from core.figures.style import Look, styled
from core.scores import ALL_SCORES, head_name
from core.tables import value_range

_HEIGHT = 480
# The picture's inner size on a usual screen, for deciding which names have room.
_INNER_WIDTH, _INNER_HEIGHT = 820, 380
_NAMED = 24
_SYMBOLS: dict[Quadrant, str] = {"both": "circle", "looks": "circle-open", "matters": "diamond", "neither": "circle"}


def score_effect(
    scores: Float[np.ndarray, "n_layers n_heads"],
    score: str,
    effect: Float[np.ndarray, "n_layers n_heads"],
    threshold: float,
    floor: float,
    picked: Head | None,
    look: Look,
) -> go.Figure:
    """`scores` across, `effect` (nats) up; the threshold and the floor divide it into four, each named with its count.

    Heads not measured yet (NaN) are left out. A click is reported by the last trace, `customdata` the head's name.
    """
    parts = quadrants(scores, effect, threshold, floor)
    low, high = _effect_range(effect, floor)
    left, right = value_range(score)
    left, right = left - 0.03, right + 0.03
    figure = go.Figure()
    for quadrant, heads in parts.items():
        figure.add_trace(_points(quadrant, heads, scores, effect, look))
    figure.add_traces(_rings(scores, effect, threshold, look))
    named = _names(parts, scores, effect, (left, right), (low, high), look)
    if named is not None:
        figure.add_trace(named)
    if picked is not None and not np.isnan(effect[picked]):
        figure.add_trace(_picked_mark(scores[picked], effect[picked], look))
    _lines(figure, threshold, floor, look)
    _corners(figure, parts, look)
    known = [(int(layer), int(head)) for layer, head in np.argwhere(~np.isnan(effect))]
    figure.add_trace(
        click_markers(
            [float(scores[head]) for head in known],
            [float(effect[head]) for head in known],
            known,
            [effect_text(head, effect, scores, score) for head in known],
            look.px(16),
        )
    )
    styled(figure, look, height=look.px(_HEIGHT), margin={"t": look.px(56), "b": look.px(96), "r": look.px(24)})
    figure.update_xaxes(title=f"{ALL_SCORES[score].title}; dashed: {threshold:.2f}", range=[left, right])
    figure.update_yaxes(title=f"effect (nats); dotted: ±{floor:.2f}", range=[low, high])
    return figure


def describe_score_effect(
    scores: Float[np.ndarray, "n_layers n_heads"],
    score: str,
    effect: Float[np.ndarray, "n_layers n_heads"],
    threshold: float,
    floor: float,
) -> str:
    """The scatter in words, for somebody who cannot see it."""
    parts = quadrants(scores, effect, threshold, floor)
    said = []
    for quadrant, heads in parts.items():
        names = [head_name(*head) for head in sorted(map(tuple, heads), key=lambda head: -abs(effect[head]))[:5]]
        listed = f" ({', '.join(names)}{' and others' if len(heads) > 5 else ''})" if quadrant != "neither" and names else ""
        said.append(f"{QUADRANTS[quadrant]}: {len(heads)}{listed}")
    return (
        f"Scatter of {ALL_SCORES[score].title} against the change in second-copy loss when a head is taken away alone, a point "
        f"a head, divided at score {threshold:.2f} and effect {floor:.2f} nats. " + "; ".join(said) + "."
    )


def _effect_range(effect: Float[np.ndarray, "n_layers n_heads"], floor: float) -> tuple[float, float]:
    """Room for all effects and for the floor's lines on both sides of zero."""
    known = effect[~np.isnan(effect)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    least, most = min(least, -2 * floor, 0.0), max(most, 2 * floor, 0.1)
    return least - 0.06 * (most - least), most + 0.1 * (most - least)


def _points(
    quadrant: Quadrant,
    heads: np.ndarray,
    scores: Float[np.ndarray, "n_layers n_heads"],
    effect: Float[np.ndarray, "n_layers n_heads"],
    look: Look,
) -> go.Scatter:
    colour = {"both": look.accent, "looks": look.accent, "matters": look.second, "neither": look.muted}[quadrant]
    return go.Scatter(
        x=[float(scores[tuple(head)]) for head in heads],
        y=[float(effect[tuple(head)]) for head in heads],
        mode="markers",
        marker={
            "size": look.px(8 if quadrant == "neither" else 12),
            "symbol": _SYMBOLS[quadrant],
            "color": colour,
            "line": {"width": look.px(2.5) if quadrant == "looks" else 0, "color": colour},
        },
        hoverinfo="skip",
        name=QUADRANTS[quadrant],
    )


def _rings(
    scores: Float[np.ndarray, "n_layers n_heads"], effect: Float[np.ndarray, "n_layers n_heads"], threshold: float, look: Look
) -> go.Scatter:
    above = np.argwhere((scores > threshold) & ~np.isnan(effect))
    return go.Scatter(
        x=[float(scores[tuple(head)]) for head in above],
        y=[float(effect[tuple(head)]) for head in above],
        mode="markers",
        marker={"size": look.px(20), "symbol": "circle-open", "color": look.ink, "line": {"width": look.px(1.5)}},
        hoverinfo="skip",
        name="above the threshold",
    )


def _names(
    parts: dict[Quadrant, np.ndarray],
    scores: Float[np.ndarray, "n_layers n_heads"],
    effect: Float[np.ndarray, "n_layers n_heads"],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    look: Look,
) -> go.Scatter | None:
    """Names of the heads outside "neither", the largest effect first, as far as there is room."""
    heads = [tuple(head) for quadrant in ("both", "matters", "looks") for head in parts[quadrant]]  # type: ignore[index]
    heads = sorted(heads, key=lambda head: -abs(effect[head]))[:_NAMED]
    points = [
        (
            (float(scores[head]) - x_range[0]) / (x_range[1] - x_range[0]) * _INNER_WIDTH,
            (y_range[1] - float(effect[head])) / (y_range[1] - y_range[0]) * look.px(_INNER_HEIGHT),
        )
        for head in heads
    ]
    names = [head_name(*head) for head in heads]
    places = placed_labels(points, names, look.font_size, look.px(13), _INNER_WIDTH, look.px(_INNER_HEIGHT))
    shown = [(head, name, place) for head, name, place in zip(heads, names, places, strict=True) if place is not None]
    if not shown:
        return None
    return go.Scatter(
        x=[float(scores[head]) for head, _, _ in shown],
        y=[float(effect[head]) for head, _, _ in shown],
        mode="markers+text",
        # An unseen marker as large as the ring keeps the name off it.
        marker={"size": look.px(20), "opacity": 0},
        text=[name for _, name, _ in shown],
        textposition=[place for _, _, place in shown],
        textfont={"size": look.font_size - 1, "color": look.ink},
        hoverinfo="skip",
        name="names",
    )


def _picked_mark(x: float, y: float, look: Look) -> go.Scatter:
    return go.Scatter(
        x=[float(x)],
        y=[float(y)],
        mode="markers",
        marker={"size": look.px(24), "symbol": "square-open", "color": look.ink, "line": {"width": look.px(3)}},
        hoverinfo="skip",
        name="picked",
    )


def _lines(figure: go.Figure, threshold: float, floor: float, look: Look) -> None:
    figure.add_vline(x=threshold, line={"color": look.accent, "dash": "dash", "width": look.px(2)})
    for value in (floor, -floor):
        figure.add_hline(y=value, line={"color": look.second, "dash": "dot", "width": look.px(1.5)})


def _corners(figure: go.Figure, parts: dict[Quadrant, np.ndarray], look: Look) -> None:
    """Each quadrant's name and count, above and below the picture, where no point can hide them."""
    for quadrant, x, y, anchor in (
        ("matters", 0.0, 1.0, "left"),
        ("both", 1.0, 1.0, "right"),
        ("neither", 0.0, 0.0, "left"),
        ("looks", 1.0, 0.0, "right"),
    ):
        figure.add_annotation(
            x=x,
            y=y,
            xref="paper",
            yref="paper",
            xanchor=anchor,
            yanchor="bottom" if y else "top",
            yshift=look.px(6) if y else -look.px(66),
            text=f"<b>{QUADRANTS[quadrant]}: {len(parts[quadrant])}</b>",  # type: ignore[index]
            showarrow=False,
        )
