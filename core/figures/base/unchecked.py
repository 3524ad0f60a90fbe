"""Figures of plain data, shown as they are: plotly does not check them, and does not wait for pandas to be imported.

Checking takes ten times as long as drawing up, and these figures are drawn up on the first screen and at every move of a
slider; the tests check them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from core.figures.base.style import Look, page_axis, page_layout


def unchecked_figure(
    traces: list[dict[str, Any]], look: Look, *, height: int, xaxis: dict[str, Any], yaxis: dict[str, Any], **layout: Any
) -> go.Figure:
    """As `styled`, from traces and layout given as plain data and arrays; an axis's title is its words."""
    axes = {name: _with_title(page_axis(look) | given) for name, given in (("xaxis", xaxis), ("yaxis", yaxis))}
    return _UncheckedFigure({"data": _listed(traces), "layout": _listed(page_layout(look, height=height, **layout) | axes)})


class _UncheckedFigure(go.Figure):  # type: ignore[misc]
    """Its description is what it was given. Only who looks into it (a test, say) has plotly set up the whole figure."""

    def __init__(self, described: dict[str, Any]) -> None:
        self.__dict__["_described"] = described

    def to_dict(self) -> dict[str, Any]:
        described: dict[str, Any] = self.__dict__["_described"]
        return described

    def __getattr__(self, name: str) -> Any:
        # Python asks here only for what there is not: first for anything that plotly sets up.
        if "_set_up" in self.__dict__:
            raise AttributeError(name)
        self.__dict__["_set_up"] = True
        super().__init__(self.to_dict(), _validate=False)
        return getattr(self, name)


def _listed(value: Any) -> Any:
    """Arrays as lists, and None for what is not a number: JSON has neither."""
    if isinstance(value, dict):
        return {key: _listed(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_listed(inner) for inner in (value.tolist() if isinstance(value, np.ndarray) else value)]
    if isinstance(value, np.generic):
        return _listed(value.item())
    return None if isinstance(value, float) and value != value else value


def _with_title(axis: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: value for key, value in axis.items() if not key.startswith("title")},
        "title": {"text": axis["title"], "standoff": axis["title_standoff"]},
    }
