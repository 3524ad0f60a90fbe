"""How every figure looks: one set of colours for each theme, two text sizes, fixed scales.

Colours were chosen to be told apart by colour-blind people (viridis; orange and blue), and none stands alone: rings,
lines, hatching and words say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

SCORE_SCALE = "Viridis"
# Blue is negative, orange positive; grey at zero in the middle.
DIVERGING_SCALE = [[0.0, "#2166ac"], [0.25, "#92c5de"], [0.5, "#f2f2f2"], [0.75, "#fdb863"], [1.0, "#b35806"]]
# How far down a figure its own buttons reach, in pixels.
BUTTONS = 28
FONT = "Source Sans, Source Sans Pro, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Look:
    """The theme and the text size of a figure, and how much room it has.

    large: for a projector, to be read from the back of a room. narrow: on a telephone.
    """

    dark: bool = False
    large: bool = False
    narrow: bool = False

    @property
    def stacked(self) -> bool:
        """Whether what stands side by side on a usual screen has room only one below the other."""
        return self.large or self.narrow

    @property
    def ink(self) -> str:
        """Text and axes."""
        return "#f0f2f6" if self.dark else "#1f2430"

    @property
    def quiet(self) -> str:
        """Captions and headings of tables: quieter than `ink`, and still 4.5:1 on every background of the page."""
        return "#aab2c3" if self.dark else "#5a6275"

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

    @property
    def buttons(self) -> int:
        """Room for the figure's buttons above words that reach to its right edge, which on a telephone is where they are."""
        return BUTTONS if self.narrow else 0


_COLOURS = ("ink", "quiet", "paper", "faint", "muted", "accent", "second")


def saved_colours(look: Look) -> dict[str, str]:
    """What each of the look's colours becomes in a saved picture, which is light: as `#rrggbb`, and as `see_through` has it."""
    light = Look(dark=False)
    pairs = [(getattr(look, name), getattr(light, name)) for name in _COLOURS] if look.dark else []
    return dict(pairs) | {_channels(dark): _channels(other) for dark, other in pairs}


def page_layout(look: Look, *, height: int, **layout: Any) -> dict[str, Any]:
    """A figure's layout in the page's colours and font, `height` in pixels; further keywords are plotly's."""
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


def page_axis(look: Look) -> dict[str, Any]:
    """What every axis shares."""
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


def colour_scale(*, signed: bool) -> Any:
    """The colour scale of shares, or of what has a sign."""
    return DIVERGING_SCALE if signed else SCORE_SCALE


def see_through(colour: str, opacity: float = 0.3) -> str:
    """A colour such as `#0b5cad` that lets what is behind it show."""
    return f"rgba({_channels(colour)},{opacity})"


def _channels(colour: str) -> str:
    return ",".join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))
