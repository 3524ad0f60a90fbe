"""What the figures of heads share: hover texts, the invisible markers that take clicks, the threshold and chance lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.figures.base.style import Look
from core.heads import Head
from core.numbers import with_interval

Trace = dict[str, Any]
# A ring is drawn twice, so that it stands out on every colour of a scale: white on a wider black one. Widths in pixels.
RING_STROKES = (("#000000", 5.0), ("#ffffff", 2.5))
CROSS_STROKES = (("#000000", 6.0), ("#ffffff", 3.0))


def scatter(**properties: Any) -> Trace:
    """A scatter trace as plain data: figures that are drawn at every move of a slider are not checked each time anew."""
    return {"type": "scatter", **properties}


def hover_texts(scores: HeadScores, heads: Sequence[Head]) -> list[str]:
    """For each head its name and all its scores with their intervals, one a line; nothing for a head that there is not."""
    found = {ALL_SCORES[name].title.lower(): (scores.mean(name), *scores.interval(name)) for name in scores.names}
    exists = scores.exists

    def lines(head: Head) -> list[str]:
        return [f"{title} {with_interval(*(values[head] for values in number))}" for title, number in found.items()]

    return ["<br>".join([f"<b>{head.name}</b>", *lines(head)]) if exists[head] else "" for head in heads]


def click_markers(x: Sequence[float], y: Sequence[float], heads: Sequence[Head], texts: list[str], size: float) -> Trace:
    """Markers that cannot be seen but take hover and clicks, which a heat map does not report; customdata is its name."""
    unseen = {"marker": {"opacity": 0}}
    return scatter(
        x=list(x),
        y=list(y),
        mode="markers",
        marker={"size": size, "symbol": "square", "opacity": 0},
        selected=unseen,
        unselected=unseen,
        customdata=[head.name for head in heads],
        hovertext=texts,
        hoverinfo="text",
        name="heads",
    )


def picked_mark(x: float, y: float, size: float, look: Look) -> Trace:
    """A square round the mark of the picked head.

    Every figure that is clicked shows which head is picked: the browser forgets a click when its figure changes, and takes
    a second one on the same head for taking it back when it does not.
    """
    marker = {"size": size, "symbol": "square-open", "color": look.ink, "line": {"width": look.px(3)}}
    return scatter(x=[float(x)], y=[float(y)], mode="markers", marker=marker, hoverinfo="skip", showlegend=False, name="picked")


def before_and_after(
    before: Sequence[float],
    after: Sequence[float],
    places: Sequence[float],
    look: Look,
    *,
    words: tuple[str, str],
    sizes: tuple[float, float],
    hovers: tuple[str, str],
    customdata: Sequence[Any],
) -> list[Trace]:
    """A line for each row from a ring (before) to a diamond (after); `words` name the two, `hovers` are their templates."""
    lines_x: list[float | None] = []
    lines_y: list[float | None] = []
    for first, second, place in zip(before, after, places, strict=True):
        lines_x += [first, second, None]
        lines_y += [place, place, None]
    line = {"color": look.accent, "width": look.px(4)}
    marks = [
        scatter(
            x=list(values),
            y=list(places),
            mode="markers",
            marker={
                "symbol": symbol,
                "size": look.px(size),
                "color": colour,
                "line": {"width": look.px(2), "color": colour},
            },
            customdata=list(customdata),
            hovertemplate=hover,
            name=word,
        )
        for values, symbol, size, colour, word, hover in (
            (before, "circle-open", sizes[0], look.second, words[0], hovers[0]),
            (after, "diamond", sizes[1], look.accent, words[1], hovers[1]),
        )
    ]
    return [scatter(x=lines_x, y=lines_y, mode="lines", line=line, hoverinfo="skip"), *marks]


def ring_markers(x: Sequence[float], y: Sequence[float], size: float, look: Look) -> list[Trace]:
    """Rings that stand out on every colour of a scale: white on a wider black one."""
    return [
        scatter(
            x=list(x),
            y=list(y),
            mode="markers",
            marker={"size": size, "symbol": "circle-open", "color": colour, "line": {"width": look.px(width)}},
            hoverinfo="skip",
            name="above the threshold",
        )
        for colour, width in RING_STROKES
    ]
