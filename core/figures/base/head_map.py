"""What every map of heads shares: layers down, heads across, rings, a frame round the picked head, clicks."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Bool, Float

from core.figures.base.head_traces import Trace, click_markers, ring_markers, scatter
from core.figures.base.style import Look
from core.figures.base.unchecked import unchecked_figure
from core.heads import Head, HeadSet, every_head
from core.numbers import signed, unsigned

# Cells are written into when there is room for two digits.
_ROW_TO_WRITE_IN = 28
HEADS_TO_WRITE_IN = 16
# Two maps side by side on a usual screen.
HEADS_TO_WRITE_IN_HALF = 9
# Pixels across on a usual screen, beside other things or alone; the figure itself takes the width it is given.
_USUAL_WIDTH = 430
_LARGE_WIDTH = 600
# On a telephone, in pixels: what is left of a title's line beside the buttons; and how wide a letter is, of its height.
_TITLE_WIDTH, _LETTER = 220, 0.5


@dataclass(frozen=True)
class Cells:
    """What the cells of a map show: values between `low` and `high` as `colours`, and what hovering a head says.

    light: where the colour is so light that numbers on it are written in black. signed: numbers carry a sign.
    NaN cells stay empty. texts: empty for a head that there is not, which nobody can point at.
    """

    values: Float[np.ndarray, "n_layers n_heads"]
    low: float
    high: float
    colours: Any
    light: Bool[np.ndarray, "n_layers n_heads"]
    texts: list[str]
    signed: bool = False


def head_map(
    cells: Cells,
    look: Look,
    *,
    title: str,
    axis_title: str = "head",
    ringed: Sequence[Head] = (),
    estimated: Sequence[Head] = (),
    picked: Head | None = None,
    write_up_to: int = HEADS_TO_WRITE_IN,
    tall: float = 1.0,
) -> go.Figure:
    """The map; a click is reported by the last trace, whose points carry `customdata` the head's name.

    estimated: heads whose value is not measured; a sign in their corner says so.
    write_up_to: with more heads in a layer, the cells are too narrow for their numbers.
    tall: share of a map's usual height, for one that is compared and not worked in.
    """
    values = cells.values
    n_layers, n_heads = values.shape
    row = tall * row_height(n_layers, look)
    traces: list[Trace] = [
        {
            "type": "heatmap",
            "z": values,
            "zmin": cells.low,
            "zmax": cells.high,
            "colorscale": cells.colours,
            "xgap": 1,
            "ygap": 1,
            "hoverinfo": "skip",
            "colorbar": {"thickness": look.px(14), "outlinewidth": 0, "tickfont": {"color": look.ink}},
        }
    ]
    # A ring wider than its cell would seem to belong to the neighbours, too.
    size = 0.84 * min(row, (_LARGE_WIDTH if look.large else _USUAL_WIDTH) / n_heads)
    traces += ring_markers([head for _, head in ringed], [layer for layer, _ in ringed], size, look)
    if estimated:
        traces.append(_estimate_marks(cells, estimated, look))
    told = {head: text for head, text in zip(every_head(*values.shape), cells.texts, strict=True) if text}
    heads = tuple(told)
    if are_written(n_layers, n_heads, look, write_up_to, tall):
        traces.append(_numbers(cells, heads, look))
    traces.append(click_markers([h for _, h in heads], [layer for layer, _ in heads], heads, list(told.values()), row * 0.9))
    lines = _broken(title, look)
    above = look.px(40) + (len(lines) - 1) * round(1.3 * look.font_size + 6)
    return unchecked_figure(
        traces,
        look,
        height=round(n_layers * row) + look.px(56) + above,
        title={
            "text": "<br>".join(lines),
            "font": {"size": look.font_size},
            "x": 0,
            "xref": "paper",
            "y": 1,
            "yanchor": "top",
            # The library puts the first line higher where there are more.
            "pad": {"t": 8 + 12 * (len(lines) - 1)},
        },
        margin={"t": above},
        shapes=[] if picked is None else frame_shapes(picked, look),
        xaxis={"title": axis_title, "range": [-0.5, n_heads - 0.5], "showgrid": False, "dtick": 1 if n_heads <= 16 else 4},
        yaxis={
            "title": "layer",
            "range": [n_layers - 0.5, -0.5],
            "showgrid": False,
            "dtick": 1 if row >= look.px(24) else 5,
        },
    )


def _broken(title: str, look: Look) -> list[str]:
    """The title in lines that end before the figure's buttons, which on a telephone lie on its own height."""
    return textwrap.wrap(title, int(_TITLE_WIDTH / (_LETTER * look.font_size))) if look.narrow else [title]


def are_written(n_layers: int, n_heads: int, look: Look, write_up_to: int = HEADS_TO_WRITE_IN, tall: float = 1.0) -> bool:
    """Whether a map has room for the numbers in its cells."""
    return tall * row_height(n_layers, look) >= look.px(_ROW_TO_WRITE_IN) and n_heads <= write_up_to


def row_height(n_layers: int, look: Look) -> float:
    """Pixels a layer: few layers get tall rows, many stay legible."""
    return look.scale * min(84.0, max(18.0, 480.0 / n_layers))


def _numbers(cells: Cells, heads: HeadSet, look: Look) -> Trace:
    """The values written into their cells, black on the scale's light colours and white on its dark ones."""
    known = [head for head in heads if not np.isnan(cells.values[head])]
    return scatter(
        x=[head for _, head in known],
        y=[layer for layer, _ in known],
        mode="text",
        text=[signed(cells.values[head]) if cells.signed else unsigned(cells.values[head]) for head in known],
        textfont={"size": look.font_size, "color": ["#000000" if cells.light[head] else "#ffffff" for head in known]},
        hoverinfo="skip",
        name="values",
    )


def _estimate_marks(cells: Cells, heads: Sequence[Head], look: Look) -> Trace:
    """ "About", in the corner of each of `heads`."""
    return scatter(
        x=[head - 0.32 for _, head in heads],
        y=[layer - 0.2 for layer, _ in heads],
        mode="text",
        text=["≈"] * len(heads),
        textfont={"size": look.font_size - 2, "color": ["#000000" if cells.light[head] else "#ffffff" for head in heads]},
        hoverinfo="skip",
        name="estimated",
    )


def frame_shapes(picked: Head, look: Look) -> list[dict[str, Any]]:
    """A frame round one cell, to be seen on every colour."""
    layer, head = picked
    return [
        {
            "type": "rect",
            "x0": head - 0.5,
            "x1": head + 0.5,
            "y0": layer - 0.5,
            "y1": layer + 0.5,
            "line": {"color": colour, "width": look.px(width)},
        }
        for colour, width in (("#000000", 7), (look.accent if look.dark else "#ff8c1a", 4))
    ]
