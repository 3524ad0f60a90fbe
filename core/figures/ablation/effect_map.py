"""The causal map: what the loss on the second copy becomes when each head is taken away alone."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.attention.scores import ALL_SCORES
from core.figures.base.head_map import HEADS_TO_WRITE_IN_HALF, Cells, head_map
from core.figures.base.overlay import Overlay, rings
from core.figures.base.style import DIVERGING_SCALE, Look
from core.heads import Head, every_head, heads_above
from core.numbers import signed

# The scale never narrows below this many nats: noise must not fill it with colour.
_LEAST_SCALE = 0.1


def effect_map(
    effect: Float[np.ndarray, "n_layers n_heads"],
    scores: Float[np.ndarray, "n_layers n_heads"],
    score: str,
    picked: Head | None,
    look: Look,
    *,
    title: str,
) -> go.Figure:
    """Layer by head on a scale that is symmetric round zero (nats); heads that are not measured yet (NaN) stay empty.

    `scores`: the score called `score`, for hover; heads above the threshold on it are its overlay's to show. A click is
    reported by the last trace.
    """
    top = effect_scale(effect)
    cells = Cells(
        effect,
        -top,
        top,
        DIVERGING_SCALE,
        np.abs(effect) < 0.6 * top,
        [effect_text(head, effect, scores, score) for head in every_head(*effect.shape)],
        signed=True,
    )
    return head_map(
        cells,
        look,
        title=title,
        axis_title=f"head (ring: {_short(score)} above the threshold)",
        picked=picked,
        write_up_to=HEADS_TO_WRITE_IN_HALF,
    )


def effect_overlay(scores: Float[np.ndarray, "n_layers n_heads"], score: str, threshold: float, look: Look) -> Overlay:
    """A ring on every head whose score is above the threshold, whatever its effect."""
    above = heads_above(scores, threshold)
    return Overlay(f"{len(above)} heads have {_short(score)} above {threshold:.2f}.", (rings(above, look),))


def describe_effect_map(effect: Float[np.ndarray, "n_layers n_heads"], title: str) -> str:
    """The map in words, for somebody who cannot see it."""
    known = int((~np.isnan(effect)).sum())
    if known == 0:
        return f"{title}: a map of {effect.size} heads, none of them measured yet."
    order = np.argsort(-np.abs(np.nan_to_num(effect)), axis=None, kind="stable")[: min(5, known)]
    largest = ", ".join(f"{Head(*divmod(int(i), effect.shape[1])).name} {signed(effect.flat[i])}" for i in order)
    return f"{title}, in nats, for {known} of {effect.size} heads. The largest: {largest}."


def effect_scale(effect: Float[np.ndarray, "n_layers n_heads"]) -> float:
    """The end of the symmetric scale, in nats."""
    return max(_LEAST_SCALE, float(np.nanmax(np.abs(effect)))) if not np.isnan(effect).all() else _LEAST_SCALE


def effect_text(
    head: Head,
    effect: Float[np.ndarray, "n_layers n_heads"],
    scores: Float[np.ndarray, "n_layers n_heads"],
    score: str,
) -> str:
    """What hovering a head says: its name and both numbers."""
    measured = "not measured yet" if np.isnan(effect[head]) else f"{signed(effect[head], 3)} nats"
    return f"<b>{head.name}</b><br>effect {measured}<br>{_short(score)} {scores[head]:.2f}"


def _short(score: str) -> str:
    """A score's title without what stands in brackets, in small letters."""
    return ALL_SCORES[score].title.partition(" (")[0].lower()
