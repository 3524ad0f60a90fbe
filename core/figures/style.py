"""How every figure looks: one set of colours for each theme, two text sizes, fixed scales.

Colours were chosen to be told apart by colour-blind people (viridis; orange and blue), and none stands alone: rings,
lines, hatching and words say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

SCORE_SCALE = "Viridis"
# Blue is negative, orange positive; grey at zero in the middle.
DIVERGING_SCALE = [[0.0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f2f2f2"], [0.75, "#fdb863"], [1.0, "#b35806"]]
FONT = "Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Look:
    """The theme and the text size of a figure. `large` is for a projector, to be read from the back of a room."""

    dark: bool = False
    large: bool = False

    @property
    def ink(self) -> str:
        """Text and axes."""
        return "#f0f2f6" if self.dark else "#1f2430"

    @property
    def paper(self) -> str:
        """What is behind the figure: the page's own background."""
        return "#0e1117" if self.dark else "#ffffff"

    @property
    def faint(self) -> str:
        """Grid lines, and marks that stand back."""
        return "#3b4252" if self.dark else "#d5d9e0"

    @property
    def muted(self) -> str:
        """Marks of heads that are not above the threshold."""
        return "#8892a6" if self.dark else "#7a8294"

    @property
    def accent(self) -> str:
        """Marks of heads above the threshold, and the threshold line."""
        return "#ff9f45" if self.dark else "#c75000"

    @property
    def second(self) -> str:
        """The chance line."""
        return "#6cb6ff" if self.dark else "#0b5cad"

    @property
    def font_size(self) -> int:
        """In pixels."""
        return 20 if self.large else 14

    @property
    def scale(self) -> float:
        """How much larger than the normal size lengths are."""
        return self.font_size / 14

    def px(self, pixels: float) -> int:
        """A length at this text size."""
        return round(pixels * self.scale)


def styled(figure: go.Figure, look: Look, *, height: int, **layout: Any) -> go.Figure:
    """`figure` with the page's colours, font and `height` in pixels; further layout keywords go to plotly."""
    figure.update_layout(**_layout(look, height=height, **layout))
    figure.update_xaxes(**_axis(look))
    figure.update_yaxes(**_axis(look))
    return figure


def plain_figure(
    traces: list[dict[str, Any]], look: Look, *, height: int, xaxis: dict[str, Any], yaxis: dict[str, Any], **layout: Any
) -> go.Figure:
    """The same from traces and layout given as plain data, which plotly does not check; an axis's title is its words.

    Checking takes ten times as long as drawing up, and these figures are drawn up at every move of a slider; the tests
    check them.
    """
    axes = {name: _with_title(_axis(look) | given) for name, given in (("xaxis", xaxis), ("yaxis", yaxis))}
    return _PlainFigure(data=traces, layout=_layout(look, height=height, **layout) | axes, _validate=False)


class _PlainFigure(go.Figure):  # type: ignore[misc]
    """A figure that is not changed once it has been shown: its description is worked out once, however often that is."""

    def to_dict(self) -> dict[str, Any]:
        described: dict[str, Any] | None = self.__dict__.get("_described")
        if described is None:
            described = self.__dict__["_described"] = super().to_dict()
        return described


def _layout(look: Look, *, height: int, **layout: Any) -> dict[str, Any]:
    margin = {"l": look.px(50), "r": look.px(16), "t": look.px(24), "b": look.px(44)}
    return {
        "font": {"family": FONT, "size": look.font_size, "color": look.ink},
        "paper_bgcolor": look.paper,
        "plot_bgcolor": look.paper,
        "hoverlabel": {"font": {"family": FONT, "size": look.font_size}, "align": "left"},
        "height": height,
        "dragmode": False,
        "hovermode": "closest",
        "hoverdistance": -1,
        "showlegend": False,
        **layout,
        "margin": {**margin, **layout.get("margin", {})},
    }


def _axis(look: Look) -> dict[str, Any]:
    return {
        "gridcolor": look.faint,
        "linecolor": look.muted,
        "zeroline": False,
        "fixedrange": True,
        "automargin": True,
        # Measuring which labels are cut off takes a third of the time of drawing; none is, margins grow with them.
        "ticklabeloverflow": "allow",
        "title_standoff": look.px(8),
    }


def _with_title(axis: dict[str, Any]) -> dict[str, Any]:
    return {
        **{key: value for key, value in axis.items() if not key.startswith("title")},
        "title": {"text": axis["title"], "standoff": axis["title_standoff"]},
    }


def colour_scale(score: str) -> Any:
    """The colour scale of a score."""
    return DIVERGING_SCALE if score == "contrast" else SCORE_SCALE


def see_through(colour: str, opacity: float = 0.3) -> str:
    """A colour such as `#0b5cad` that lets what is behind it show."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
