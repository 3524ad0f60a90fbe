"""A circuit as a picture: previous-token heads on the left, induction heads on the right; and heads without one another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.ablation.outcomes import Pruning
from core.attention.head_scores import HeadScores
from core.circuits.circuit import Circuit, Edge
from core.figures.base.head_traces import before_and_after, click_markers, picked_mark
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.heads import Head, HeadSet
from core.numbers import counted, interval, signed

_ROW = 64
# Blanks that no browser drops, wherever they stand.
_ROOM_FOR_A_FRAME = "\u00a0\u00a0"
_PRUNED_ROW = 30
_WIDEST = 14.0
# An edge matters from this drop on, and its drop is written; on a telephone if it is at least a quarter of the first.
_WRITTEN_DROP = 0.05
_WRITTEN_SHARE = 0.25
_MOST_WRITTEN = 12
# Where on an edge its number may stand, the best first: far from each other, and only then in between.
_PLACES = (0.5, 0.35, 0.65, 0.2, 0.8, 0.27, 0.43, 0.57, 0.73, *(i / 50 for i in range(7, 44)))
# The room it takes: in the picture's own units, and in rows; where that is not free, close under another.
_NUMBER_WIDTH = 0.1
_NUMBER_HEIGHTS = (0.6, 0.45)
# On a telephone an edge is a fourth as long: a number takes much of it, and has room only close under another.
_NARROW_PLACES = (0.5, 0.35, 0.65, 0.27, 0.73, 0.43, 0.57, *(i / 50 for i in range(12, 39)))
_NARROW_NUMBER_SHARE = 0.12
_NARROW_NUMBER_HEIGHTS = (0.47,)


def circuit_graph(circuit: Circuit, scores: HeadScores, picked: Head | None, look: Look) -> go.Figure:
    """Edges as wide as what cutting them costs, orange where that matters; dotted where the weights are no more than random.

    The last trace takes clicks.
    """
    left, right = _heights(len(circuit.previous)), _heights(len(circuit.induction))
    figure = go.Figure()
    widest = max((edge.drop for edge in circuit.edges), default=0.0)
    # The edges that matter lie on top.
    for edge in reversed(circuit.edges):
        _draw(
            figure,
            edge,
            left[circuit.previous.index(edge.previous)],
            right[circuit.induction.index(edge.induction)],
            widest,
            look,
        )
    # A telephone has room for the strongest alone.
    least = max(_WRITTEN_DROP, _WRITTEN_SHARE * widest) if look.narrow else _WRITTEN_DROP
    written = [edge for edge in circuit.edges if edge.drop >= least][:_MOST_WRITTEN] or list(circuit.edges[:1])
    rows = max(len(left), len(right), 2)
    taken: list[tuple[float, float]] = []
    for edge in written:
        i, j = circuit.previous.index(edge.previous), circuit.induction.index(edge.induction)
        place = _free_place(left[i], right[j], taken, rows, look)
        if place is not None:
            taken.append(place)
            _write(figure, edge, place, look)
    _middles(figure, circuit, left, right)
    _nodes(figure, circuit, scores, left, right, picked, look)
    # Where there is no room for both titles in one line.
    broken = look.narrow and look.large
    top = look.px(66 if broken else 44)
    height = look.px(_ROW * rows + 26) + top
    styled(figure, look, height=height, margin={"l": look.px(8), "r": look.px(8), "t": top, "b": 8})
    beside = _beside(look)
    figure.update_xaxes(visible=False, range=[-beside, 1 + beside])
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])
    for x, word in ((0, "previous-<br>token heads"), (1, "induction<br>heads")):
        text = word if broken else word.replace("-<br>", "-").replace("<br>", " ")
        figure.add_annotation(x=x, y=1, yref="paper", yanchor="bottom", text=f"<b>{text}</b>", showarrow=False)
    return figure


def describe_circuit(circuit: Circuit) -> str:
    """The picture in words, for somebody who cannot see it."""
    said = "; ".join(
        f"{edge.previous.name} to {edge.induction.name}: prefix matching {edge.clean:.2f} to {edge.patched:.2f}, "
        f"{composition_of(edge)}"
        for edge in circuit.edges[:_MOST_WRITTEN]
    )
    return (
        f"{counted(len(circuit.previous), 'previous-token head')}, {counted(len(circuit.induction), 'induction head')}, "
        f"edges: {said or 'none'}."
    )


def composition_of(edge: Edge) -> str:
    """The edge's K-composition beside that of random matrices."""
    return (
        "K-composition withheld" if edge.rank is None else f"K-composition {edge.k_composition:.3f}, random {edge.baseline:.3f}"
    )


