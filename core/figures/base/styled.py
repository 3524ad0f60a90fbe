"""Figures that plotly checks while they are built, in the page's colours."""

from __future__ import annotations

from typing import Any

# Plotly looks into pandas wherever it finds it, and half of it is found while another thread is still importing it. Whoever
# has come past this line has waited for the whole.
import pandas  # noqa: F401
import plotly.graph_objects as go

from core.figures.base.style import Look, page_axis, page_layout


def styled(figure: go.Figure, look: Look, *, height: int, **layout: Any) -> go.Figure:
    """`figure` with the page's colours, font and `height` in pixels; further layout keywords go to plotly."""
    figure.update_layout(**page_layout(look, height=height, **layout))
    figure.update_xaxes(**page_axis(look))
    figure.update_yaxes(**page_axis(look))
    return figure
