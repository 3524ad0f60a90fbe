"""The edges of one head: prefix matching with each path, and without it."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from core.circuits.circuit import Edge
from core.figures.base.head_traces import before_and_after
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.figures.circuits.circuit import composition_of, lost_words
from core.head_card.card import HeadEdges

_ROW = 34
# The strongest in each direction; the table behind the picture has them all.
MOST_EDGES = 4


def edge_lines(edges: HeadEdges, look: Look) -> go.Figure:
    """One row an edge, edges in above edges out: a ring with the path, a diamond without it, on the fixed scale 0 to 1."""
    shown = [("in", edge) for edge in edges.into[:MOST_EDGES]] + [("out", edge) for edge in edges.out[:MOST_EDGES]]
    places = list(range(len(shown)))[::-1]
    words = ("with the path", "without it")
    traces = before_and_after(
        [edge.clean for _, edge in shown],
        [edge.patched for _, edge in shown],
        places,
        look,
        words=words,
        sizes=(14, 11),
        hovers=(_edge_hover(words[0]), _edge_hover(words[1])),
        customdata=[[_edge_name(edge), lost_words(edge) + composition_of(edge)] for _, edge in shown],
    )
    figure = go.Figure(traces)
    height = look.px(_ROW * len(shown) + 92) + look.buttons
    legend = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "itemclick": False, "itemdoubleclick": False}
    styled(figure, look, height=height, margin={"t": look.px(34) + look.buttons})
    figure.data[0].showlegend = False
    figure.update_layout(showlegend=True, legend=legend | {"font": {"color": look.ink}})
    figure.update_xaxes(title_text="prefix matching of the later head", range=[-0.04, 1.04], dtick=0.25)
    names = [f"{direction}: <b>{_edge_name(edge)}</b>" for direction, edge in shown]
    figure.update_yaxes(tickvals=places, ticktext=names, range=[-0.7, len(shown) - 0.3], showgrid=False)
    return figure


def _edge_hover(word: str) -> str:
    return f"%{{customdata[0]}} {word}: %{{x:.3f}}<br>%{{customdata[1]}}<extra></extra>"


def describe_edges(name: str, edges: HeadEdges) -> str:
    """The picture in words, for somebody who cannot see it."""
    return f"Edges of {name}. In: {_told(edges.into)}. Out: {_told(edges.out)}."


def _told(edges: Sequence[Edge]) -> str:
    said = (f"{_edge_name(edge)} {edge.clean:.2f} to {edge.patched:.2f} without the path" for edge in edges[:MOST_EDGES])
    return "; ".join(said) or "none"


def _edge_name(edge: Edge) -> str:
    return f"{edge.previous.name} → {edge.induction.name}"
