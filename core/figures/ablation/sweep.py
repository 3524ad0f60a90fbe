"""The sweep: what each threshold buys, beside other heads."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.ablation.sweep import Sweep
from core.ablation.words import change_words
from core.figures.base.overlay import Overlay, name_of_line, threshold_line
from core.figures.base.style import Look, see_through
from core.figures.base.styled import styled
from core.numbers import counted, share
from core.settings.modes import Mode

# Shares of the figure's height.
_UPPER, _BETWEEN = 0.74, 0.05
# Smaller numbers are not written: hovering says them.
_LEAST_FONT = 9
# Further to the right a telephone has no room for a name beside its point.
_ROOM_FOR_A_NAME = 0.65
_DASHES: dict[Mode, str] = {"zero": "dash", "mean": "solid", "resample": "dot", "pattern": "dashdot"}


def sweep_curve(
    sweep: Sweep, mode: Mode, threshold: float | None, look: Look, others: Mapping[Mode, Sweep] | None = None
) -> go.Figure:
    """Second-copy loss (nats) by threshold above, heads taken away below; `threshold` is a line through the loss.

    threshold: None where the line is drawn by `sweep_overlay` and moves by itself.
    `others`: sweeps of other modes over the same thresholds, as thin lines.
    """
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        row_heights=[_UPPER, 1 - _UPPER],
        vertical_spacing=_BETWEEN,
        specs=[[{"secondary_y": True}], [{}]],
    )
    x = [row.threshold for row in sweep.rows]
    _add_baselines(figure, sweep, look)
    for name, other in (others or {}).items():
        figure.add_trace(
            go.Scatter(
                x=x,
                y=[row.second_copy for row in other.rows],
                mode="lines+markers",
                marker={"size": look.px(4)},
                line={"color": look.muted, "width": look.px(1.5), "dash": _DASHES[name]},
                customdata=[change_words(row.change, other.n_sequences) for row in other.rows],
                hovertemplate=f"{name}: threshold %{{x:.2f}}, %{{y:.2f}} nats, %{{customdata}}<extra></extra>",
                name=name,
            ),
            row=1,
            col=1,
        )
    figure.add_trace(
        go.Scatter(
            x=x,
            y=[row.second_copy for row in sweep.rows],
            mode="lines+markers",
            line={"color": look.accent, "width": look.px(3)},
            marker={"size": look.px(9)},
            customdata=[change_words(row.change, sweep.n_sequences) for row in sweep.rows],
            hovertemplate="threshold %{x:.2f}: %{y:.2f} nats, %{customdata}<extra></extra>",
            name=f"without the heads above it ({mode})",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Bar(
            x=x,
            y=[row.n_heads for row in sweep.rows],
            width=0.6 * _spacing(x),
            marker={"color": look.muted},
            text=[row.n_heads for row in sweep.rows],
            textposition="outside",
            cliponaxis=False,
            customdata=[counted(row.n_heads, "head") for row in sweep.rows],
            hovertemplate="threshold %{x:.2f}: %{customdata}<extra></extra>",
            showlegend=False,
            name="heads",
        ),
        row=2,
        col=1,
    )
    _finish(figure, sweep, threshold, others or {}, look)
    return figure


def describe_sweep(sweep: Sweep, mode: Mode) -> str:
    """The curve in words, for somebody who cannot see it."""
    lowest, highest = sweep.rows[0], sweep.rows[-1]
    knee = f" The curve bends most at {sweep.knee:.2f}." if sweep.knee is not None else " The curve has no bend."
    return (
        f"Second-copy loss by threshold, {mode} ablation: {lowest.second_copy:.2f} nats at {lowest.threshold:.2f} "
        f"({counted(lowest.n_heads, 'head')}) to {highest.second_copy:.2f} at {highest.threshold:.2f} "
        f"({counted(highest.n_heads, 'head')}); "
        f"untouched {sweep.clean.second_copy:.2f}.{knee}"
    )


def _add_baselines(figure: go.Figure, sweep: Sweep, look: Look) -> None:
    """The range of other sets where it is known; thresholds that keep no head have none."""
    known = [row for row in sweep.rows if not math.isnan(row.baseline_low)]
    if not known:
        return
    x = [row.threshold for row in known]
    figure.add_trace(
        go.Scatter(
            x=x + x[::-1],
            y=[row.baseline_high for row in known] + [row.baseline_low for row in known][::-1],
            fill="toself",
            fillcolor=see_through(look.second),
            line={"color": look.second, "width": look.px(1.5)},
            hoverinfo="skip",
            name="without as many other heads (range)",
        ),
        row=1,
        col=1,
    )
    figure.add_trace(
        go.Scatter(
            x=x,
            y=[row.baseline_mean for row in known],
            mode="markers",
            marker={"size": look.px(7), "symbol": "circle-open", "color": look.second},
            customdata=[[row.baseline_low, row.baseline_high] for row in known],
            hovertemplate="threshold %{x:.2f}: other heads %{y:.2f} on average "
            "(%{customdata[0]:.2f} to %{customdata[1]:.2f})<extra></extra>",
            showlegend=False,
            name="other heads",
        ),
        row=1,
        col=1,
    )


def sweep_overlay(threshold: float, look: Look) -> Overlay:
    """The threshold as a line through the loss; through the bars it would strike out their numbers."""
    line = threshold_line("x", look, begins=1 - _UPPER * (1 - _BETWEEN))
    return Overlay(f"The line is at {threshold:.2f}.", threshold, (line, name_of_line(look)))


def _finish(figure: go.Figure, sweep: Sweep, threshold: float | None, others: Mapping[Mode, Sweep], look: Look) -> None:
    if threshold is not None:
        figure.add_vline(x=threshold, line={"color": look.accent, "dash": "dash", "width": look.px(2)}, row=1, col=1)
    figure.add_hline(y=sweep.clean.second_copy, line={"color": look.ink, "dash": "dot", "width": look.px(1.5)}, row=1, col=1)
    if sweep.knee is not None:
        _mark_knee(figure, sweep, look)
    losses = [row.second_copy for one in (sweep, *others.values()) for row in one.rows]
    highs = [row.baseline_high for row in sweep.rows if not math.isnan(row.baseline_high)]
    top = max([*losses, *highs, sweep.clean.second_copy + 0.1])
    most = max(row.n_heads for row in sweep.rows)
    styled(
        figure,
        look,
        height=look.px(560) + look.buttons,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"color": look.ink}},
        margin={"t": look.px(64 if not look.large else 84) + look.buttons},
    )
    figure.update_layout(showlegend=True, uniformtext={"minsize": _LEAST_FONT, "mode": "hide"})
    x = [row.threshold for row in sweep.rows]
    figure.update_xaxes(range=[min(x) - 0.04, max(x) + 0.04], showgrid=False)
    dashed = "the slider's" if threshold is None else f"{threshold:.2f}"
    figure.update_xaxes(title_text=f"threshold (dashed: {dashed})", row=2, col=1)
    figure.update_yaxes(title_text="loss on second copy (nats)", range=[0, 1.08 * top], row=1, col=1, secondary_y=False)
    if sweep.clean.has_gain:
        _recovered_axis(figure, sweep, 1.08 * top)
    figure.update_yaxes(title_text="heads", range=[0, 1.35 * max(1, most)], row=2, col=1)


def _recovered_axis(figure: go.Figure, sweep: Sweep, top: float) -> None:
    """The same curve read as a share of the gain that is lost, at the right edge."""
    ends = [(loss - sweep.clean.second_copy) / sweep.clean.gain for loss in (0.0, top)]
    # An axis is drawn only if something lies on it.
    nothing = go.Scatter(x=[sweep.rows[0].threshold], y=[0.0], mode="markers", marker={"opacity": 0}, showlegend=False)
    figure.add_trace(nothing.update(hoverinfo="skip"), row=1, col=1, secondary_y=True)
    step = 0.25 if ends[1] < 1.6 else 0.5
    ticks = [step * place for place in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1)]
    figure.update_yaxes(
        title_text="gain lost",
        range=ends,
        tickvals=ticks,
        ticktext=[share(tick) for tick in ticks],
        showgrid=False,
        row=1,
        col=1,
        secondary_y=True,
    )


def _mark_knee(figure: go.Figure, sweep: Sweep, look: Look) -> None:
    [row] = [row for row in sweep.rows if row.threshold == sweep.knee]
    # To the right of the point, unless a telephone has no room there but the right axis' own words: then below the curve, as
    # the threshold's own name stands above it.
    first, last = sweep.rows[0].threshold, sweep.rows[-1].threshold
    beyond = look.narrow and row.threshold > first + _ROOM_FOR_A_NAME * (last - first)
    figure.add_annotation(
        x=row.threshold,
        y=row.second_copy,
        text=f"<b>knee {row.threshold:.2f}</b>",
        ax=0 if beyond else look.px(44 if look.narrow else 58),
        ay=look.px(30 if beyond else -30),
        xanchor="right" if beyond else "auto",
        arrowcolor=look.ink,
        arrowwidth=look.px(1.5),
        bgcolor=look.paper,
        row=1,
        col=1,
    )


def _spacing(x: list[float]) -> float:
    return float(np.diff(x).min()) if len(x) > 1 else 0.05
