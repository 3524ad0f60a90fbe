"""How much a head's keys, queries and values read of what every earlier head writes, above random matrices: three maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float
from plotly.subplots import make_subplots

from core.circuits.circuit import KINDS, Circuit
from core.figures.base.head_map import row_height
from core.figures.base.head_traces import click_markers
from core.figures.base.style import DIVERGING_SCALE, Look
from core.figures.base.styled import styled
from core.heads import Head, every_head, ranked
from core.numbers import signed

# The scale never narrows below this: what random matrices differ by must not fill it with colour.
_LEAST_SCALE = 0.05
_TITLES = {"k": "<b>K</b>: into its keys", "q": "<b>Q</b>: into its queries", "v": "<b>V</b>: into its values"}
_ROW_TO_WRITE_IN = 26
_HEADS_TO_WRITE_IN = 8
_MOST_NAMED = 3


def composition_maps(circuit: Circuit, receiver: Head, look: Look) -> go.Figure:
    """One map a kind, of every head in a layer before `receiver`'s: composition less its baseline, on one scale.

    Frames: the circuit's previous-token heads.
    """
    above = above_baseline(circuit, receiver)
    n_layers, n_heads = above.shape[1:]
    top = max(_LEAST_SCALE, float(np.nan_to_num(np.abs(above)).max()))
    stacked = look.stacked
    row = min(56 * look.scale, row_height(n_layers, look))
    # Between stacked maps: the numbers below one and the title of the next.
    gap = look.px(70)
    body = round(n_layers * row) * 3 + 2 * gap if stacked else round(n_layers * row)
    figure = make_subplots(
        rows=3 if stacked else 1,
        cols=1 if stacked else 3,
        shared_yaxes=not stacked,
        subplot_titles=[_TITLES[kind] for kind in KINDS],
        horizontal_spacing=0.03,
        vertical_spacing=gap / body if stacked else 0,
    )
    framed = [head for head in circuit.previous if head.layer < n_layers]
    for index, kind in enumerate(KINDS):
        at = {"row": index + 1, "col": 1} if stacked else {"row": 1, "col": index + 1}
        figure.add_trace(go.Heatmap(z=above[index], coloraxis="coloraxis", xgap=1, ygap=1, hoverinfo="skip", name=kind), **at)
        for head in framed:
            _frame(figure, head, at, look)
        heads = [head for head in every_head(*above[index].shape) if circuit.exists[head]]
        if row >= look.px(_ROW_TO_WRITE_IN) and n_heads <= _HEADS_TO_WRITE_IN:
            figure.add_trace(_numbers(above[index], top, heads, look), **at)
        texts = [_hover(circuit, receiver, kind, head) for head in heads]
        figure.add_trace(
            click_markers([h for _, h in heads], [layer for layer, _ in heads], heads, texts, row * 0.9),
            **at,
        )
    # Below the maps: a single layer is too low for a scale beside it.
    bar = {
        "orientation": "h",
        "yref": "container",
        "y": 0,
        "yanchor": "bottom",
        "len": 0.5,
        "thickness": look.px(12),
        "outlinewidth": 0,
        "tickfont": {"color": look.ink},
    }
    axis = {"colorscale": DIVERGING_SCALE, "cmin": -top, "cmax": top, "colorbar": bar}
    # Above: room for the camera over the last title.
    styled(figure, look, height=body + look.px(160), margin={"t": look.px(60), "b": look.px(100)}, coloraxis=axis)
    figure.update_annotations(font={"size": look.font_size, "color": look.ink})
    figure.update_xaxes(range=[-0.5, n_heads - 0.5], showgrid=False, dtick=1 if n_heads <= 16 else 4)
    figure.update_xaxes(title_text="head", row=3 if stacked else 1)
    step = 1 if row >= look.px(24) else 5
    figure.update_yaxes(range=[n_layers - 0.5, -0.5], showgrid=False, dtick=step)
    figure.update_yaxes(title_text="layer", col=1)
    return figure


def describe_composition(circuit: Circuit, receiver: Head) -> str:
    """The maps in words, for somebody who cannot see them."""
    said = []
    for kind, values in zip(KINDS, above_baseline(circuit, receiver), strict=True):
        best = ", ".join(f"{head.name} {signed(values[head], 3)}" for head in ranked(values)[:_MOST_NAMED])
        said.append(f"{kind.upper()}: {best or 'withheld'}")
    return (
        f"Three maps of the composition of {receiver.name} with every earlier head, above the {circuit.baseline:.3f} of "
        f"random matrices. The highest of each: {'; '.join(said)}."
    )


def above_baseline(circuit: Circuit, receiver: Head) -> Float[np.ndarray, "kinds earlier_layers n_heads"]:
    """Composition of `receiver` with every head of an earlier layer, less that of random matrices."""
    found: Float[np.ndarray, "kinds earlier_layers n_heads"] = (
        circuit.composition[circuit.induction.index(receiver)][:, : receiver.layer] - circuit.baseline
    )
    return found


def _frame(figure: go.Figure, head: Head, at: dict[str, int], look: Look) -> None:
    layer, across = head
    for colour, width in (("#000000", 5), ("#ffffff", 2)):
        line = {"color": colour, "width": look.px(width)}
        figure.add_shape(type="rect", x0=across - 0.46, x1=across + 0.46, y0=layer - 0.44, y1=layer + 0.44, line=line, **at)


def _numbers(values: Float[np.ndarray, "n_layers n_heads"], top: float, heads: Sequence[Head], look: Look) -> go.Scatter:
    light = ~(np.abs(values) >= 0.6 * top)
    return go.Scatter(
        x=[head for _, head in heads],
        y=[layer for layer, _ in heads],
        mode="text",
        text=[signed(values[head]) for head in heads],
        textfont={"size": look.font_size - 3, "color": ["#000000" if light[head] else "#ffffff" for head in heads]},
        hoverinfo="skip",
        name="values",
    )


def _hover(circuit: Circuit, receiver: Head, kind: str, head: Head) -> str:
    value = float(circuit.composition[circuit.induction.index(receiver)][KINDS.index(kind)][head])
    if np.isnan(value):
        return f"<b>{head.name} → {receiver.name}</b><br>{kind.upper()}-composition withheld"
    return (
        f"<b>{head.name} → {receiver.name}</b><br>{kind.upper()}-composition {value:.3f}, random "
        f"{circuit.baseline:.3f}<br>above random {signed(value - circuit.baseline, 3)}"
    )
