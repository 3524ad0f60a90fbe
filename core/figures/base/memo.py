"""Figures that are drawn once and shown often: at a slider's move a figure that it does not change is not drawn again."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import plotly.graph_objects as go

from core.runtime.lru import Lru

MOST_REMEMBERED = 64
_figures: Lru[Hashable, go.Figure] = Lru(MOST_REMEMBERED)


def remembered_figure(key: Hashable, draw: Callable[[], go.Figure]) -> go.Figure:
    """The figure of `key`, drawn if need be; equal keys must mean equal figures, and nobody may change one.

    The last `MOST_REMEMBERED` that were asked for stay, for everybody.
    """
    return _figures.get_or_make(key, draw)