def pruned_matching(
    prunings: Sequence[Pruning], heads: HeadSet, called: HeadSet, titles: Sequence[str], look: Look
) -> go.Figure:
    """One panel for each pruned head: prefix matching of `heads` before (ring) and without it (diamond); bold: called."""
    columns = 1 if look.stacked else len(prunings)
    rows = len(prunings) if look.stacked else 1
    # Between panels below each other: the numbers of one and the title of the next.
    gap = look.px(70)
    body = rows * look.px(_PRUNED_ROW * len(heads)) + (rows - 1) * gap
    figure = make_subplots(
        rows,
        columns,
        shared_yaxes=True,
        subplot_titles=list(titles),
        horizontal_spacing=0.03,
        vertical_spacing=gap / body if rows > 1 else 0,
    )
    places = list(range(len(heads)))[::-1]
    for index, pruning in enumerate(prunings):
        at = {"row": index + 1, "col": 1} if look.stacked else {"row": 1, "col": index + 1}
        words = ("before", f"without {pruning.head.name}")
        traces = before_and_after(
            [float(pruning.before[head]) for head in heads],
            [float(pruning.after[head]) for head in heads],
            places,
            look,
            words=words,
            sizes=(13, 10),
            hovers=(_moved_hover(words[0]), _moved_hover(words[1])),
            customdata=[head.name for head in heads],
        )
        for trace in traces:
            figure.add_trace(trace, **at)
    # Room for the camera above the last title.
    styled(figure, look, height=body + look.px(110), margin={"t": look.px(60)})
    figure.update_annotations(font={"size": look.font_size, "color": look.ink})
    figure.update_xaxes(range=[-0.04, 1.04])
    figure.update_xaxes(title_text="prefix matching", row=rows)
    names = [f"<b>{head.name}</b>" if head in called else head.name for head in heads]
    figure.update_yaxes(tickvals=places, ticktext=names, range=[-0.7, len(heads) - 0.3])
    return figure


def _moved_hover(word: str) -> str:
    return f"%{{customdata}} {word}: %{{x:.3f}}<extra></extra>"


def describe_pruned(prunings: Sequence[Pruning], heads: HeadSet) -> str:
    """The panels in words."""
    parts = []
    for pruning in prunings:
        said = ", ".join(f"{head.name} {pruning.before[head]:.2f} to {pruning.after[head]:.2f}" for head in heads)
        parts.append(f"without {pruning.head.name}: {said}")
    return f"Prefix matching of {counted(len(heads), 'head')} before and after pruning. {'. '.join(parts)}."


def _heights(count: int) -> list[float]:
    """Places from the top down, spread evenly; a single one in the middle."""
    return [1 - (i + 0.5) / count for i in range(count)]


def _matters(edge: Edge) -> bool:
    return edge.drop >= _WRITTEN_DROP


def _draw(figure: go.Figure, edge: Edge, y0: float, y1: float, widest: float, look: Look) -> None:
    # The widest is as wide as it gets only if it matters: a circuit without strong edges looks like one.
    width = look.px(1.5 + _WIDEST * max(0.0, edge.drop) / max(widest, _WRITTEN_DROP))
    colour = look.accent if _matters(edge) else look.muted
    line = {"color": colour, "width": width, "dash": "dot" if edge.k_composition <= edge.baseline else "solid"}
    opacity = 0.3 + 0.6 * min(1.0, max(0.0, edge.drop / edge.clean)) if edge.clean > 0 else 0.3
    figure.add_trace(go.Scatter(x=[0, 1], y=[y0, y1], mode="lines", line=line, opacity=opacity, hoverinfo="skip", name="edge"))


def _beside(look: Look) -> float:
    """Room beside the edges for names of heads, which take more of a narrow picture; an edge is 1 long."""
    if look.narrow:
        return 1.1 if look.large else 0.75
    return 0.42


