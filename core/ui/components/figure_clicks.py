"""Clicks on the heads of a figure, each told once.

A browser sends a chart's selection with every run until it forgets the chart, which can be after another has taken its
place; Streamlit then takes it for a new one. Where a click picks a head, being told again changes nothing. Where a second
click undoes the first, it would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from core.heads import Head

OnPick = Callable[[Head], None]


def clicked_head(chart: str) -> Head | None:
    """The head selected in the chart whose key is `chart`; none after a click beside the heads, or one that deselects."""
    for point in _selected(st.session_state.get(chart)):
        head = Head.parse(str(point.get("customdata"))) if isinstance(point, Mapping) else None
        if head is not None:
            return head
    return None


def _selected(said: object) -> Sequence[object]:
    """The points that a browser says are selected; none where what it says is no selection."""
    selection = said.get("selection") if isinstance(said, Mapping) else None
    points = selection.get("points") if isinstance(selection, Mapping) else None
    return points if isinstance(points, list | tuple) else ()


def tell_pick(chart: str, on_pick: OnPick) -> None:
    """Tell `on_pick` which head was clicked, if one was. For callbacks."""
    head = clicked_head(chart)
    if head is not None:
        on_pick(head)


def fresh_chart(figure: str) -> str:
    """The key of a chart for the figure `figure` on which nobody has clicked yet: another one after each click told."""
    last = st.session_state.get(_last_click(figure))
    return f"{figure}-{0 if last is None else last[0] + 1}"


def tell_click(figure: str, chart: str, on_pick: OnPick) -> None:
    """Tell `on_pick` of a click on `chart`, a `fresh_chart` of `figure`, if it has not been told yet. For callbacks.

    A click on a chart that is about to be replaced counts, but nothing on a chart counts after a click on a later one.
    """
    head, number = clicked_head(chart), int(chart.rpartition("-")[2])
    last = st.session_state.get(_last_click(figure))
    if head is None or (last is not None and (number < last[0] or (number, head) == last)):
        return
    st.session_state[_last_click(figure)] = (number, head)
    on_pick(head)


def _last_click(figure: str) -> str:
    return f"{figure}-last-click"
