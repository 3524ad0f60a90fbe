"""Names beside points that do not cover each other: the important ones first, those without room left out."""

from __future__ import annotations

from collections.abc import Sequence

from core.figures.base.style import Look

# Width of a letter as a part of the font's size; head names are capitals and digits.
_LETTER = 0.62
_PLACES = (("top center", 0.0, -1.0), ("middle right", 1.0, 0.0), ("middle left", -1.0, 0.0), ("bottom center", 0.0, 1.0))
Box = tuple[float, float, float, float]
# Between the axes of a picture as wide as a telephone.
_NARROW_WIDTH = 270


def inner_width(usual: float, look: Look) -> float:
    """How wide a picture is between its axes, in pixels, that is `usual` wide on a usual screen: where names have room."""
    return _NARROW_WIDTH if look.narrow else usual


def placed_labels(
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    font_size: float,
    gap: float,
    width: float,
    height: float,
    drawn: Sequence[Box] = (),
) -> list[str | None]:
    """For each name where it goes (plotly's `textposition`), None where there is no room.

    points: in pixels from the upper left of a picture of `width` by `height`. gap: pixels from point to name. drawn: what else
    is in the picture, such as other points and intervals: a name stands on it only where there is no other place.
    """
    taken: list[Box] = [(x - gap / 2, y - gap / 2, x + gap / 2, y + gap / 2) for x, y in points]
    found: list[str | None] = []
    for (x, y), name in zip(points, names, strict=True):
        half_width, half_height = _LETTER * font_size * len(name) / 2, font_size * 0.65
        free: dict[str, Box] = {}
        for position, right, down in _PLACES:
            cx, cy = x + right * (half_width + gap), y + down * (half_height + gap * 0.8)
            box = (cx - half_width, cy - half_height, cx + half_width, cy + half_height)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= width and box[3] <= height
            if inside and not any(_overlap(box, other) for other in taken):
                free[position] = box
        covered = {place: sum(_overlap(box, other) for other in drawn) for place, box in free.items()}
        chosen = min(covered, key=lambda place: covered[place], default=None)
        if chosen is not None:
            taken.append(free[chosen])
        found.append(chosen)
    return found


def drawn_boxes(
    points: Sequence[tuple[float, float]],
    size: float,
    across: Sequence[tuple[float, float]] = (),
    up: Sequence[tuple[float, float]] = (),
) -> list[Box]:
    """What points of `size` and their intervals cover, in pixels.

    across, up: where each point's interval ends, to the left and right, above and below; NaN for a point without.
    """
    found = [(x - size / 2, y - size / 2, x + size / 2, y + size / 2) for x, y in points]
    if across:
        found += [(left, y, right, y) for (_, y), (left, right) in zip(points, across, strict=True) if left == left]
    if up:
        found += [(x, top, x, bottom) for (x, _), (top, bottom) in zip(points, up, strict=True) if top == top]
    return found


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
