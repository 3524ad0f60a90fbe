"""The colours of an attention pattern, the same in every picture of one: from no attention to all of it, and the stripe.

Blue against orange is told apart with every common colour blindness, and lightness grows with the weight in one direction.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass


@dataclass(frozen=True)
class PatternColours:
    """CSS colours: weight 0, weight 1, the induction stripe, the cells that a query cannot see, and writing."""

    none: str
    full: str
    stripe: str
    unseen: str
    text: str


LIGHT = PatternColours(none="#ffffff", full="#0b4f9e", stripe="#c75000", unseen="#f0f0f0", text="#1f2430")
# What `LIGHT` becomes when lightness is turned around and hues are kept: CircuitsVis can be drawn dark only that way.
DARK = PatternColours(none="#000000", full="#7ec2ff", stripe="#ff8838", unseen="#232323", text="#f0f2f6")


def pattern_colours(dark: bool) -> PatternColours:
    """The colours for the theme."""
    return DARK if dark else LIGHT


def saved_pattern_colours(dark: bool) -> dict[str, str]:
    """What each colour of a pattern becomes in a saved picture, which is light."""
    return dict(zip(astuple(DARK), astuple(LIGHT), strict=True)) if dark else {}


def mixed(start: str, end: str, share: float) -> str:
    """The colour `share` (0 to 1, cut there) of the way from `start` to `end`; all are `#rrggbb`."""
    share = min(1.0, max(0.0, share))
    pairs = ((int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def readable_on(colour: str) -> str:
    """Black or white, whichever is easier to read on `colour` (`#rrggbb`)."""
    red, green, blue = (_linear(int(colour[i : i + 2], 16) / 255) for i in (1, 3, 5))
    # Equal contrast with black and with white is at this relative luminance (WCAG 2).
    return "#000000" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "#ffffff"


def _linear(channel: float) -> float:
    return channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4
