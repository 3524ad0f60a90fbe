"""Each head of a set taken away alone, the sum of that, and all of them together: is the whole more than its parts?"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.attention.tables import Row
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.heads import HeadSet
from core.numbers import signed


def single_effect_bars(heads: HeadSet, effects: Float[np.ndarray, " heads"], joint: float, look: Look) -> go.Figure:
    """Bars in nats: the heads, largest first, then their sum (hatched) and the joint effect (solid)."""
    order = np.argsort(-effects, kind="stable")
    names = [heads[i].name for i in order] + ["sum of<br>these", "all<br>together"]
    values = [float(effects[i]) for i in order] + [float(effects.sum()), joint]
    figure = go.Figure(
        go.Bar(
            x=list(range(len(names))),
            y=values,
            width=0.7,
            marker={
                "color": [look.muted] * len(heads) + [look.muted, look.accent],
                "pattern": {"shape": [""] * len(heads) + ["/", ""], "fgcolor": look.paper, "fillmode": "overlay"},
            },
            text=[signed(value) for value in values],
            textposition="outside",
            cliponaxis=False,
            hoverinfo="skip",
        )
    )
    least, most = min(0.0, *values), max(0.1, *values)
    styled(figure, look, height=look.px(330))
    figure.add_vline(x=len(heads) - 0.5, line={"color": look.faint, "width": look.px(2)})
    figure.update_xaxes(tickvals=list(range(len(names))), ticktext=names, showgrid=False)
    # A bar's number stands beyond its end, below zero as above it, and must not run into the names of the heads.
    room = 0.15 * (most - least)
    ends = [least - room if least < 0 else 0.0, most + room]
    figure.update_yaxes(title_text="change in loss (nats)", range=ends, zeroline=True, zerolinecolor=look.muted)
    return figure


def describe_single_effects(heads: HeadSet, effects: Float[np.ndarray, " heads"], joint: float) -> str:
    """The bars in words, for somebody who cannot see them."""
    each = ", ".join(f"{head.name} {signed(effect)}" for head, effect in zip(heads, effects, strict=True))
    return (
        f"Change in second-copy loss in nats when each head is taken away alone: {each}. "
        f"The sum is {signed(effects.sum())}; all together {signed(joint)}."
    )


def single_effect_rows(heads: HeadSet, effects: Float[np.ndarray, " heads"], joint: float) -> list[Row]:
    """One row a head, then the sum and the joint effect."""
    rows: list[Row] = [
        {"taken away": head.name, "change in loss": float(effect)} for head, effect in zip(heads, effects, strict=True)
    ]
    rows.append({"taken away": "sum of these", "change in loss": float(effects.sum())})
    rows.append({"taken away": "all together", "change in loss": joint})
    return rows
