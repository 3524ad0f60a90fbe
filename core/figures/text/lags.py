"""The lag profile: how likely the model holds the token at each distance from the earlier copy, with and without some heads."""

from __future__ import annotations

import math
from collections.abc import Mapping

import plotly.graph_objects as go

from core.attention.tables import Row
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.stats import Number


def lag_profile(before: Mapping[int, Number], after: Mapping[int, Number] | None, look: Look) -> go.Figure:
    """A point a lag with its interval; 1 is the token after the earlier copy, 0 the copy itself."""
    figure = go.Figure()
    shown = [("whole model", before, look.second, "circle", -0.12)]
    if after is not None:
        shown.append(("without these heads", after, look.accent, "diamond", 0.12))
    for name, numbers, colour, symbol, aside in shown:
        lags, values = list(numbers), [number.value for number in numbers.values()]
        above = [number.high - number.value for number in numbers.values()]
        below = [number.value - number.low for number in numbers.values()]
        figure.add_trace(
            go.Scatter(
                x=[lag + aside for lag in lags],
                y=values,
                error_y={"type": "data", "symmetric": False, "array": above, "arrayminus": below, "color": colour},
                mode="markers",
                marker={"size": look.px(10), "symbol": symbol, "color": colour},
                customdata=lags,
                hovertemplate="lag %{customdata}: %{y:.3f}<extra>" + name + "</extra>",
                name=name,
            )
        )
    styled(figure, look, height=look.px(300), margin={"t": look.px(40)})
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False}
    figure.update_layout(showlegend=True, legend=legend | {"font": {"color": look.ink}})
    figure.update_xaxes(title_text="tokens from the earlier copy (1: the one after it)", dtick=1)
    figure.update_yaxes(title_text="probability", rangemode="tozero")
    return figure


def describe_lags(before: Mapping[int, Number], after: Mapping[int, Number] | None) -> str:
    """The profile in words, for somebody who cannot see it."""
    known = [lag for lag, number in before.items() if not math.isnan(number.value)]
    if not known:
        return "Probability of the token at each lag from the earlier copy: none, for no token comes back after another one."
    best = max(known, key=lambda lag: before[lag].value)
    lost = "" if after is None else f"; without these heads {after[best].value:.2f} there"
    return f"Probability of the token at each lag from the earlier copy: highest at lag {best}, {before[best].value:.2f}{lost}."


def lag_profile_rows(before: Mapping[int, Number], after: Mapping[int, Number] | None) -> list[Row]:
    """One row a lag."""
    rows: list[Row] = []
    for lag, number in before.items():
        row: Row = {"lag": lag, "probability": number.value, "low": number.low, "high": number.high}
        if after is not None:
            row |= {"without": after[lag].value, "without_low": after[lag].low, "without_high": after[lag].high}
        rows.append(row)
    return rows
