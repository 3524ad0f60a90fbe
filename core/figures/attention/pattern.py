"""One head's attention pattern as a heat map, with the cells where induction would look in a second colour."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.attention.cells import Cells
from core.figures.base.pattern_colours import PatternColours, mixed, pattern_colours
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.figures.base.token_text import numbered_labels, visible_token

# A marked cell is never paler than this, so that the stripe can be seen on a head that does not look there.
MARK_FLOOR = 0.2
NARROW_HEIGHT = 440


def attention_figure(
    tokens: list[str],
    pattern: Float[np.ndarray, "tokens tokens"],
    marked: Cells,
    look: Look,
    *,
    height: int = 640,
) -> go.Figure:
    """The pattern (rows are queries) on the fixed scale 0 to 1; `marked` cells are drawn in the second colour.

    `tokens` are the tokens' texts as they are. Raises ValueError if the pattern does not fit them.
    """
    figure = go.Figure(pattern_traces(tokens, pattern, marked, look))
    # Taller text than the cells would overlap; the hover names every token.
    small = {"tickfont": {"size": look.px(10)}, "showgrid": False, "constrain": "domain"}
    # As tall as the cells of a narrow picture, which are squares.
    tall = look.px(NARROW_HEIGHT if look.narrow else height)
    styled(figure, look, height=tall, margin={"r": look.px(16 if look.narrow else 120)})
    figure.update_layout(plot_bgcolor=pattern_colours(look.dark).unseen)
    figure.update_xaxes(title_text="key: the token looked at", type="category", constraintoward="right", **small)
    looks = "query: the token that looks"
    figure.update_yaxes(title_text=looks, type="category", autorange="reversed", scaleanchor="x", **small)
    return figure


def pattern_traces(
    tokens: list[str], pattern: Float[np.ndarray, "tokens tokens"], marked: Cells, look: Look
) -> tuple[go.Heatmap, go.Heatmap]:
    """The cells of a pattern that are not `marked`, and those that are, each on its own colour scale from 0 to 1.

    Raises ValueError if the pattern does not fit the tokens.
    """
    if pattern.shape != (len(tokens), len(tokens)):
        raise ValueError(f"{len(tokens)} tokens cannot have a pattern of shape {pattern.shape}")
    colours = pattern_colours(look.dark)
    labels = numbered_labels(tokens)
    stripe = np.full_like(pattern, np.nan)
    stripe[marked] = pattern[marked]
    # A query cannot see later keys: no cell there, rather than a cell of weight 0.
    others = np.where(np.tri(len(tokens), dtype=bool) & np.isnan(stripe), pattern, np.nan)
    return (
        _cells(labels, others, [[0, colours.none], [1, colours.full]], "attention", "", look, bar_at=1.02),
        _cells(labels, stripe, _mark_scale(colours), "stripe", "<br>induction stripe", look, bar_at=1.13),
    )


def attention_table(
    tokens: list[str], pattern: Float[np.ndarray, "tokens tokens"], marked: Cells
) -> list[dict[str, str | int | float | None]]:
    """For every query: where it looks most, with what weight, and the weight on its marked cells."""
    on_marked: dict[int, float] = {}
    for query, key in zip(*marked, strict=True):
        on_marked[int(query)] = on_marked.get(int(query), 0.0) + float(pattern[query, key])
    return [
        {
            "query": query,
            "token": visible_token(tokens[query]),
            "looks most at": int(key),
            "which is": visible_token(tokens[key]),
            "weight": round(float(pattern[query, key]), 4),
            "weight on the stripe": round(on_marked[query], 4) if query in on_marked else None,
        }
        for query, key in enumerate(pattern.argmax(axis=1))
    ]


def _cells(
    labels: list[str],
    weights: Float[np.ndarray, "tokens tokens"],
    scale: list[list[float | str]],
    title: str,
    note: str,
    look: Look,
    *,
    bar_at: float,
) -> go.Heatmap:
    return go.Heatmap(
        z=weights.astype(np.float32),
        x=labels,
        y=labels,
        zmin=0,
        zmax=1,
        colorscale=scale,
        hoverongaps=False,
        hovertemplate=f"query %{{y}}<br>key %{{x}}<br>weight %{{z:.4f}}{note}<extra></extra>",
        # A narrow picture has no room beside it: what the colours say is in the words above it.
        showscale=not look.narrow,
        colorbar={"title": {"text": title}, "x": bar_at, "thickness": look.px(12), "outlinewidth": 0},
    )


def _mark_scale(colours: PatternColours) -> list[list[float | str]]:
    palest = mixed(colours.none, colours.stripe, MARK_FLOOR)
    return [[0, palest], [MARK_FLOOR, palest], [1, colours.stripe]]
