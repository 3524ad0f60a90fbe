"""The report's figures: heat maps, recorded or live, and its table under one correction more each time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.figures.head_map import Cells, head_map
from core.figures.head_marks import all_heads
from core.figures.style import SCORE_SCALE, Look, styled
from core.head_sets import Head
from core.reproduction import CORRECTIONS, Reproduction
from core.scores import head_name, heads_above

Matrix = Float[np.ndarray, "n_layers n_heads"]
STEP_TITLES = {
    None: "the report's recipe",
    "sign": "loss, not log-probability",
    "targets": "without the first token of the second copy",
    "rows": "second-copy queries only",
    "bos": "a BOS in front",
    "controls": "random heads beside it",
}
_HEADS_TO_WRITE_IN = 8
_SYMBOLS = ("circle", "diamond", "square")


def value_map(values: Matrix, title: str, threshold: float, look: Look, picked: Head | None = None) -> go.Figure:
    """Scores from 0 to 1 by layer and head, as recorded or live; rings above `threshold`."""
    texts = [f"<b>{head_name(*head)}</b><br>{values[head]:.4f}" for head in all_heads(values)]
    cells = Cells(values, 0.0, 1.0, SCORE_SCALE, values > 0.55, texts)
    figure = head_map(
        cells,
        look,
        title=title,
        axis_title=f"head (ring: above {threshold:.2f})",
        ringed=heads_above(values, threshold),
        picked=picked,
    )
    if values.shape[1] > _HEADS_TO_WRITE_IN:
        # Two maps stand beside each other: rings would hide the numbers of so many heads.
        figure.data = [trace for trace in figure.data if trace.name != "values"]
    return figure


def describe_values(values: Matrix, title: str, threshold: float) -> str:
    """The map in words, for somebody who cannot see it."""
    best = ", ".join(f"{head_name(*head)} {values[head]:.2f}" for head in heads_above(values, -1.0)[:5])
    above = len(heads_above(values, threshold))
    size = f"{values.shape[0]} layers by {values.shape[1]} heads"
    return f"Heat map, {title}: {size}, {above} above {threshold:.2f}. Highest: {best}."


def correction_steps(steps: Sequence[Reproduction], look: Look) -> go.Figure:
    """The table's numbers under one correction more each time: log-probabilities below zero, losses above it."""
    figure = go.Figure()
    x = step_labels(steps)
    colours = (look.ink, look.second, look.accent)
    for index, row in enumerate(steps[0].rows):
        name = row_name(row.threshold)
        rows = [step.rows[index] for step in steps]
        bands = [found.band for found in rows]
        figure.add_trace(
            go.Scatter(
                x=x,
                y=[found.value for found in rows],
                mode="lines+markers",
                line={"color": colours[index], "width": look.px(1.5), "dash": "dot"},
                marker={"color": colours[index], "size": look.px(11), "symbol": _SYMBOLS[index]},
                customdata=[[len(found.heads)] for found in rows],
                hovertemplate=f"{name}: %{{y:.3f}} (%{{customdata[0]}} heads)<extra></extra>",
                name=name,
            )
        )
        known = [place for place, (low, _, _) in enumerate(bands) if not math.isnan(low)]
        if known:
            figure.add_trace(_random_sets(name, known, bands, x, colours[index], look))
    figure.add_hline(y=0, line={"color": look.ink, "width": look.px(1)})
    styled(
        figure,
        look,
        height=look.px(400),
        margin={"t": look.px(16)},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(showgrid=False, tickangle=0)
    figure.update_yaxes(title="second copy: log-probability, then nats")
    return figure


def describe_steps(steps: Sequence[Reproduction]) -> str:
    """The steps in words, for somebody who cannot see them."""
    said = []
    for label, step in zip(step_labels(steps), steps, strict=True):
        numbers = ", ".join(f"{row_name(row.threshold)} {row.value:.2f}" for row in step.rows)
        said.append(f"{label.replace('<br>', ' ')}: {numbers}")
    return f"Second-copy numbers under one correction more each time. {'; '.join(said)}."


def step_labels(steps: Sequence[Reproduction]) -> list[str]:
    """What each step adds to the one before, with line breaks."""
    names: list[str | None] = []
    before: set[str] = set()
    for step in steps:
        now = {name for name in CORRECTIONS if getattr(step.corrections, name)}
        names.append(next(iter(sorted(now - before)), None))
        before = now
    return [_broken(("+ " if name else "") + STEP_TITLES[name]) for name in names]


def row_name(threshold: float | None) -> str:
    """`untouched`, or the threshold above which heads are taken away."""
    return "untouched" if threshold is None else f"heads above {threshold:.1f} zeroed"


def _random_sets(
    name: str, known: list[int], bands: list[tuple[float, float, float]], x: list[str], colour: str, look: Look
) -> go.Scatter:
    means = [bands[place][2] for place in known]
    return go.Scatter(
        x=[x[place] for place in known],
        y=means,
        error_y={
            "array": [bands[place][1] - bands[place][2] for place in known],
            "arrayminus": [bands[place][2] - bands[place][0] for place in known],
            "thickness": look.px(2),
            "width": look.px(8),
        },
        mode="markers",
        marker={"color": colour, "size": look.px(10), "symbol": "line-ew-open", "line": {"width": look.px(3)}},
        hovertemplate=f"random sets for {name}: %{{y:.3f}}<extra></extra>",
        name=f"random sets instead of {name}".replace(" zeroed", ""),
    )


def _broken(text: str, width: int = 18) -> str:
    lines = [""]
    for word in text.split():
        if len(lines[-1]) + len(word) > width and lines[-1]:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)
