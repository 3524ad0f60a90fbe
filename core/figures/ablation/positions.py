"""The loss at every position of the probe: untouched, without the head set, and the range of other sets."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.attention.tables import Row
from core.figures.base.style import Look, see_through
from core.figures.base.styled import styled
from core.numbers import signed
from core.probes.layout import Layout


def position_losses(
    clean: Float[np.ndarray, " tokens"],
    ablated: Float[np.ndarray, " tokens"],
    baselines: Float[np.ndarray, "baselines tokens"] | None,
    layout: Layout,
    look: Look,
) -> go.Figure:
    """Losses in nats by the position of the predicted token, each averaged over sequences."""
    positions = np.arange(1, layout.n_tokens)
    figure = go.Figure()
    if baselines is not None and len(baselines):
        low, high = baselines.min(0), baselines.max(0)
        figure.add_trace(
            go.Scatter(
                x=np.concatenate([positions, positions[::-1]]),
                y=np.concatenate([high[1:], low[1:][::-1]]),
                fill="toself",
                fillcolor=see_through(look.second),
                line={"width": 0},
                hoverinfo="skip",
                name="1 other set" if len(baselines) == 1 else f"range of {len(baselines)} other sets",
            )
        )
    for values, name, colour, dash, width in (
        (ablated, "without these heads", look.accent, "solid", 3),
        (clean, "untouched", look.ink, "dot", 2.5),
    ):
        figure.add_trace(
            go.Scatter(
                x=positions,
                y=values[1:],
                mode="lines",
                line={"color": colour, "dash": dash, "width": look.px(width)},
                hovertemplate="token %{x}: %{y:.2f} nats<extra>" + name + "</extra>",
                name=name,
            )
        )
    boundary = layout.b + layout.length - 0.5
    figure.add_vline(x=boundary, line={"color": look.muted, "dash": "dash", "width": look.px(2)})
    for x, anchor, word in ((boundary, "right", "first copy "), (boundary, "left", " second copy")):
        figure.add_annotation(x=x, y=1, yref="paper", xanchor=anchor, yanchor="bottom", text=word, showarrow=False)
    top = float(np.nanmax([np.nanmax(clean), np.nanmax(ablated)]))
    styled(
        figure,
        look,
        height=look.px(360),
        legend={"orientation": "h", "y": 1.1, "yanchor": "bottom", "x": 0, "font": {"color": look.ink}},
        margin={"t": look.px(76)},
    )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="position of the predicted token", range=[0.5, layout.n_tokens - 0.5], showgrid=False)
    figure.update_yaxes(title_text="loss (nats)", range=[0, 1.06 * top])
    return figure


def describe_positions(
    clean: Float[np.ndarray, " tokens"], ablated: Float[np.ndarray, " tokens"], with_others: bool, layout: Layout
) -> str:
    """The curves in words, for somebody who cannot see them."""
    second = slice(layout.b + layout.length + 1, None)
    worst = int(np.nanargmax(ablated - clean))
    return (
        f"Loss by position, {layout.n_tokens} positions. On the second copy the median is {np.median(clean[second]):.2f} nats "
        f"untouched and {np.median(ablated[second]):.2f} without these heads. The largest change, "
        f"{signed(ablated[worst] - clean[worst])}, is at position {worst}."
        + (" The range of other sets is shaded." if with_others else "")
    )


def position_rows(
    clean: Float[np.ndarray, " tokens"],
    ablated: Float[np.ndarray, " tokens"],
    baselines: Float[np.ndarray, "baselines tokens"] | None,
    layout: Layout,
) -> list[Row]:
    """One row a predicted token; the range only where there are other sets."""
    ends = None if baselines is None or not len(baselines) else (baselines.min(0), baselines.max(0))
    second = layout.b + layout.length
    return [
        {
            "position": position,
            "copy": "first" if position < second else "second",
            "untouched": float(clean[position]),
            "without these heads": float(ablated[position]),
        }
        | ({} if ends is None else {"others low": float(ends[0][position]), "others high": float(ends[1][position])})
        for position in range(1, layout.n_tokens)
    ]
