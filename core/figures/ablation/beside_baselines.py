"""Before and after on one line of nats, with the same ablation of other heads beside it: one row a head set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.ablation.baselines import range_of
from core.behaviour import Losses
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.numbers import counted

_ROW = 92
# A note in its box, which must not meet the one above it: `core/ui/frame/screen_fit.js` hides what does.
_LINE = 24


@dataclass(frozen=True)
class BesideRow:
    """One head set: its name, its second-copy loss once taken away, and that of each other set (empty while unknown).

    bound: without any head of its layers; None while unknown.
    """

    name: str
    ablated: float
    baselines: Float[np.ndarray, " baselines"]
    bound: float | None = None


def beside_baselines(rows: Sequence[BesideRow], clean: Losses, look: Look) -> go.Figure:
    """Second-copy losses in nats: untouched, without the set (diamond), without others (rings and their range), the bound."""
    figure = go.Figure()
    places = list(range(len(rows)))[::-1]
    for row, y in zip(rows, places, strict=True):
        if len(row.baselines):
            low, high, _ = range_of(row.baselines)
            box = {"x0": low, "x1": high, "y0": y - 0.3, "y1": y + 0.3}
            figure.add_shape(type="rect", **box, fillcolor=look.second, opacity=0.25, line={"width": 0}, layer="below")
        figure.add_trace(_dots(row.baselines, y, look))
        if row.bound is not None:
            figure.add_trace(_bound(row.bound, y, look))
    figure.add_trace(_changes(rows, places, clean.second_copy, look))
    figure.add_trace(
        go.Scatter(
            x=[row.ablated for row in rows],
            y=places,
            mode="markers",
            marker={"size": look.px(18), "symbol": "diamond", "color": look.accent, "line": {"color": look.ink, "width": 1}},
            hovertemplate="without these heads %{x:.3f} nats<extra></extra>",
            name="without these heads",
        )
    )
    bounds = [row.bound for row in rows if row.bound is not None]
    losses = np.concatenate([bounds, *([row.ablated, *row.baselines] for row in rows)])
    top = max(clean.first_copy, clean.second_copy, float(losses.max()))
    _reference_lines(figure, clean, top, look)
    for row, y in zip(rows, places, strict=True):
        _write(figure, row.ablated, y, look)
    styled(figure, look, height=look.px(_ROW * len(rows) + 150), margin={"t": look.px(76), "r": look.px(24)})
    figure.update_xaxes(title_text="loss on the second copy (nats)", range=[-0.02 * top, 1.06 * top])
    figure.update_yaxes(
        tickvals=places, ticktext=[row.name for row in rows], range=[-0.55, len(rows) - 0.35], showgrid=False, ticks=""
    )
    return figure


def describe_beside(rows: Sequence[BesideRow], clean: Losses) -> str:
    """The picture in words, for somebody who cannot see it."""
    said = []
    for row in rows:
        low, high, _ = range_of(row.baselines)
        count = len(row.baselines)
        beside = f"{counted(count, 'other set')}: {low:.2f} to {high:.2f}" if count else "no other sets"
        beside += "" if row.bound is None else f", all heads of these layers: {row.bound:.2f}"
        said.append(f"without {row.name}: {row.ablated:.2f}, {beside}")
    return (
        f"Second-copy loss in nats on a line. Nothing taken away: {clean.second_copy:.2f}; first copy {clean.first_copy:.2f}; "
        + "; ".join(said)
        + "."
    )


def _write(figure: go.Figure, value: float, y: float, look: Look) -> None:
    """The loss above its diamond, readable on any line behind it."""
    figure.add_annotation(
        x=value,
        y=y,
        yshift=look.px(24),
        text=f"<b>{value:.2f}</b>",
        font={"size": look.font_size + 2},
        bgcolor=look.paper,
        showarrow=False,
    )


def _dots(baselines: Float[np.ndarray, " baselines"], y: float, look: Look) -> go.Scatter:
    # Spread up and down, in a fixed order, so that equal losses stay apart.
    spread = y + 0.22 * np.cos(np.arange(len(baselines)) * 2.4)
    return go.Scatter(
        x=baselines,
        y=spread,
        mode="markers",
        marker={"size": look.px(9), "symbol": "circle-open", "color": look.second, "line": {"width": look.px(2)}},
        hovertemplate="another set %{x:.3f} nats<extra></extra>",
        name="other sets",
    )


def _bound(value: float, y: float, look: Look) -> go.Scatter:
    """A bar upright: what taking away every head of the set's layers costs."""
    return go.Scatter(
        x=[value, value],
        y=[y - 0.3, y + 0.3],
        mode="lines",
        line={"color": look.second, "width": look.px(4)},
        hovertemplate="without any head of these layers %{x:.3f} nats<extra></extra>",
        name="all heads of these layers",
    )


def _changes(rows: Sequence[BesideRow], places: list[int], clean: float, look: Look) -> go.Scatter:
    """A line from untouched to ablated in each row."""
    x: list[float | None] = []
    y: list[float | None] = []
    for row, place in zip(rows, places, strict=True):
        x += [clean, row.ablated, None]
        y += [place, place, None]
    return go.Scatter(x=x, y=y, mode="lines", line={"color": look.accent, "width": look.px(3)}, hoverinfo="skip", name="change")


def _reference_lines(figure: go.Figure, clean: Losses, top: float, look: Look) -> None:
    """Untouched and first copy, named above the picture, one above the other: on a narrow one they would meet."""
    before, first = f"untouched {clean.second_copy:.2f}", f"first copy {clean.first_copy:.2f}"
    for line, (value, word) in enumerate(((clean.second_copy, before), (clean.first_copy, first))):
        figure.add_annotation(
            x=value,
            y=1,
            yref="paper",
            yanchor="bottom",
            yshift=line * look.px(_LINE),
            xanchor="left" if value < top / 2 else "right",
            text=word,
            showarrow=False,
            font={"color": look.ink},
        )
    for value, dash in ((clean.second_copy, "solid"), (clean.first_copy, "dash")):
        figure.add_vline(x=value, line={"color": look.ink, "dash": dash, "width": look.px(2)})
