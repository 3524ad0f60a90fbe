"""Score against effect, a point a head: does looking mean mattering?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.ablation.effects import Effects
from core.ablation.quadrants import QUADRANTS, Quadrant, quadrants
from core.attention.scores import ALL_SCORES
from core.attention.tables import value_range
from core.figures.ablation.effect_map import effect_text
from core.figures.base.head_traces import click_markers, picked_mark
from core.figures.base.labels import drawn_boxes, inner_width, placed_labels
from core.figures.base.overlay import Anchor, Edge, Overlay, Part, name_of_line, symbols, threshold_line, words
from core.figures.base.style import Look
from core.figures.base.styled import styled
from core.heads import Head, HeadSet, every_head, names, ranked
from core.numbers import counted, signed_interval

_HEIGHT = 480
# The picture's inner size on a usual screen, for deciding which names have room.
_INNER_WIDTH, _INNER_HEIGHT = 820, 380
_NAMED = 24
_CUT = 3
# Pixels, at the usual text size.
_SMALL, _LARGE, _RING = 8, 12, 20


def score_effect(
    scores: Float[np.ndarray, "n_layers n_heads"],
    score: str,
    found: Effects,
    floor: float,
    picked: Head | None,
    look: Look,
) -> go.Figure:
    """`scores` across, measured effects (nats) with their intervals up, and the floor from which a head matters.

    Diamonds are heads that do. Heads that are not measured are left out, estimates too. A click is reported by the last
    trace, `customdata` the head's name.
    """
    effect = found.effect
    low, high = _effect_range(effect, floor)
    left, right = _score_range(score)
    known = [head for head in every_head(*effect.shape) if not np.isnan(effect[head])]
    # With no threshold that a score could pass, what is left is divided by the floor alone.
    parts = quadrants(scores, effect, math.inf, floor)
    figure = go.Figure()
    figure.add_trace(_intervals(known, scores, found, look))
    for heads, symbol, size, colour in (
        (parts["neither"], "circle", _SMALL, look.muted),
        (parts["matters"], "diamond", _LARGE, look.second),
    ):
        marker = {"size": look.px(size), "symbol": symbol, "color": colour}
        x, y = _places(heads, scores, effect)
        figure.add_trace(go.Scatter(x=x, y=y, mode="markers", marker=marker, hoverinfo="skip"))
    if picked is not None and not np.isnan(effect[picked]):
        figure.add_trace(picked_mark(scores[picked], effect[picked], look.px(24), look))
    for value in (floor, -floor):
        figure.add_hline(y=value, line={"color": look.second, "dash": "dot", "width": look.px(1.5)})
    texts = [effect_text(head, found, scores, score) for head in known]
    figure.add_trace(click_markers(*_places(known, scores, effect), known, texts, look.px(16)))
    styled(
        figure,
        look,
        height=look.px(_HEIGHT),
        margin={"t": look.px(56), "b": look.px(116 if look.narrow else 96), "r": look.px(24)},
    )
    figure.update_xaxes(title_text=f"{ALL_SCORES[score].title} (dashed: the threshold)", range=[left, right])
    effects = "effect" if found.has_intervals else "effect on one sequence"
    figure.update_yaxes(title_text=f"{effects} (nats); dotted: ±{floor:.2f}", range=[low, high])
    return figure


def score_effect_overlay(
    scores: Float[np.ndarray, "n_layers n_heads"],
    score: str,
    found: Effects,
    threshold: float,
    floor: float,
    look: Look,
) -> Overlay:
    """The threshold, which with the floor divides the heads into four: each named with its count, its heads marked."""
    effect = found.effect
    parts = quadrants(scores, effect, threshold, floor)
    # With no threshold that a score could pass, what is left is divided by the floor alone.
    matter, others = (quadrants(scores, effect, math.inf, floor)[name] for name in ("matters", "neither"))
    known = [*matter, *others]
    accent = look.accent

    def marked(heads: Iterable[Head], size: int, **style: Any) -> Part:
        listed = list(heads)
        x, y = _places(listed, scores, effect)
        return symbols(x, y, look.px(size), above=x, **style)

    return Overlay(
        _said(parts, effect, threshold, floor),
        threshold,
        (
            threshold_line("x", look),
            name_of_line(look),
            marked(matter, _LARGE, colour=accent, fill=accent, shape="diamond"),
            marked(others, _LARGE, colour=accent, fill=look.paper, width=look.px(2.5)),
            marked(known, _RING, colour=look.ink, fill=None, width=look.px(1.5)),
            *_names(matter, others, scores, score, found, floor, look),
            *_corners(matter, others, scores, look),
        ),
    )


def describe_score_effect(found: Effects, score: str, floor: float) -> str:
    """The scatter in words, for somebody who cannot see it; its overlay says the rest."""
    known = int(found.measured.sum())
    unsure = "" if found.has_intervals else " There is one sequence, so no interval."
    return (
        f"Scatter of {ALL_SCORES[score].title} against the change in second-copy loss when a head is taken away alone, for "
        f"{counted(known, 'head')}, a point each; diamonds are heads that change it by more than {floor:.2f} nats.{unsure}"
    )


def _said(parts: dict[Quadrant, HeadSet], effect: Float[np.ndarray, "n_layers n_heads"], threshold: float, floor: float) -> str:
    said = []
    for quadrant, heads in parts.items():
        largest = names(sorted(heads, key=lambda head: -abs(effect[head]))[:5])
        listed = (
            f" ({', '.join(largest)}{' and others' if len(heads) > 5 else ''})" if quadrant != "neither" and largest else ""
        )
        said.append(f"{QUADRANTS[quadrant]}: {len(heads)}{listed}")
    return f"Divided at score {threshold:.2f} and effect {floor:.2f} nats. " + "; ".join(said) + "."


def _intervals(heads: Sequence[Head], scores: Float[np.ndarray, "n_layers n_heads"], found: Effects, look: Look) -> go.Scatter:
    """A thin line up and down from each point, as far as its interval; none where there is none."""
    x: list[float | None] = []
    y: list[float | None] = []
    for head in heads:
        if not np.isnan(found.low[head]):
            x += [float(scores[head]), float(scores[head]), None]
            y += [float(found.low[head]), float(found.high[head]), None]
    line = {"color": look.muted, "width": look.px(1)}
    return go.Scatter(x=x, y=y, mode="lines", line=line, hoverinfo="skip", name="95 % interval")


def _places(
    heads: Iterable[Head],
    scores: Float[np.ndarray, "n_layers n_heads"],
    effect: Float[np.ndarray, "n_layers n_heads"],
) -> tuple[list[float], list[float]]:
    listed = list(heads)
    return [float(scores[head]) for head in listed], [float(effect[head]) for head in listed]


def _score_range(score: str) -> tuple[float, float]:
    left, right = value_range(score)
    return left - 0.03, right + 0.03


def _effect_range(effect: Float[np.ndarray, "n_layers n_heads"], floor: float) -> tuple[float, float]:
    """Room for all effects and for the floor's lines on both sides of zero."""
    known = effect[~np.isnan(effect)]
    least, most = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    least, most = min(least, -2 * floor, 0.0), max(most, 2 * floor, 0.1)
    return least - 0.06 * (most - least), most + 0.1 * (most - least)


