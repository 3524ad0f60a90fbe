"""The causal map: what the loss on the second copy becomes when each head is taken away alone."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from jaxtyping import Float

from core.ablation.effects import Effects
from core.attention.scores import ALL_SCORES
from core.figures.base.head_map import HEADS_TO_WRITE_IN_HALF, Cells, head_map
from core.figures.base.overlay import Overlay, rings
from core.figures.base.style import DIVERGING_SCALE, Look
from core.heads import Head, every_head, heads_above
from core.numbers import counted, signed, signed_interval

TITLE = "Change in second-copy loss (nats)"
# The scale never narrows below this many nats: noise must not fill it with colour.
_LEAST_SCALE = 0.1


def effect_map(
    found: Effects, scores: Float[np.ndarray, "n_layers n_heads"], score: str, picked: Head | None, look: Look
) -> go.Figure:
    """Layer by head on a scale that is symmetric round zero (nats); a sign marks cells that are estimated, none are empty.

    `scores`: the score called `score`, for hover; heads above the threshold on it are its overlay's to show. A click is
    reported by the last trace.
    """
    top = effect_scale(found.shown)
    cells = Cells(
        found.shown,
        -top,
        top,
        DIVERGING_SCALE,
        np.abs(found.shown) < 0.6 * top,
        [effect_text(head, found, scores, score) for head in every_head(*found.shown.shape)],
        signed=True,
    )
    about = " (≈ estimated)" if found.estimated else ""
    return head_map(
        cells,
        look,
        title=f"{TITLE}{about}",
        axis_title=f"head (ring: {_short(score)} above the threshold)",
        estimated=found.estimated,
        picked=picked,
        write_up_to=HEADS_TO_WRITE_IN_HALF,
    )


def effect_overlay(scores: Float[np.ndarray, "n_layers n_heads"], score: str, threshold: float, look: Look) -> Overlay:
    """A ring on every head whose score is above the threshold, whatever its effect."""
    above = heads_above(scores, threshold)
    return Overlay(
        f"{counted(len(above), 'head')} {'has' if len(above) == 1 else 'have'} {_short(score)} above {threshold:.2f}.",
        threshold,
        (rings(scores, look),),
    )


def describe_effect_map(found: Effects) -> str:
    """The map in words, for somebody who cannot see it; only measured heads are named."""
    measured = int(found.measured.sum())
    if not measured:
        return f"{TITLE}: a map of {counted(found.n_heads, 'head')}, none of them measured yet."
    order = np.argsort(-np.abs(np.nan_to_num(found.effect)), axis=None, kind="stable")[: min(5, measured)]
    heads = [Head(*divmod(int(i), found.effect.shape[1])) for i in order]
    largest = ", ".join(f"{head.name} {signed(found.effect[head])}{_interval(found, head)}" for head in heads)
    return (
        f"{TITLE}, {counted(measured, 'head')} measured, {len(found.estimated)} only estimated. The largest "
        f"measured: {largest}."
    )


def effect_scale(effect: Float[np.ndarray, "n_layers n_heads"]) -> float:
    """The end of the symmetric scale, in nats."""
    return max(_LEAST_SCALE, float(np.nanmax(np.abs(effect)))) if not np.isnan(effect).all() else _LEAST_SCALE


def effect_text(head: Head, found: Effects, scores: Float[np.ndarray, "n_layers n_heads"], score: str) -> str:
    """What hovering a head says: its name, its effect with its interval or that it is an estimate, and its score.

    Nothing of a head that there is not.
    """
    if found.exists is not None and not found.exists[head]:
        return ""
    if found.measured[head]:
        effect = f"effect {signed(found.effect[head], 3)} nats{_interval(found, head)}"
    elif np.isnan(found.shown[head]):
        effect = "not measured yet"
    else:
        effect = f"estimated {signed(found.shown[head], 3)} nats, not measured yet"
    valued = "" if np.isnan(scores[head]) else f"<br>{_short(score)} {scores[head]:.2f}"
    return f"<b>{head.name}</b><br>{effect}{valued}"


def _interval(found: Effects, head: Head) -> str:
    low, high = found.low[head], found.high[head]
    return "" if np.isnan(low) else f" ({signed_interval(low, high)})"


def _short(score: str) -> str:
    """A score's title without what stands in brackets, in small letters."""
    return ALL_SCORES[score].title.partition(" (")[0].lower()
