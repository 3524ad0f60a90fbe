"""What lies over a figure and moves while the figure stays: the threshold line, rings, names.

A figure is sent to the browser once. At a tick of the threshold only its overlay is sent, and the browser draws it over
it; a picture that is saved holds both. Places are in the figure's own coordinates, also on a logarithmic axis; on an
axis of names, a name's place is its number from 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.figures.base.head_traces import RING_STROKES
from core.figures.base.style import Look
from core.heads import Head

Part = dict[str, Any]
# An edge of the plot instead of a place.
Edge = Literal["left", "right", "top", "bottom"]
Place = float | Edge
# Which part of some words stands at their place.
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Overlay:
    """The overlay of one figure, and in words what it shows, for somebody who cannot see them."""

    said: str
    parts: tuple[Part, ...]


def threshold_line(threshold: float, across: Literal["x", "y"], look: Look) -> Part:
    """A dashed line through the whole figure where the axis `across` has the threshold."""
    return {"kind": "line", "at": threshold, "across": across, "colour": look.accent, "width": look.px(2)}


def name_of_line(threshold: float, look: Look) -> Part:
    """The number of a `threshold_line` that goes up, beside its upper end."""
    number = f"{threshold:.2f}"
    return words(number, threshold, "top", colour=look.accent, size=look.font_size, shift=(look.px(5), look.px(9)))


def rings(heads: Iterable[Head], look: Look) -> Part:
    """Rings inside the cells of a map of heads, whatever their size on screen; they stand out on every colour."""
    places = [(head, layer) for layer, head in heads]
    strokes = [[colour, look.px(width)] for colour, width in RING_STROKES]
    return {"kind": "discs", "at": places, "cells": 0.84, "fill": None, "strokes": strokes}


def dots(x: Sequence[float], y: Sequence[float], diameter: float, look: Look) -> Part:
    """Filled discs with a rim."""
    return symbols(x, y, diameter, colour=look.ink, fill=look.accent, width=look.px(2))


def symbols(
    x: Sequence[float],
    y: Sequence[float],
    diameter: float,
    *,
    colour: str,
    fill: str | None,
    width: float = 0,
    shape: Literal["circle", "diamond"] = "circle",
) -> Part:
    """Discs or diamonds with a rim of `width` pixels in `colour`; not filled, they are rings."""
    places = [(across, round(up, 4)) for across, up in zip(x, y, strict=True)]
    return {"kind": "discs", "shape": shape, "at": places, "pixels": diameter, "fill": fill, "strokes": [[colour, width]]}


def on_axes(part: Part, x: str, y: str) -> Part:
    """`part` in the coordinates of one of several plots in a figure, by the names of its axes (`x2`, `y2`)."""
    return {**part, "axes": [x, y]}


def boxes(corners: Sequence[tuple[float, float, Place, Place]], look: Look) -> Part:
    """Filled and rimmed boxes, each given by its left, right, lower and upper end."""
    return {"kind": "boxes", "at": list(corners), "fill": look.accent, "stroke": [look.ink, look.px(2)]}


def words(
    text: str,
    x: Place,
    y: Place,
    *,
    colour: str,
    size: float,
    shift: tuple[float, float] = (0, 0),
    anchor: Anchor = "start",
    turned: float = 0,
    bold: bool = False,
) -> Part:
    """`text` at a place, moved by `shift` pixels right and down, turned by degrees clockwise."""
    return {
        "kind": "words",
        "text": text,
        "x": x,
        "y": y,
        "colour": colour,
        "size": size,
        "shift": list(shift),
        "anchor": anchor,
        "turned": turned,
        "bold": bold,
    }