def intervals_cut_off(found: Effects, floor: float) -> str:
    """Which intervals the picture ends before, for it is made for the means; empty where it holds them all."""
    low, high = _effect_range(found.effect, floor)
    beyond = np.nan_to_num(np.maximum(found.high - high, low - found.low), nan=-1.0)
    heads = [head for head in ranked(beyond) if beyond[head] > 0]
    if not heads:
        return ""
    told = ", ".join(f"{head.name} ({signed_interval(found.low[head], found.high[head])})" for head in heads[:_CUT])
    more = f" and {counted(len(heads) - _CUT, 'other')}" if len(heads) > _CUT else ""
    return f"The picture ends before the whole interval of {told}{more}."


def _names(
    matter: HeadSet,
    others: HeadSet,
    scores: Float[np.ndarray, "n_layers n_heads"],
    score: str,
    found: Effects,
    floor: float,
    look: Look,
) -> list[Part]:
    """Names of the heads that matter, the largest effect first, then of the highest others, as far as there is room.

    An other head has its name only while it is above the threshold.
    """
    effect = found.effect
    (left, right), (low, high) = _score_range(score), _effect_range(effect, floor)
    first = sorted(matter, key=lambda head: -abs(effect[head]))
    heads = [*first, *sorted(others, key=lambda head: -scores[head])][:_NAMED]
    width, height = inner_width(_INNER_WIDTH, look), look.px(_INNER_HEIGHT)

    def down_to(value: float) -> float:
        return (high - value) / (high - low) * height

    def pixels(some: Sequence[Head]) -> list[tuple[float, float]]:
        return [((float(scores[head]) - left) / (right - left) * width, down_to(float(effect[head]))) for head in some]

    every = [*matter, *others]
    ends = [(down_to(float(found.high[head])), down_to(float(found.low[head]))) for head in every]
    drawn = drawn_boxes(pixels(every), look.px(_SMALL), up=ends)
    labels = names(heads)
    size = look.font_size - 1
    places = placed_labels(pixels(heads), labels, look.font_size, look.px(13), width, height, drawn)
    across, down = look.px(_RING / 2 + 3), look.px(_RING / 2) + 0.6 * size
    beside: dict[str, tuple[Anchor, float, float]] = {
        "top center": ("middle", 0, -down),
        "middle right": ("start", across, 0),
        "middle left": ("end", -across, 0),
        "bottom center": ("middle", 0, down),
    }
    written = []
    for head, name, place in zip(heads, labels, places, strict=True):
        if place is not None:
            anchor, *shift = beside[place]
            x, y = float(scores[head]), round(float(effect[head]), 4)
            only: dict[str, Any] = {"above": x} if head in others else {}
            written.append(words(name, x, y, colour=look.ink, size=size, shift=(shift[0], shift[1]), anchor=anchor, **only))
    return written


def _corners(matter: HeadSet, others: HeadSet, scores: Float[np.ndarray, "n_layers n_heads"], look: Look) -> list[Part]:
    """Each quadrant's name and count, above and below the picture, where no point can hide them."""
    # A narrow picture has no room for two beside each other, nor for one beside the camera.
    side: Edge = "left" if look.narrow else "right"
    end: Anchor = "start" if look.narrow else "end"
    corners: list[tuple[Quadrant, HeadSet, bool, Edge, Edge, Anchor, int]] = [
        ("matters", matter, False, "left", "top", "start", -18),
        ("both", matter, True, side, "top", end, -36 if look.narrow else -18),
        ("neither", others, False, "left", "bottom", "start", 78),
        ("looks", others, True, side, "bottom", end, 96 if look.narrow else 78),
    ]
    return [
        words(
            f"{QUADRANTS[quadrant]}: {{count}}",
            x,
            y,
            colour=look.ink,
            size=look.font_size,
            shift=(0, look.px(down)),
            anchor=anchor,
            bold=True,
            counted={"scores": [float(scores[head]) for head in heads], "are_above": are_above},
        )
        for quadrant, heads, are_above, x, y, anchor, down in corners
    ]
