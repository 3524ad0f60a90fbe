"""Figures that are drawn once and shown often: at a slider's move a figure that it does not change is not drawn again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

import plotly.graph_objects as go

MAX_KEPT = 64
_lock = threading.Lock()
_figures: OrderedDict[Hashable, go.Figure] = OrderedDict()


def kept_figure(key: Hashable, draw: Callable[[], go.Figure]) -> go.Figure:
    """The figure of `key`, drawn if need be; equal keys must mean equal figures, and nobody may change one.

    The last `MAX_KEPT` that were asked for are kept, for everybody.
    """
    with _lock:
        if key in _figures:
            _figures.move_to_end(key)
            return _figures[key]
    figure = draw()
    with _lock:
        _figures[key] = figure
        while len(_figures) > MAX_KEPT:
            _figures.popitem(last=False)
    return figure