def _free_place(y0: float, y1: float, taken: list[tuple[float, float]], rows: int, look: Look) -> tuple[float, float] | None:
    """Where on an edge its number covers none that is written already; None if there is no such place."""
    places = [(at, y0 + (y1 - y0) * at) for at in (_NARROW_PLACES if look.narrow else _PLACES)]
    width = (_NARROW_NUMBER_SHARE * (1 + 2 * _beside(look)) if look.narrow else _NUMBER_WIDTH) * look.scale
    for height in _NARROW_NUMBER_HEIGHTS if look.narrow else _NUMBER_HEIGHTS:
        free = [(x, y) for x, y in places if all(abs(x - u) > width or abs(y - v) > height / rows for u, v in taken)]
        if free:
            return free[0]
    return None


def _write(figure: go.Figure, edge: Edge, place: tuple[float, float], look: Look) -> None:
    text = signed(-edge.drop)
    figure.add_annotation(
        x=place[0],
        y=place[1],
        text=f"<b>{text}</b>",
        showarrow=False,
        bgcolor=look.paper,
        bordercolor=look.accent if _matters(edge) else look.muted,
        borderpad=2,
        font={"color": look.ink},
    )


def _middles(figure: go.Figure, circuit: Circuit, left: list[float], right: list[float]) -> None:
    """Points along every edge that say both numbers when they are hovered."""
    x, y, texts = [], [], []
    for edge in circuit.edges:
        y0, y1 = left[circuit.previous.index(edge.previous)], right[circuit.induction.index(edge.induction)]
        for at in (0.2, 0.35, 0.5, 0.65, 0.8):
            x.append(at)
            y.append(y0 + (y1 - y0) * at)
            texts.append(_hover(edge))
    figure.add_trace(
        go.Scatter(x=x, y=y, mode="markers", marker={"size": 16, "opacity": 0}, hovertext=texts, hoverinfo="text", name="edges")
    )


def _hover(edge: Edge) -> str:
    return (
        f"<b>{edge.previous.name} → {edge.induction.name}</b><br>prefix matching {edge.clean:.3f} → "
        f"{edge.patched:.3f} when this path is cut<br>{lost_words(edge)}{composition_of(edge)}"
    ) + ("" if edge.rank is None else f"<br>rank {edge.rank} of {edge.earlier} earlier heads")


def lost_words(edge: Edge) -> str:
    """The interval of what an edge costs as a line of a hover text; nothing where there is none."""
    return "" if math.isnan(edge.low) else f"lost: 95 % interval {interval(edge.low, edge.high, 3)}<br>"


def _nodes(
    figure: go.Figure,
    circuit: Circuit,
    scores: HeadScores,
    left: list[float],
    right: list[float],
    picked: Head | None,
    look: Look,
) -> None:
    previous, matching = scores.mean("previous_token"), scores.mean("induction")
    # Between a name and its mark there is room for the frame of a picked head.
    for heads, x, heights, symbol, side, before, after, values in (
        (circuit.previous, 0, left, "square", "middle left", "", _ROOM_FOR_A_FRAME, previous),
        (circuit.induction, 1, right, "circle", "middle right", _ROOM_FOR_A_FRAME, "", matching),
    ):
        figure.add_trace(
            go.Scatter(
                x=[x] * len(heads),
                y=heights,
                mode="markers+text",
                marker={"size": look.px(20), "symbol": symbol, "color": look.second, "line": {"color": look.ink, "width": 1}},
                text=[f"{before}<b>{head.name}</b>  {values[head]:.2f}{after}" for head in heads],
                textposition=side,
                # Large names are too wide for a telephone.
                textfont={"size": look.font_size + (-2 if look.large and look.narrow else 1), "color": look.ink},
                hoverinfo="skip",
                name="heads",
            )
        )
    nodes = [*circuit.previous, *circuit.induction]
    texts = [f"<b>{head.name}</b><br>click to pick it" for head in nodes]
    across = [0.0] * len(left) + [1.0] * len(right)
    if picked in nodes:
        place = nodes.index(picked)
        figure.add_trace(picked_mark(across[place], [*left, *right][place], look.px(32), look))
    figure.add_trace(click_markers(across, [*left, *right], nodes, texts, look.px(30)))
