"""What lies over a figure and moves while the figure stays: the threshold line, rings, names.

A figure is sent to the browser once, and so are its marks, which say for every threshold what there is to see: the browser
draws them for the one that the slider shows, also while it is dragged. A picture that is saved holds both. Places are in the
figure's own coordinates, also on a logarithmic axis; on an axis of names, a name's place is its number from 0.

A mark is a part with what depends on the threshold left open, and `resolved` fills that in (here, and in
`figure_overlay_layer.js`): a place may be the threshold itself; words may hold it, or a count of scores; a disc, a cross or a
name with a score is there only while that is above the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from core.figures.base.head_traces import CROSS_STROKES, RING_STROKES
from core.figures.base.style import Look
from core.heads import Head, every_head
from core.settings.view import THRESHOLD_SLIDER

Part = dict[str, Any]
# An edge of the plot instead of a place.
Edge = Literal["left", "right", "top", "bottom"]
# Wherever the threshold is.
THRESHOLD: Literal["threshold"] = "threshold"
Place = float | Edge | Literal["threshold"]
# Which part of some words stands at their place.
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Overlay:
    """The overlay of one figure: its marks, the present threshold, and in words what is seen at that one.

    slider: the name of the slider that moves them; the contrast floor is a threshold, too.
    """

    said: str
    threshold: float
    marks: tuple[Part, ...]
    slider: str = THRESHOLD_SLIDER

    @property
    def parts(self) -> tuple[Part, ...]:
        """What is drawn at the present threshold."""
        return tuple(part for mark in self.marks if (part := resolved(mark, self.threshold)) is not None)


def resolved(mark: Part, threshold: float) -> Part | None:
    """What there is of `mark` at a threshold; None where there is nothing."""
    part: Part = {key: threshold if isinstance(value, str) and value == THRESHOLD else value for key, value in mark.items()}
    above = part.pop("above", None)
    if isinstance(above, list):
        part["at"] = [place for place, score in zip(part["at"], above, strict=True) if score is None or score > threshold]
    elif above is not None and not above > threshold:
        return None
    if "bins" in part:
        part["at"] = [box for left, right, own in part.pop("bins") if (box := _box(left, right, own, threshold))]
    if "text" in part:
        counted = part.pop("counted", None)
        count = 0 if counted is None else sum((score > threshold) == counted["are_above"] for score in counted["scores"])
        part["text"] = part["text"].replace("{threshold}", f"{threshold:.2f}").replace("{count}", str(count))
        avoided = part.pop("avoids", None)
        if avoided is not None and abs(threshold - avoided["at"]) < avoided["within"]:
            part["shift"] = [part["shift"][0], avoided["by"] * (-1 if threshold >= avoided["at"] else 1)]
    return part


def _box(left: float, right: float, scores: Sequence[float], threshold: float) -> tuple[float, float, Place, Place] | None:
    """The part of a bar of `scores` that is above the threshold."""
    count = sum(score > threshold for score in scores)
    rest = len(scores) - count
    return (left, right, rest if rest else "bottom", rest + count) if count else None


def threshold_line(across: Literal["x", "y"], look: Look, colour: str | None = None, *, begins: float = 0.0) -> Part:
    """A dashed line through the whole figure where the axis `across` has the threshold, in the accent's colour or another.

    begins: where, as a share of the figure's height or width.
    """
    line = {"at": THRESHOLD, "across": across, "begins": begins, "colour": colour or look.accent, "width": look.px(2)}
    return {"kind": "line", **line}


def name_of_line(look: Look) -> Part:
    """The number of a `threshold_line` that goes up, beside its upper end."""
    shift = (look.px(5), look.px(9))
    return words("{threshold}", THRESHOLD, "top", colour=look.accent, size=look.font_size, shift=shift)


def rings(scores: Float[np.ndarray, "n_layers n_heads"], look: Look) -> Part:
    """Rings inside the cells of a map of heads, whatever their size on screen; they stand out on every colour."""
    heads = [head for head in every_head(*scores.shape) if not np.isnan(scores[head])]
    strokes = [[colour, look.px(width)] for colour, width in RING_STROKES]
    places = [(head, layer) for layer, head in heads]
    above = [float(scores[head]) for head in heads]
    return {"kind": "discs", "at": places, "above": above, "cells": 0.84, "fill": None, "strokes": strokes}


def crosses(heads: Sequence[Head], above: Sequence[float | None], look: Look, *, numbered: bool) -> Part:
    """Crosses in cells: of each head while its score is above the threshold, and always where that is None.

    numbered: whether the cells have numbers, which a cross in the corner leaves free; in the middle it can be larger.
    """
    strokes = [[colour, look.px(width)] for colour, width in CROSS_STROKES]
    aside, up, size = (0.32, 0.28, 0.28) if numbered else (0.0, 0.0, 0.5)
    places = [(head - aside, layer - up) for layer, head in heads]
    return {"kind": "crosses", "at": places, "above": list(above), "cells": size, "strokes": strokes}


def dots(x: Sequence[float], y: Sequence[float], diameter: float, look: Look) -> Part:
    """Filled discs with a rim, each where its score, `y`, is above the threshold."""
    return symbols(x, y, diameter, above=y, colour=look.ink, fill=look.accent, width=look.px(2))


def symbols(
    x: Sequence[float],
    y: Sequence[float],
    diameter: float,
    *,
    above: Sequence[float],
    colour: str,
    fill: str | None,
    width: float = 0,
    shape: Literal["circle", "diamond"] = "circle",
) -> Part:
    """Discs or diamonds with a rim of `width` pixels in `colour`; not filled, they are rings. `above`: the score of each."""
    places = [(across, round(up, 4)) for across, up in zip(x, y, strict=True)]
    return {
        "kind": "discs",
        "shape": shape,
        "at": places,
        "above": [float(score) for score in above],
        "pixels": diameter,
        "fill": fill,
        "strokes": [[colour, width]],
    }


def on_axes(part: Part, x: str, y: str) -> Part:
    """`part` in the coordinates of one of several plots in a figure, by the names of its axes (`x2`, `y2`)."""
    return {**part, "axes": [x, y]}


def boxes(bins: Iterable[tuple[float, float, Sequence[float]]], look: Look) -> Part:
    """The upper part of bars, as high as scores are above the threshold; each bar is its left and right end and its scores."""
    bars = [(left, right, [float(score) for score in scores]) for left, right, scores in bins]
    return {"kind": "boxes", "bins": bars, "fill": look.accent, "stroke": [look.ink, look.px(2)]}


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
    **more: Any,
) -> Part:
    """`text` at a place, moved by `shift` pixels right and down, turned by degrees clockwise.

    `{threshold}` and `{count}` in it are filled in. more: `above`, a score; `counted`, whose scores are counted and on which
    side of the threshold; `avoids`, a place that the words make way for.
    """
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
        **more,
    }
