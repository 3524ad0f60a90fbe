"""One head's attention on a repeated sequence and on fresh tokens, side by side: does it follow tokens, or places?"""

from __future__ import annotations

from plotly.graph_objects import Figure
from plotly.subplots import make_subplots

from core.attention.tables import Row
from core.figures.attention.pattern import attention_table, pattern_traces
from core.figures.base.pattern_colours import pattern_colours
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.head_card.card import HeadPatterns

_TITLES = ("repeated tokens", "second half fresh")
_HEIGHT = 300


def pattern_pair(patterns: HeadPatterns, look: Look, *, height: int = _HEIGHT) -> Figure:
    """Rows are queries, columns keys, scale 0 to 1; orange: the cells where an induction head looks, the same in both.

    Only the repeated sequence where there is no control.
    """
    shown = [patterns.repeated, *([] if patterns.fresh is None else [patterns.fresh])]
    figure = make_subplots(rows=1, cols=len(shown), subplot_titles=_TITLES[: len(shown)], horizontal_spacing=0.06)
    for column, pattern in enumerate(shown, start=1):
        for trace in pattern_traces(list(patterns.tokens), pattern, patterns.row.cells, look):
            figure.add_trace(trace.update(showscale=False), row=1, col=column)
    margin = {"l": look.px(30), "r": look.px(8), "t": look.px(52), "b": look.px(30)}
    styled(figure, look, height=look.px(height), margin=margin)
    figure.update_layout(plot_bgcolor=pattern_colours(look.dark).unseen)
    # The labels of a hundred tokens would be a grey band: the hover names them.
    plain = {"type": "category", "showticklabels": False, "ticks": "", "showgrid": False, "constrain": "domain"}
    figure.update_xaxes(title_text="the token looked at", **plain)
    figure.update_yaxes(autorange="reversed", constraintoward="top", **plain)
    for column in range(1, len(shown) + 1):
        figure.update_yaxes(scaleanchor="x" if column == 1 else f"x{column}", row=1, col=column)
    figure.update_yaxes(title_text="the token that looks", row=1, col=1)
    figure.update_annotations(font={"size": look.font_size, "color": look.ink})
    return figure


def describe_patterns(name: str, patterns: HeadPatterns) -> str:
    """The picture in words, for somebody who cannot see it."""
    on = patterns.row.mean_on_cells(patterns.repeated) or 0.0
    said = f"Attention of {name}. On one repeated sequence the cells where an induction head looks get {on:.2f} on average"
    if patterns.fresh is None:
        return f"{said}."
    fresh = patterns.row.mean_on_cells(patterns.fresh) or 0.0
    return f"{said}; the same cells get {fresh:.2f} when the second half is fresh tokens."


def pattern_rows(patterns: HeadPatterns) -> list[Row]:
    """For every query of the repeated sequence: where it looks most, and the weight where an induction head looks."""
    return list(attention_table(list(patterns.tokens), patterns.repeated, patterns.row.cells))
